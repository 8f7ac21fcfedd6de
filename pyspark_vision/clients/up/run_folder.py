"""A folder of its own for each run: the broker's data, the job's checkpoint, pictures and logs."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark_vision.clients import carried
from pyspark_vision.errors import InvalidOptionError

# Locked while its run lives. Only folders with it are ours, and only of those are old ones removed.
MARK = ".pyspark_vision-up"
# Beside the runs that live: what the last one left is there to be looked at.
KEPT_RUNS = 1
# What a run may fill (docs/up.md), and what Spark wants to start.
NEEDED_BYTES = 2 * 10**9


def default_base() -> Path:
    """``build/up`` of the checkout, else ``pyspark_vision/up`` in this user's folder for data."""
    if (checkout := carried.checkout()) is not None:
        return checkout / "build" / "up"
    common = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(common).absolute() / "pyspark_vision" / "up"


@contextmanager
def new_run(base: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A fresh folder in ``base``, this run's while the block runs; it stays there afterwards.

    Of the ended runs there the last stays, older ones are removed. Raises
    :class:`InvalidOptionError` where no folder can be made, or the disk is nearly full.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
        folder = _fresh(base)
        lock = (folder / MARK).open("x")
    except OSError as error:
        raise InvalidOptionError(
            f"{error.filename or base} cannot be made ({error.strerror}): give "
            "--data DIR, a folder that you may write"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("a run of `pyspark-vision up`; a later one removes this folder\n")
        lock.flush()
        for old in _ended(base)[:-KEPT_RUNS]:
            say(f"== an older run is removed: {old}")
            shutil.rmtree(old, ignore_errors=True)
        try:
            _refuse_full(folder)
        except InvalidOptionError:
            shutil.rmtree(folder)
            raise
        yield folder


def _fresh(base: Path) -> Path:
    """Named by the time, so that they sort; two of one second get a number."""
    now = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = base / (f"{now}-{number}" if number else now)
        try:
            folder.mkdir(mode=0o700)  # a webcam's pictures are in it
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(17, "a thousand runs of this second are there", str(base / now))


def _ended(base: Path) -> list[Path]:
    """The folders of runs that have ended, oldest first."""
    return [mark.parent for mark in sorted(base.glob(f"*/{MARK}")) if not _is_locked(mark)]


def _is_locked(mark: Path) -> bool:
    try:
        with mark.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its run holds it, or it is another user's
        return True
    return False


def _refuse_full(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise InvalidOptionError(
            f"the disk of {folder.parent} has {free / 1e9:.1f} GB left, and a run may fill "
            f"{NEEDED_BYTES / 1e9:.0f} GB: make room, or give --data DIR on another disk"
        )
