"""LiteRT twins of a TensorFlow model: made here, and held against the original before their use.

The float32 twin runs the same arithmetic in another engine that starts in 0.03 s. It is trusted
only after both have seen the same pictures, through the library's own pipeline, and agreed. The
int8 twin is another model: how far it agrees is for the caller to see and to accept.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.agreement import DEFAULT_TOLERANCE, MIN_BOX_IOU, Agreement, compare
from pyspark_vision.bundles.readers.keras import start_tensorflow
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.engines import tensorflow as engine
from pyspark_vision.executor.engines.quiet import quiet_stderr
from pyspark_vision.executor.models.memory import give_back
from pyspark_vision.executor.models.model_files import sha256_of
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.executor.worker.parent import child_environment

__all__ = [
    "DEFAULT_TOLERANCE",
    "MIN_BOX_IOU",
    "Agreement",
    "add_twin",
    "compare",
    "make_litert_twin",
    "with_int8_twin",
    "with_twin",
]

# The twin's one input; its outputs carry the names of their roles.
INPUT_NAME = "image"

# With oneDNN, TensorFlow takes memory from a pool that it never gives back: a model's weights after
# each SavedModel that was loaded (its own switch; nothing is computed there). And glibc gives back
# at once what it has mapped, which by itself it does ever more seldom (mallopt(3)).
_GIVES_BACK = {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}

# A converter's message can be pages long, and says what is wrong at its start.
_REASON_CHARS = 400


def add_twin(
    spec: ModelSpec,
    images: Sequence[bytes],
    tolerance: float = DEFAULT_TOLERANCE,
    folder: str | Path | None = None,
) -> ModelSpec:
    """``spec`` with a LiteRT twin beside its original, if the two agree on ``images``.

    ``tolerance``: the largest difference of a score, 0..1. Original and twin lie in ``folder``
    afterwards (a temporary one if not given); ``save`` makes a bundle of them. Raises
    :class:`InvalidModelError` with the figures for a twin that disagrees: another top-1, a score
    beyond the tolerance, or a box below an IoU of 0.99; and for a model that cannot be converted.
    """
    twinned = with_twin(spec, folder)
    agreement = compare(spec, twinned, images)
    agreement.check(tolerance, spec.name)
    return twinned


def with_twin(spec: ModelSpec, folder: str | Path | None = None) -> ModelSpec:
    """What :func:`add_twin` makes, not compared yet: for a caller that shows the figures first."""
    place = Path(folder) if folder else scratch_folder()
    original = _original(spec)
    alone = dataclasses.replace(spec, files=(original,), engine="auto")
    alone.save(place)
    here = dataclasses.replace(alone, root=str(place.absolute()))
    twin = _twin_file(make_litert_twin(here, place), original)
    return dataclasses.replace(here, files=(original, twin))


def with_int8_twin(spec: ModelSpec, calibration: Sequence[bytes], folder: str | Path) -> ModelSpec:
    """``spec`` at ``precision="int8"``, with such a twin of its TensorFlow original in ``folder``.

    ``calibration``: encoded pictures like those to come; from them the converter takes the range
    of every tensor (100 or more serve best). Weights become int8 for each channel, activations for
    each tensor; input and output stay as they were. :func:`compare` says what it costs.
    """
    place = Path(folder)
    original = _original(spec)
    spec.save(place)
    here = dataclasses.replace(spec, root=str(place.absolute()))
    twin = _twin_file(make_litert_twin(here, place, calibration), original)
    twin = dataclasses.replace(twin, precision="int8")
    return dataclasses.replace(here, files=(*spec.files, twin), precision="int8")


def _twin_file(path: Path, original: ModelFile) -> ModelFile:
    return ModelFile(
        engine="litert",
        format="tflite",
        path=path.name,
        sha256=sha256_of(path),
        input_tensor=INPUT_NAME,
        outputs=tuple((role, role) for role, _ in original.outputs),
    )


def make_litert_twin(spec: ModelSpec, folder: Path, calibration: Sequence[bytes] = ()) -> Path:
    """Convert the TensorFlow file of ``spec`` to ``folder/<name>.tflite``; returns its path.

    float32, a batch of one, ``spec.input_hw``; its signature names the input ``image`` and each
    output by its role. With ``calibration``, ``<name>-int8.tflite`` as :func:`with_int8_twin` says.
    Raises :class:`InvalidModelError` for a model that LiteRT cannot run.
    """
    original = _original(spec)
    if spec.fixed_batch not in (None, 1):
        raise InvalidModelError(
            f"model {spec.name!r}: no LiteRT twin of a model with a fixed batch of "
            f"{spec.fixed_batch}; it runs with TensorFlow (`twin=False`)"
        )
    path = folder / f"{Path(original.path).stem}{'-int8' if calibration else ''}.tflite"
    is_large = _size_bytes(Path(spec.root, original.path)) >= engine.FROZEN_BELOW_BYTES
    reason = (_made_apart if is_large else convert)(spec, path, calibration)
    if reason is not None:
        raise InvalidModelError(
            f"model {spec.name!r}: no LiteRT twin can be made: {reason}. "
            "It runs with TensorFlow all the same: leave the twin out (`twin=False`)"
        )
    return path


def convert(spec: ModelSpec, path: Path, calibration: Sequence[bytes]) -> str | None:
    """Convert the TensorFlow file of ``spec`` to ``path``; returns why that cannot be, if so."""
    tf = start_tensorflow()
    with _quiet(), tempfile.TemporaryDirectory() as exported:
        # The converter and its checks raise many kinds; for the caller they are one. Caught within
        # the quiet: the log says nothing that the error does not.
        try:
            _export(tf, spec, exported)
            engine.collect_garbage()
            give_back()
            path.write_bytes(_converted(tf, exported, _prepared(spec, calibration)))
        except Exception as error:
            return _reason(error)
    return None


def _made_apart(spec: ModelSpec, path: Path, calibration: Sequence[bytes]) -> str | None:
    """As :func:`convert`, in a process of its own, whose memory is gone when it ends.

    The converter takes five times a model's weights, and TensorFlow would keep three of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        reason = Path(folder, "reason")
        child = subprocess.run(
            [sys.executable, "-m", "pyspark_vision.bundles.twin_child", str(reason)],
            input=pickle.dumps((spec, path, calibration)),
            env=child_environment() | _GIVES_BACK,
            capture_output=True,
            check=False,
        )
        if reason.exists():
            return reason.read_text(encoding="utf-8")
    if child.returncode == -signal.SIGKILL:
        return "its process was ended by signal 9: memory ran out, most likely"
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip().splitlines()
        return f"its process ended with {child.returncode} ({said[-1] if said else 'no word'})"
    return None


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _export(tf: Any, spec: ModelSpec, folder: str) -> None:
    """The TensorFlow file of ``spec`` as a SavedModel with one signature, for a batch of one."""
    original = _original(spec)
    module = tf.Module()
    function = engine.load_function(original, str(Path(spec.root, original.path)))
    module.weights = function.variables  # what is not tracked is not saved
    module.serve = tf.function(
        function.run,
        input_signature=[tf.TensorSpec(spec.input_shape(1), spec.input_dtype, name=INPUT_NAME)],
        autograph=False,
    )
    tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})


