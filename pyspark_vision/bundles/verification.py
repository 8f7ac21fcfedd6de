"""Does a bundle say what its reference says? Answers of the model's own code, beside ours.

A reference is a ``.npz`` of expected answers, or a Python script that has a function
``reference(image)``: upright RGB pixels ``(H, W, 3)`` uint8 -> a dictionary of arrays. Both speak
of the model's own class indices, scores as rows have them, and pixels of the picture:

- ``classify``: ``scores`` ``(C,)``
- ``detect``: ``boxes`` ``(K, 4)`` xyxy, ``scores`` ``(K,)``, ``classes`` ``(K,)``: those that the
  reference gives after its own threshold and suppression
- ``embed``: ``embedding`` ``(D,)``

In a ``.npz`` each array is named ``PICTURE/NAME``: ``cat.jpg/scores``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision import __version__
from pyspark_vision.bundles.agreement import (
    DEFAULT_TOLERANCE,
    MIN_BOX_IOU,
    Agreement,
    compare_values,
)
from pyspark_vision.bundles.proof import Proof
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.heads import (
    ClassifyOptions,
    Detections,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    Predictions,
    default_iou_threshold,
)
from pyspark_vision.executor.images import DecodeOptions, decode
from pyspark_vision.executor.model_files import sha256_of
from pyspark_vision.executor.parent import child_environment
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.row_errors import RowError

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]
# By picture: the arrays of its answer.
Answers = dict[str, dict[str, Array]]

_ARRAYS = {
    "classify": ("scores",),
    "detect": ("boxes", "scores", "classes"),
    "embed": ("embedding",),
}
_MOST_BOXES = 1000
# Of detect_objects, where the reference has found nothing in any picture.
_DEFAULT_THRESHOLD = 0.5
# What computes, by engine, as its distribution is called.
_DISTRIBUTIONS = {
    "litert": "ai-edge-litert",
    "tensorflow": "tensorflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
}


def verify(
    spec: ModelSpec,
    reference: str | Path,
    pictures: Mapping[str, bytes],
    tolerance: float = DEFAULT_TOLERANCE,
    score_threshold: float | None = None,
) -> Proof:
    """Compare a model with its reference on encoded pictures (name -> bytes); give the proof.

    Boxes must have an IoU of 0.99 with the reference's of the same class, and scores must differ
    by at most ``tolerance`` (embeddings: in each element, L2-normalized). Pictures are decoded
    exactly. ``score_threshold``: that of the detector's reference; by default the score of its
    weakest box, below which nothing is asked.

    Raises :class:`InvalidModelError` with the figures where the model is beyond that, and for a
    reference that fails; :class:`InvalidOptionError` for one that does not fit the pictures.
    """
    file = Path(reference)
    if not file.is_file():
        raise InvalidOptionError(f"`reference` {file} is not a file")
    if file.suffix not in (".npz", ".py"):
        raise InvalidOptionError(f"`reference` {file} is neither a .npz nor a .py file")
    if spec.task not in _ARRAYS:
        raise InvalidOptionError(
            f"model {spec.name!r} is for task {spec.task!r}; verify compares {', '.join(_ARRAYS)}"
        )
    expected = _of_npz(file) if file.suffix == ".npz" else _of_script(file, pictures)
    missing = sorted(set(expected) - set(pictures))
    if missing:
        raise InvalidOptionError(
            f"`reference` {file} has answers to {', '.join(missing[:3])}, which `images` has not; "
            f"that has {', '.join(sorted(pictures)[:3])}, …"
        )
    used = {name: pictures[name] for name in sorted(expected)}
    agreement = agreement_with(spec, expected, used, tolerance, score_threshold)
    agrees = agreement.top1_agreement == 1.0 and agreement.max_score_difference <= tolerance
    if not agrees or (agreement.min_box_iou or 1.0) < MIN_BOX_IOU:
        raise InvalidModelError(
            f"model {spec.name!r} disagrees with {file}: {agreement}; required are top-1 100%, a "
            f"score difference of at most {tolerance:g} and an IoU of {MIN_BOX_IOU}. See how the "
            "spec prepares pictures and reads outputs, or allow more (`tolerance`)"
        )
    together = hashlib.sha256()
    for content in used.values():
        together.update(hashlib.sha256(content).digest())
    return Proof(
        reference=file.name,
        reference_sha256=sha256_of(file),
        pictures=len(used),
        pictures_sha256=together.hexdigest(),
        tolerance=tolerance,
        max_score_difference=agreement.max_score_difference,
        min_box_iou=agreement.min_box_iou,
        top1_agreement=agreement.top1_agreement,
        model_digest=spec.digest,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(spec),
    )


def agreement_with(
    spec: ModelSpec,
    expected: Answers,
    pictures: Mapping[str, bytes],
    tolerance: float = DEFAULT_TOLERANCE,
    score_threshold: float | None = None,
) -> Agreement:
    """How a model's answers to encoded pictures agree with those of ``expected``, by name.

    Arguments as of :func:`verify`; within ``tolerance`` of the threshold a box need not be found.
    """
    pixels = {name: _upright_wh(content, name) for name, content in pictures.items()}
    references = [_value(spec, expected[name], pixels[name], name) for name in pictures]
    # From the reference's weakest box on: it had a threshold of its own.
    found = [one.scores for one in references if spec.task == "detect"]
    weakest = min((float(s.min()) for s in found if s.size), default=_DEFAULT_THRESHOLD)
    # A mean of overlapping boxes is of all above the threshold: it must be the reference's.
    least = weakest - tolerance if score_threshold is None else score_threshold
    ours = _our_values(spec, list(pictures.values()), _head(spec, least))
    _check_sizes(spec, dict(zip(pictures, zip(references, ours, strict=True), strict=True)))
    return compare_values(
        spec.task,
        list(zip(references, ours, strict=True)),
        asked_back_from=weakest + tolerance,
    )


def _of_npz(file: Path) -> Answers:
    answers: Answers = {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for key in arrays.files:
                name, _, array = key.rpartition("/")
                answers.setdefault(name, {})[array] = arrays[key]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidOptionError(f"`reference` {file} cannot be read: {error}") from None
    if "" in answers or not answers:
        raise InvalidOptionError(
            f"`reference` {file} must name its arrays PICTURE/NAME, as cat.jpg/scores; it has "
            f"{', '.join(answers.get('', ())) or 'none'}"
        )
    return answers


def _of_script(file: Path, pictures: Mapping[str, bytes]) -> Answers:
    """Run the script's function on each picture, in a process of its own: it is anybody's code."""
    with tempfile.TemporaryDirectory(prefix="pyspark_vision-verify-") as folder:
        names = list(pictures)
        for number, name in enumerate(names):
            np.save(Path(folder, f"{number}.npy"), _pixels(pictures[name], name))
        child = subprocess.run(
            [sys.executable, "-m", "pyspark_vision.bundles.verification_child", file, folder],
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if child.returncode:
            said = child.stderr.decode(errors="replace").strip().splitlines()
            ended = (
                "memory ran out, most likely"
                if child.returncode == -signal.SIGKILL
                else (said[-1] if said else "no word")
            )
            raise InvalidModelError(f"`reference` {file} failed ({child.returncode}): {ended}")
        answers: Answers = {}
        for number, name in enumerate(names):
            with np.load(Path(folder, f"{number}.npz"), allow_pickle=False) as arrays:
                answers[name] = {key: arrays[key] for key in arrays.files}
    return answers


def _pixels(content: bytes, name: str) -> Array:
    try:
        image, _ = decode(content, DecodeOptions(exact=True), None)
    except RowError as error:
        raise InvalidOptionError(f"`images`: {name} cannot be read: {error.message}") from None
    return np.asarray(image)


def _upright_wh(content: bytes, name: str) -> Array:
    height, width, _ = _pixels(content, name).shape
    return np.array([width, height], np.float32)


def _value(spec: ModelSpec, arrays: Mapping[str, Array], size_wh: Array, name: str) -> Any:
    """A reference's arrays as the head's value of that picture."""
    wanted = _ARRAYS[spec.task]
    if not set(wanted) <= set(arrays):
        raise InvalidOptionError(
            f"the reference's answer to {name} has {', '.join(arrays) or 'nothing'}; for task "
            f"{spec.task!r} it needs {', '.join(wanted)}"
        )
    values = [np.asarray(arrays[role], np.float32) for role in wanted]
    if spec.task == "embed":
        return _normalized(values[0].reshape(-1))
    if spec.task == "classify":
        scores = values[0].reshape(-1)
        best = np.argsort(-scores, kind="stable")
        return Predictions(best, scores[best])
    boxes, scores, classes = values[0].reshape(-1, 4), values[1].reshape(-1), values[2].reshape(-1)
    if not len(boxes) == len(scores) == len(classes):
        raise InvalidOptionError(
            f"the reference's answer to {name} has {len(boxes)} boxes, {len(scores)} scores and "
            f"{len(classes)} classes: they must be as many"
        )
    best = np.argsort(-scores, kind="stable")
    xyxy = np.clip(boxes / np.tile(size_wh, 2), 0, 1)
    return Detections(classes[best].astype(np.int64), scores[best], xyxy[best])


def _check_sizes(spec: ModelSpec, pairs: Mapping[str, tuple[Any, Any]]) -> None:
    """A reference of another number of classes, or of another vector, is not of this model."""
    for name, (reference, own) in pairs.items():
        if spec.task == "classify":
            sizes = (reference.scores.size, own.scores.size + (spec.background_class is not None))
        elif spec.task == "embed":
            sizes = (reference.size, own.size)
        else:
            continue
        if sizes[0] != sizes[1]:
            raise InvalidOptionError(
                f"the reference's answer to {name} has {sizes[0]:,} numbers, and the model gives "
                f"{sizes[1]:,}"
            )


def _our_values(spec: ModelSpec, contents: Sequence[bytes], head: HeadOptions) -> list[Any]:
    engine = load_engine(spec, spec.path, os.cpu_count() or 1)
    # In the model's own indices, as references are.
    own = spec.with_options(label_offset=0)
    predictor = Predictor(own, engine, DecodeOptions(exact=True), head)
    values = []
    for row in predictor.predict(contents):
        if row.error is not None:
            raise InvalidModelError(
                f"model {spec.name!r} fails on a picture that its reference answers: "
                f"{row.error.message}"
            )
        values.append(row.value)
    return values


def _head(spec: ModelSpec, score_threshold: float) -> HeadOptions:
    if spec.task == "classify":
        return ClassifyOptions(np.iinfo(np.int32).max, -np.inf)
    if spec.task == "embed":
        return EmbedOptions(normalize=True)
    return DetectOptions(score_threshold, _MOST_BOXES, default_iou_threshold(spec))


def _normalized(vector: Array) -> Array:
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    return vector if norm == 0 else (vector / norm).astype(np.float32)


def _versions(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    names = ["numpy", "pillow", _DISTRIBUTIONS[spec.file.engine]]
    found = []
    for name in names:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:  # under another name, as builds have
            found.append((name, "unknown"))
    return (
        ("pyspark_vision", __version__),
        ("python", platform.python_version()),
        *found,
    )
