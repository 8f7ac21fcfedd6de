"""Files that readers see whole, or as they were before."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(target: Path, data: bytes) -> None:
    """Put a file in the place of what was there, by rename; raises :class:`OSError`.

    What is not yet whole has a name that begins with ``_``, which Spark does not read. It is not
    synced.
    """
    unfinished = target.with_name(f"_{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