def _reason(failure: Exception) -> str:
    """The operators that LiteRT lacks where the converter lists them, else the error's start."""
    text = str(failure)
    lacking = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", text, re.MULTILINE)
    if lacking:
        return f"LiteRT has no kernel for {', '.join(lacking)}"
    return f"{type(failure).__name__}: {' '.join(text.split())[:_REASON_CHARS]}"


def _prepared(spec: ModelSpec, images: Sequence[bytes]) -> list[np.ndarray[Any, Any]]:
    """Batches of one, as the model gets them; pictures that cannot be decoded are left out."""
    preprocessor = Preprocessor(spec)
    batches = []
    for encoded in images:
        batch = preprocessor.empty_batch(1)
        try:
            image, _ = decode(encoded, DecodeOptions(exact=True), spec.input_hw)
        except RowError:
            continue
        preprocessor.fill(batch, 0, image)
        batches.append(batch)
    if images and not batches:
        raise InvalidModelError(f"none of the {len(images)} calibration images can be decoded")
    return batches


def _converted(tf: Any, folder: str, calibration: Sequence[np.ndarray[Any, Any]]) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # Of what made it; to write it in, the converter copies the model four times.
    converter.exclude_conversion_metadata = True
    if calibration:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([batch] for batch in calibration)
        # What has no int8 kernel (the arithmetic of boxes, often) stays in float32.
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    model: bytes = converter.convert()
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter logs each of its steps, from C++ and from Python."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with quiet_stderr():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _original(spec: ModelSpec) -> ModelFile:
    for file in spec.files:
        if file.engine == "tensorflow":
            return file
    raise InvalidModelError(
        f"model {spec.name!r} has no TensorFlow file to make a twin of; it holds "
        f"{', '.join(file.format for file in spec.files)}"
    )
