"""Do two forms of a model say the same? Both see the same pictures through the same pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.boxes import iou_of_one
from pyspark_vision.executor.outputs.heads import (
    ClassifyOptions,
    Detections,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    PoseOptions,
    Predictions,
    SegmentOptions,
    TextLines,
)
from pyspark_vision.executor.outputs.masks import decoded
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments
from pyspark_vision.executor.predictor import Predictor

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# The same float32 model in two engines differs by some 1e-7 to 1e-5 in a score (the tests of twins
# hold that down); a wrong conversion by far more than this.
DEFAULT_TOLERANCE = 1e-3

# A box of ten pixels whose sides move by a hundredth of a pixel keeps an IoU of 0.99.
MIN_BOX_IOU = 0.99

# Detections that are compared: the best ones of each picture. Those of the twin come from a longer
# list, so that equal scores in another order do not look like a missing box.
_COMPARED_DETECTIONS = 20
_CANDIDATES = 1000

# Of masks of objects: those of boxes that are not found are not compared, for there are hundreds.
_LEAST_SEGMENT_SCORE = 0.25
# Of a picture: a smaller mask moves by more than `MIN_BOX_IOU` allows when one pixel does.
_LEAST_AREA = 1e-3
# Of a point: below it says nothing of where it is (as MoveNet's demo has it, and `draw_keypoints`).
_LEAST_POINT_SCORE = 0.2
# Of a pose or a line, in parts of the picture: its diagonal is a measure down to this.
_LEAST_EXTENT = 0.01

# Two classes whose scores lie closer than this are one top-1: float32 rounding decides there.
_TIE = 1e-6


@dataclass(frozen=True)
class Agreement:
    """How far a twin agrees with the original, over ``images`` pictures.

    - ``top1_agreement``: share of pictures with the same best class (detections: the same class
      on the same box; embeddings: the original's nearest embedding is that of the same picture).
    - ``max_score_difference``: the largest of any class (logits: relative to the picture's
      largest), of a matched detection, or of any element of an L2-normalized embedding.
    - ``min_box_iou``, ``mean_box_iou``: the IoU of the best detections (masks) with their match of
      the same class; for poses and text lines, 1 less the largest distance of a point, in diagonals
      of the pose or line; ``None`` where the task has no places or nothing was detected.
    """

    images: int
    top1_agreement: float
    max_score_difference: float
    min_box_iou: float | None = None
    mean_box_iou: float | None = None

    def __str__(self) -> str:
        """The figures in one line."""
        boxes = (
            ""
            if self.min_box_iou is None
            else f", box IoU at least {self.min_box_iou:.4f} (mean {self.mean_box_iou:.4f})"
        )
        return (
            f"top-1 {self.top1_agreement:.1%} of {self.images} images, largest score difference "
            f"{self.max_score_difference:.2g}{boxes}"
        )

    def is_within(self, tolerance: float) -> bool:
        """Whether best classes are the same, scores as near as that, and boxes in their places."""
        # Written so that NaN is not.
        return (
            self.top1_agreement == 1.0
            and self.max_score_difference <= tolerance
            and (self.min_box_iou is None or self.min_box_iou >= MIN_BOX_IOU)
        )

    def check(self, tolerance: float, name: str) -> None:
        """Raise :class:`InvalidModelError` with the figures if the twin is beyond the tolerance."""
        if not self.is_within(tolerance):
            raise InvalidModelError(
                f"model {name!r}: the twin disagrees with the original: {self}; required are "
                f"top-1 100%, a score difference of at most {tolerance:g}"
                + ("" if self.min_box_iou is None else f", box IoU of at least {MIN_BOX_IOU}")
                + ". Leave the twin out (`twin=False`), or allow more (`tolerance`)"
            )


def compare(spec: ModelSpec, other: ModelSpec, images: Sequence[bytes]) -> Agreement:
    """Run the original of ``spec`` and what runs of ``other`` on encoded images.

    The original sees pictures decoded exactly, ``other`` as its rows would, if its precision is a
    lower one. Pictures that cannot be decoded are left out. Raises :class:`InvalidModelError` when
    none is left, or when one of the engines fails.
    """
    raw = spec.task == "classify" and spec.score_kind == "logit"
    # Softmax would hide a difference wherever one class is certain: logits are compared raw.
    options = {"score_kind": "probability"} if raw else {}
    original = spec.with_options(engine=spec.files[0].engine, precision="float32", **options)
    reference = _run(original, images, exact=True)
    twin = _run(other.with_options(**options), images, exact=other.precision == "float32")
    # Both saw the same bytes through the same decoder: what one could not read, neither could.
    pairs = [
        (of_reference, other)
        for of_reference, other in zip(reference, twin, strict=True)
        if of_reference is not None and other is not None
    ]
    if not pairs:
        raise InvalidModelError(
            f"model {spec.name!r}: none of the {len(images)} sample images can be decoded"
        )
    return compare_values(spec.task, pairs, relative=raw)


def compare_values(
    task: str,
    pairs: Sequence[tuple[Any, Any]],
    *,
    relative: bool = False,
    asked_back_from: float = -np.inf,
) -> Agreement:
    """Compare the head's values of one model and another's, picture by picture.

    ``relative``: scores are logits, whose differences count by the picture's largest.
    ``asked_back_from``: detections of the other that score less need no match, and are one.
    """
    if task == "classify":
        return _compare_predictions(pairs, relative=relative)
    if task == "detect":
        return _compare_detections(pairs, asked_back_from)
    if task == "keypoints":
        return _compare_both_ways(pairs, _pose_matches, asked_back_from)
    if task == "segment":
        return _compare_both_ways(pairs, _mask_matches, asked_back_from)
    if task == "ocr":
        return _compare_lines(pairs)
    return _compare_embeddings(pairs)


def _run(spec: ModelSpec, images: Sequence[bytes], *, exact: bool) -> list[Any]:
    """The head's value of each image, at full length; None where it cannot be decoded."""
    engine = load_engine(spec, spec.path, os.cpu_count() or 1)
    predictor = Predictor(spec, engine, DecodeOptions(exact=exact), _full_head(spec))
    rows = predictor.predict(images)
    for row in rows:
        if row.error is not None and row.error.code == "model_failed":
            raise InvalidModelError(
                f"model {spec.name!r}: {spec.file.engine} fails on a sample image: "
                f"{row.error.message}"
            )
    return [row.value if row.error is None else None for row in rows]


def _full_head(spec: ModelSpec) -> HeadOptions:
    if spec.task == "classify":
        return ClassifyOptions(top_k=np.iinfo(np.int32).max, score_threshold=-np.inf)
    if spec.task == "detect":
        return DetectOptions(score_threshold=-1.0, max_detections=_CANDIDATES, iou_threshold=None)
    if spec.task == "segment":
        return SegmentOptions(_LEAST_SEGMENT_SCORE, _COMPARED_DETECTIONS, 0.5, 0.5)
    if spec.task == "keypoints":
        return PoseOptions(-1.0, _CANDIDATES, None)
    return EmbedOptions(normalize=True)


def _compare_both_ways(
    pairs: Sequence[tuple[Any, Any]],
    matches_of: Callable[[Any, Any, float], Iterable[tuple[float, float]]],
    asked_back_from: float,
) -> Agreement:
    """As of boxes: each with its like (:func:`_nearer`), best first, and then the other way round.

    ``matches_of(first, second, least)``: of those of ``first`` whose score is at least ``least``.
    """
    agreed = 0
    matches: list[tuple[float, float]] = []
    for reference, other in pairs:
        forward = list(matches_of(reference, other, -np.inf))
        agreed += not forward or forward[0][0] >= MIN_BOX_IOU
        matches += forward + list(matches_of(other, reference, asked_back_from))
    return _agreement(len(pairs), agreed, matches)


def _pose_matches(poses: Poses, other: Poses, least: float) -> Iterator[tuple[float, float]]:
    """How near a pose is to its like its points say, and their scores count, too."""
    for index, score in enumerate(poses.scores[:_COMPARED_DETECTIONS].tolist()):
        if score < least:
            continue
        points = poses.points[index]
        best = 0.0, 1.0 if np.isnan(score) else score
        for like in np.flatnonzero(other.class_ids == poses.class_ids[index]).tolist():
            visible = ~(np.fmin(points[:, 2], other.points[like, :, 2]) < _LEAST_POINT_SCORE)
            difference = np.abs(
                np.append(
                    other.points[like, visible, 2] - points[visible, 2], other.scores[like] - score
                )
            )
            largest = float(np.nan_to_num(difference).max())
            near = _nearness(points[visible, :2], other.points[like, visible, :2])
            best = _nearer(best, (near, largest))
        yield best


def _nearness(points: Array, others: Array) -> float:
    """1 for the same points ``(P, 2)``, and less by the largest distance of two in diagonals of
    their extent; 0 from one diagonal on."""
    if not len(points):
        return 1.0
    diagonal = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    distance = float(np.linalg.norm(points - others, axis=1).max())
    return max(0.0, 1 - distance / max(diagonal, _LEAST_EXTENT))


def _nearer(best: tuple[float, float], candidate: tuple[float, float]) -> tuple[float, float]:
    """Of two (IoU, score difference) the one with the larger IoU, then the smaller difference."""
    return max(best, candidate, key=lambda match: (match[0], -match[1]))


def _compare_lines(pairs: Sequence[tuple[TextLines, TextLines]]) -> Agreement:
    """The same texts, each nearest to its like; those in another order are the same."""
    agreed = 0
    matches: list[tuple[float, float]] = []
    for lines, other in pairs:
        agreed += sorted(lines.texts) == sorted(other.texts)
        for text, score, corners in zip(
            lines.texts, lines.scores.tolist(), lines.corners, strict=True
        ):
            best = 0.0, score
            for like in (index for index, own in enumerate(other.texts) if own == text):
                difference = abs(float(other.scores[like]) - score)
                best = _nearer(best, (_nearness(corners, other.corners[like]), difference))
            matches.append(best)
    return _agreement(len(pairs), agreed, matches)


def _agreement(images: int, agreed: int, matches: Sequence[tuple[float, float]]) -> Agreement:
    """Of (IoU, score difference) of all that was compared, maybe nothing."""
    if not matches:
        return Agreement(images, agreed / images, 0.0)
    ious, differences = np.array(matches).T
    return Agreement(
        images,
        agreed / images,
        float(differences.max()),
        float(ious.min()),
        float(ious.mean()),
    )


def _mask_matches(
    segments: Segments, other: Segments, least: float
) -> Iterator[tuple[float, float]]:
    """By the masks' own IoU.

    Masks of less than a thousandth of a picture, whose every pixel counts, are left out.
    """
    height, width = segments.hw
    is_compared = (segments.areas >= _LEAST_AREA * height * width) & ~(segments.scores < least)
    for index in np.flatnonzero(is_compared).tolist():
        mask = decoded(segments.hw, segments.counts[index])
        best = 0.0, float(np.nan_to_num(segments.scores[index], nan=1.0))
        for like in np.flatnonzero(other.class_ids == segments.class_ids[index]).tolist():
            same = decoded(other.hw, other.counts[like])
            iou = float((mask & same).sum() / (mask | same).sum())
            difference = abs(float(np.nan_to_num(segments.scores[index] - other.scores[like])))
            best = _nearer(best, (iou, difference))
        yield best


def _compare_predictions(
    pairs: Sequence[tuple[Predictions, Predictions]], *, relative: bool
) -> Agreement:
    agreed = 0
    differences = []
    for predictions, other in pairs:
        by_class = dict(
            zip(predictions.class_ids.tolist(), predictions.scores.tolist(), strict=True)
        )
        of_other = np.array([by_class[class_id] for class_id in other.class_ids.tolist()])
        unit = max(1.0, float(np.abs(predictions.scores).max())) if relative else 1.0
        differences.append(float(np.max(np.abs(of_other - other.scores))) / unit)
        agreed += bool(predictions.scores[0] - of_other[0] <= _TIE * unit)
    return Agreement(len(pairs), agreed / len(pairs), max(differences))


def _compare_detections(
    pairs: Sequence[tuple[Detections, Detections]], asked_back_from: float
) -> Agreement:
    agreed = 0
    matches: list[tuple[float, float]] = []
    for detections, other in pairs:
        forward = list(_matches(detections, other))
        agreed += not forward or (forward[0][0] >= MIN_BOX_IOU)
        matches += forward + list(_matches(_scoring(other, asked_back_from), detections))
    return _agreement(len(pairs), agreed, matches)


def _scoring(detections: Detections, least: float) -> Detections:
    keep = detections.scores >= least
    return Detections(detections.class_ids[keep], detections.scores[keep], detections.xyxy[keep])


def _matches(detections: Detections, other: Detections) -> Iterator[tuple[float, float]]:
    """(IoU, score difference) of each of the best of ``detections`` with its like in ``other``.

    Its like: the one of the same class and about the same box whose score is nearest; without any,
    the IoU is 0 and the whole score is the difference.
    """
    for class_id, score, box in zip(
        detections.class_ids[:_COMPARED_DETECTIONS],
        detections.scores,
        detections.xyxy,
        strict=False,
    ):
        same = other.class_ids == class_id
        ious = _iou_or_same(box, other.xyxy[same])
        if not ious.size or ious.max() <= 0:
            yield 0.0, float(score)
            continue
        nearest = np.abs(other.scores[same] - score)
        close = ious >= min(MIN_BOX_IOU, float(ious.max()))
        best = int(np.argmin(np.where(close, nearest, np.inf)))
        yield float(ious[best]), float(nearest[best])


def _iou_or_same(box: Array, others: Array) -> Array:
    # A box without area (padding, a clipped one) has no IoU, not even with itself.
    same = (np.abs(others - box) <= _TIE).all(axis=1)
    return np.where(same, 1.0, iou_of_one(box, others))


def _compare_embeddings(pairs: Sequence[tuple[Array, Array]]) -> Agreement:
    originals = np.stack([embedding for embedding, _ in pairs])
    agreed = 0
    differences = []
    for embedding, other in pairs:
        differences.append(float(np.max(np.abs(embedding - other))))
        distances = np.linalg.norm(originals - other, axis=1)
        agreed += bool(np.linalg.norm(embedding - other) <= distances.min() + _TIE)
    return Agreement(len(pairs), agreed / len(pairs), max(differences))
