"""Files in folders that are ours: written whole, and nobody else's are replaced."""

from __future__ import annotations

import os
from pathlib import Path

from pyspark_vision.errors import InvalidOptionError


def claim_folder(flag: str, folder: Path, owner: str) -> None:
    """Make the folder, or find that it is ``owner``'s: it is empty, or bears its mark ``_owner``.

    Raises :class:`InvalidOptionError` for a folder with other files, or one that cannot be written.
    """
    mark = folder / f"_{owner}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            others = sorted(path.name for path in folder.iterdir())
            if others:
                raise InvalidOptionError(
                    f"{flag} {folder} holds {others[0]}, which is not of {owner}: it could be "
                    "replaced. Choose a new folder"
                )
            mark.touch()
    except OSError as error:
        raise InvalidOptionError(f"{flag} {folder} cannot be written: {error.strerror}") from None


def write_whole(target: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or what was there before; raises :class:`OSError`.

    What is not yet whole has a name that begins with ``_``, which Spark does not read.
    """
    unfinished = target.with_name(f"_{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
