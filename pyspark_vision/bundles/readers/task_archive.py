"""MediaPipe's ``.task`` files: a zip of TensorFlow Lite models, of which one is taken by its name.

A pose landmarker is a detector and a landmark model; a gesture recognizer has ``.task`` files in
its own. A model in such a file is named by both: ``hand_landmarker.task/hand_detector.tflite``.
"""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from pyspark_vision.errors import InvalidModelError

SUFFIX = ".task"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
# `.task` in `.task`, as MediaPipe nests them; deeper is no bundle of its.
_MOST_NESTED = 2


def extracted(path: Path, member: str | None, folder: Path) -> Path:
    """The one model in ``path``, or the one that ``member`` names, as a file in ``folder``.

    ``member``: its name, or that without folders and suffix where it is the only one.
    Raises :class:`InvalidModelError` for a file that is no zip or is damaged, for none or several
    models without a ``member``, and for a ``member`` that is not there.
    """
    try:
        with path.open("rb") as file:
            names = list(_models(file, "", 1))
            name = _chosen(path, names, member)
            target = folder / PurePosixPath(name).name
            with target.open("wb") as written:
                _copy(file, name, written)
    except _DAMAGED as error:
        raise InvalidModelError(f"{path} is no .task file (a zip of models): {error}") from None
    return target


def _models(file: IO[bytes], inside: str, depth: int) -> Iterator[str]:
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".tflite"):
                yield inside + name
            elif name.endswith(SUFFIX) and depth < _MOST_NESTED:
                nested = io.BytesIO(archive.read(name))
                yield from _models(nested, f"{inside}{name}/", depth + 1)


def _chosen(path: Path, names: list[str], member: str | None) -> str:
    listed = ", ".join(names)
    if not names:
        raise InvalidModelError(f"{path} holds no .tflite model")
    if member is None:
        if len(names) > 1:
            raise InvalidModelError(
                f"{path} holds several models ({listed}); choose one with member='NAME'"
            )
        return names[0]
    short = [name for name in names if PurePosixPath(name).stem == member]
    if member not in names and len(short) != 1:
        raise InvalidModelError(f"{path} has no model {member!r}; it holds {listed}")
    return member if member in names else short[0]


def _copy(file: IO[bytes], name: str, target: IO[bytes]) -> None:
    outer, suffix, inner = name.partition(f"{SUFFIX}/")
    with zipfile.ZipFile(file) as archive:
        if suffix:
            _copy(io.BytesIO(archive.read(outer + SUFFIX)), inner, target)
            return
        with archive.open(name) as source:
            shutil.copyfileobj(source, target)
