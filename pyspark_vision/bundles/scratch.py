"""Folders for models as they are loaded, unpacked or downloaded: gone when this process ends."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_made_in_attempt: ContextVar[list[Path] | None] = ContextVar("made_in_attempt", default=None)


def scratch_folder() -> Path:
    """A fresh folder that goes when this process does, for models as they are loaded."""
    if not Path(_scratch().name).is_dir():  # /tmp was swept
        _scratch.cache_clear()
    folder = Path(tempfile.mkdtemp(dir=_scratch().name))
    folders = _made_in_attempt.get()
    if folders is not None:
        folders.append(folder)
    return folder


@contextmanager
def discarded_on_error() -> Iterator[None]:
    """What :func:`scratch_folder` makes in the block goes at once if that fails.

    A job that tries a broken bundle again and again must not fill the disk with its copies.
    """
    folders: list[Path] = []
    token = _made_in_attempt.set(folders)
    try:
        yield
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        _made_in_attempt.reset(token)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    # Removed by the object's finalizer at exit, without the warning that implicit removal gives.
    scratch = tempfile.TemporaryDirectory(prefix="pyspark_vision-")
    atexit.register(scratch.cleanup)
    return scratch
