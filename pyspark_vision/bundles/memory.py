"""What a model needs in memory: of each worker by itself, and once for all workers of a node.

Estimates, from the sizes of files. They are made to be less than what is needed rather than more: a
job that would work must not be refused for them.
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.bundles.spec_choices import DUAL_ENCODER, TEXT_READER
from pyspark_vision.executor.models.model_files import IMAGE_TOWER
from pyspark_vision.executor.models.shared_weights import is_large

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

_MB = 1_000_000

# A worker has a decoded picture beside its batch: 12 megapixels in RGB, a usual photo.
_PICTURE_BYTES = 12 * _MB * 3


@dataclass(frozen=True)
class _Factors:
    """Of an engine: ``floor_bytes`` of a worker with a tiny model, and what is added to it for each
    byte of weights: by a worker ``at_rest``, by one that loads the model (``peak``), and once for
    all workers (``shared``)."""

    floor_bytes: int
    at_rest: float
    peak: float
    shared: float = 0.0


# Anonymous memory of a worker after one run of a model below 1 MB, PySpark's and pyarrow's 35 MB
# among it, in 2026 with the versions of conf/constraints.txt. Factors: `python -m
# benchmarks.shared_pages`, on a model of 537 MB (benchmarks/NOTES.md has its table).
_AS_THEY_ARE = {
    "litert": _Factors(40 * _MB, 1.05, 2.0),
    "onnx": _Factors(55 * _MB, 1.15, 1.9),
    # A second request for batches repacks the weights once more.
    "openvino": _Factors(70 * _MB, 2.0, 2.2),
    # What issue 22 holds the engine to, and `python -m benchmarks.memory` measures.
    "tensorflow": _Factors(255 * _MB, 1.3, 2.5),
}
_SHARED = {
    "litert": _Factors(40 * _MB, 0.0, 1.9, shared=1.0),
    "onnx": _Factors(55 * _MB, 0.0, 2.0, shared=1.0),
    "openvino": _Factors(70 * _MB, 1.0, 2.2, shared=1.0),
}

# Of a text reader: what lies between its layers, for pictures of up to 2,000 pixels a side.
# Measured with PP-OCRv4 on 2,000 x 2,000 pixels: 0.2 GB more once done, 0.85 GB meanwhile.
_READING_AT_REST, _READING_PEAK = 200 * _MB, 850 * _MB

# A trained model's file may hold its optimizer, too, which is not loaded: Adam's has two numbers
# for each weight.
_WITH_OPTIMIZER = 3
# How checkpoints of TensorFlow name its variables, and Keras' files their group of them.
_SLOTS = (b".OPTIMIZER_SLOT", b"optimizer/_variables")
_OPTIMIZER = "optimizer"


@dataclass(frozen=True)
class WorkerMemory:
    """In bytes: what one worker holds by itself ``at_rest`` and at the ``peak`` of loading, above
    which ``shared`` is in memory once for all workers of an executor."""

    engine: str
    weights: int
    at_rest: int
    peak: int
    shared: int

    def of(self, workers: int) -> int:
        """What so many workers of one executor hold together, at rest."""
        return workers * self.at_rest + self.shared


def worker_memory(spec: ModelSpec) -> WorkerMemory:
    """What a worker with this model needs; the model's files are here."""
    file = spec.file
    weights = _weights_bytes(Path(spec.path), file.format)
    shares = file.engine in _SHARED and is_large(spec.path)
    factors = (_SHARED if shares else _AS_THEY_ARE)[file.engine]
    images = spec.fixed_batch or 1
    batch = int(np.prod(spec.input_shape(images))) * np.dtype(spec.input_dtype).itemsize
    floor = factors.floor_bytes + batch + _PICTURE_BYTES
    reads = file.format == TEXT_READER
    return WorkerMemory(
        engine=file.engine,
        weights=weights,
        at_rest=floor + int(factors.at_rest * weights) + reads * _READING_AT_REST,
        peak=floor + int(factors.peak * weights) + reads * _READING_PEAK,
        shared=int(factors.shared * weights),
    )


def _weights_bytes(path: Path, file_format: str) -> int:
    """Of the weights in a model's file or folder; none where there is none, as others will say."""
    if not path.exists():
        return 0
    if file_format == "saved_model":
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        index = path / "variables" / "variables.index"
        has_slots = index.is_file() and any(slot in index.read_bytes() for slot in _SLOTS)
        return size // _WITH_OPTIMIZER if has_slots else size
    if file_format == DUAL_ENCODER:
        path = path / IMAGE_TOWER
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    size = path.stat().st_size
    if file_format not in ("keras", "h5"):
        return size
    try:
        return _keras_weights_bytes(path)
    # The driver may lack what reads it; a file that is damaged is refused by who loads it.
    except (ImportError, OSError, KeyError, zipfile.BadZipFile):
        return size // _WITH_OPTIMIZER


def _keras_weights_bytes(path: Path) -> int:
    import h5py

    sizes: list[int] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(_OPTIMIZER):
            sizes.append(int(item.nbytes))

    with contextlib.ExitStack() as stack:
        source: Any = path
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            source = stack.enter_context(archive.open("model.weights.h5"))
        stack.enter_context(h5py.File(source, "r")).visititems(note)
    return sum(sizes)
