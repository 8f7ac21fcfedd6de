"""Does a bundle say what its reference says? Answers of the model's own code, beside ours.

A reference is a ``.npz`` of expected answers, or a Python script that has a function
``reference(image)``: upright RGB pixels ``(H, W, 3)`` uint8 -> a dictionary of arrays, which are
those of :mod:`reference_values`. In a ``.npz`` each array is named ``PICTURE/NAME``:
``cat.jpg/scores``.
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
from pyspark_vision.bundles.reference_values import value_of
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.models.model_files import sha256_of
from pyspark_vision.executor.outputs.heads import (
    ClassifyOptions,
    Detections,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    PoseOptions,
    Predictions,
    ReadOptions,
    SegmentOptions,
    default_iou_threshold,
)
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.executor.worker.loaded import load_model, predictor_of
from pyspark_vision.executor.worker.parent import child_environment

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]
# By picture: the arrays of its answer.
Answers = dict[str, dict[str, Array]]

_MOST_BOXES = 1000
# Of the functions, where the reference has found nothing in any picture.
_DEFAULT_THRESHOLD = 0.5
_BOX_THRESHOLD = 0.5
_UNCLIP_RATIO = 1.6
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

    Boxes and masks must have an IoU of 0.99 with the reference's of the same class, points and
    corners lie within a hundredth of the pose's or line's diagonal, texts be the same, and scores
    differ by at most ``tolerance`` (embeddings: in each element, L2-normalized). Pictures are
    decoded exactly. ``score_threshold``: that of the reference; by default the score of the weakest
    that it has found, below which nothing is asked (of text lines: 0.5, as of ``read_text``).

    Raises :class:`InvalidModelError` with the figures where the model is beyond that, and for a
    reference that fails; :class:`InvalidOptionError` for one that does not fit the pictures.
    """
    file = Path(reference)
    if not file.is_file():
        raise InvalidOptionError(f"`reference` {file} is not a file")
    if file.suffix not in (".npz", ".py"):
        raise InvalidOptionError(f"`reference` {file} is neither a .npz nor a .py file")
    expected = _of_npz(file) if file.suffix == ".npz" else _of_script(file, pictures)
    missing = sorted(set(expected) - set(pictures))
    if missing:
        raise InvalidOptionError(
            f"`reference` {file} has answers to {', '.join(missing[:3])}, which `images` has not; "
            f"that has {', '.join(sorted(pictures)[:3])}, …"
        )
    used = {name: pictures[name] for name in sorted(expected)}
    agreement = agreement_with(spec, expected, used, tolerance, score_threshold)
    if not agreement.is_within(tolerance):
        raise InvalidModelError(
            f"model {spec.name!r} disagrees with {file}: {agreement}; required are top-1 100%, a "
            f"score difference of at most {tolerance:g}"
            + ("" if agreement.min_box_iou is None else f" and an IoU of {MIN_BOX_IOU}")
            + ". See how the spec prepares pictures and reads outputs, or allow more (`tolerance`)"
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
    references = [_value(spec, expected[name], content, name) for name, content in pictures.items()]
    weakest = _weakest(references)
    threshold = _threshold(spec, weakest, tolerance, score_threshold)
    ours = _our_values(spec, list(pictures.values()), _head(spec, threshold))
    _check_sizes(spec, dict(zip(pictures, zip(references, ours, strict=True), strict=True)))
    return compare_values(
        spec.task,
        list(zip(references, ours, strict=True)),
        asked_back_from=-np.inf if weakest is None else weakest + tolerance,
    )


def _weakest(references: Sequence[Any]) -> float | None:
    """The least score of what a reference has found; ``None`` where it says none."""
    score_lists = [
        reference.scores
        for reference in references
        if isinstance(reference, Detections | Segments | Poses)
    ]
    known = [scores[~np.isnan(scores)] for scores in score_lists]
    return min((float(scores.min()) for scores in known if scores.size), default=None)


def _threshold(
    spec: ModelSpec, weakest: float | None, tolerance: float, given: float | None
) -> float:
    """From which score on our model is asked what it finds."""
    if weakest is None:
        shows_classes = {"pixel_scores", "pixel_classes"} & dict(spec.file.outputs).keys()
        usual = 0.0 if shows_classes else _DEFAULT_THRESHOLD
        least = usual if given is None else given
        return least if spec.task == "ocr" else least + tolerance
    # From the reference's weakest on: it had a threshold of its own. A mean of overlapping boxes is
    # of all above the threshold: it must be the reference's.
    return max(0.0, weakest - tolerance) if given is None else given


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


def _value(spec: ModelSpec, arrays: Mapping[str, Array], content: bytes, name: str) -> Any:
    height, width, _ = _pixels(content, name).shape
    try:
        return value_of(spec, arrays, (width, height))
    except InvalidOptionError as error:
        raise InvalidOptionError(f"the reference's answer to {name} {error}") from None


def _check_sizes(spec: ModelSpec, pairs: Mapping[str, tuple[Any, Any]]) -> None:
    """A reference of another number of classes, points or numbers is not of this model."""
    for name, (reference, own) in pairs.items():
        if isinstance(own, Predictions):
            sizes = (reference.scores.size, own.scores.size + (spec.background_class is not None))
        elif isinstance(own, Poses) and len(own.points) and len(reference.points):
            sizes = (reference.points.shape[1], own.points.shape[1])
        elif isinstance(own, np.ndarray):
            sizes = (reference.size, own.size)
        else:
            continue
        if sizes[0] != sizes[1]:
            what = "keypoints" if isinstance(own, Poses) else "numbers"
            raise InvalidOptionError(
                f"the reference's answer to {name} has {sizes[0]:,} {what}, and the model gives "
                f"{sizes[1]:,}"
            )


def _our_values(spec: ModelSpec, contents: Sequence[bytes], head: HeadOptions) -> list[Any]:
    model = load_model(spec, spec.path, os.cpu_count() or 1)
    # In the model's own indices, as references are.
    own = spec.with_options(label_offset=0)
    values = []
    for row in predictor_of(own, model, DecodeOptions(exact=True), head).predict(contents):
        if row.error is not None:
            raise InvalidModelError(
                f"model {spec.name!r} fails on a picture that its reference answers: "
                f"{row.error.message}"
            )
        values.append(row.value)
    return values


def _head(spec: ModelSpec, threshold: float) -> HeadOptions:
    if spec.task == "classify":
        return ClassifyOptions(np.iinfo(np.int32).max, -np.inf)
    if spec.task == "detect":
        return DetectOptions(threshold, _MOST_BOXES, default_iou_threshold(spec))
    if spec.task == "segment":
        return SegmentOptions(threshold, _MOST_BOXES, default_iou_threshold(spec), 0.5)
    if spec.task == "keypoints":
        return PoseOptions(threshold, _MOST_BOXES, default_iou_threshold(spec))
    if spec.task == "ocr":
        return ReadOptions(threshold, _BOX_THRESHOLD, _UNCLIP_RATIO)
    return EmbedOptions(normalize=True)


def _versions(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    names = ["numpy", "pillow", _DISTRIBUTIONS[spec.file.engine]]
    versions = []
    for name in names:
        try:
            versions.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:  # under another name, as builds have
            versions.append((name, "unknown"))
    return (
        ("pyspark_vision", __version__),
        ("python", platform.python_version()),
        *versions,
    )
