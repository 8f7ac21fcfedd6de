"""Weights that the workers of one executor share: a large model's file in the form they map.

Engines repack weights when they load a model, into memory of their own: eight workers hold eight
copies. So the first worker of an executor has its engine write the repacked weights into a file
beside the model, in the executor's own folder, which Spark removes with the application. All
workers map that file, and the pages of a mapped file are in memory once, whoever maps them.

``python -m benchmarks.shared_pages`` measures what it is worth, engine by engine.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Of the model's file. Below it, what is saved is little beside a worker's own 70 MB and more, and
# does not pay for a second file, which takes a second or so for a ResNet50's 100 MB. Of those,
# eight workers save 0.7 GB.
LARGE_BYTES = 32 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedFolder:
    """Where an executor's workers keep what they share; ``model``: the sha256 of its file."""

    path: str
    model: str

    def files(self, engine: str, names: Sequence[str], make: Callable[[Path], None]) -> Path | None:
        """The folder with the files ``names``, which ``make(folder)`` writes if nobody has yet.

        Workers that come meanwhile wait. ``None`` where it cannot be: no room on the disk, or a
        model that ``make`` raises for. The engine then loads the model as it is.
        """
        target = Path(self.path, f"pyspark_vision-{self.model}.shared-{engine}")
        try:
            with _locked(target.with_name(f"{target.name}.lock")):
                # Without its files: it was tried, and this model has none.
                if not target.is_dir() or _is_partly_swept(target, names):
                    _make(target, make)
        except OSError as error:
            _log.warning("workers do not share the model's memory: %s", error)
            return None
        return target if all((target / name).is_file() for name in names) else None


def is_large(path: str) -> bool:
    """Whether a model's file is worth sharing; a folder never is: no engine maps one."""
    return os.path.isfile(path) and os.path.getsize(path) >= LARGE_BYTES


def _is_partly_swept(folder: Path, names: Sequence[str]) -> bool:
    present = [name for name in names if (folder / name).is_file()]
    return 0 < len(present) < len(names)


def _make(target: Path, make: Callable[[Path], None]) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=target.name, dir=target.parent))
    try:
        try:
            make(fresh)
        # Engines raise what they like for a model that they cannot write so.
        except Exception as error:
            _log.warning("workers do not share the model's memory: %s", error)
            for file in fresh.iterdir():
                file.unlink()
        shutil.rmtree(target, ignore_errors=True)
        os.rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One worker at a time; the lock of a worker that dies is free."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
