"""Model files on the driver, where Spark serves them from for as long as the application runs.

An executor that comes after a week (a replaced pod, dynamic allocation) fetches every file that was
ever added to the application. So the files lie in Spark's own folder (below ``spark.local.dir``),
and are written again if something swept them: their content is held open, so that it is there as
long as this process, whatever has become of the names and of the bundle that it came from.
"""

from __future__ import annotations

import functools
import os
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.executor.models.model_files import PublishedFile
from pyspark_vision.spark.session import is_connect


@dataclass
class Shipped:
    """What one application was given: each spec's file, and the files that Spark serves."""

    published: dict[ModelSpec, PublishedFile] = field(default_factory=dict)
    held: dict[Path, int] = field(default_factory=dict)

    def restore(self) -> None:
        """Write files again that are gone; ``OSError`` if that cannot be done."""
        for path, descriptor in self.held.items():
            if not path.exists():
                _write(path, functools.partial(_copy_of, descriptor))


_PIECE_BYTES = 1024 * 1024

_shipped: weakref.WeakKeyDictionary[Any, Shipped] = weakref.WeakKeyDictionary()


def shipped_to(session: Any) -> Shipped:
    """What the session's application has: all sessions of a SparkContext share its files.

    Under Spark Connect each session has its own.
    """
    return _shipped.setdefault(_owner(session), Shipped())


def staged(session: Any, name: str, write: Callable[[Path], None]) -> Path:
    """A file called ``name`` that ``write`` makes, to be given to ``SparkContext.addFile``."""
    from pyspark import SparkFiles  # not in pyspark-client

    path = Path(SparkFiles.getRootDirectory(), name)
    _write(path, write)
    owner = _owner(session)
    descriptor = os.open(path, os.O_RDONLY)
    weakref.finalize(owner, os.close, descriptor)
    shipped_to(session).held[path] = descriptor
    return path


def _owner(session: Any) -> Any:
    return session if is_connect(session) else session.sparkContext


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Under its name when it is whole: executors may ask for it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write(fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _copy_of(descriptor: int, target: Path) -> None:
    """By offsets of its own: two streams of a driver may do this at a time."""
    offset = 0
    with target.open("wb") as file:
        while piece := os.pread(descriptor, _PIECE_BYTES, offset):
            file.write(piece)
            offset += len(piece)
