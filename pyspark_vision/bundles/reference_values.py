"""A reference's arrays of one picture -> what our own head would give of it.

Classes are the model's own indices, scores are as rows have them, and places are in pixels of the
upright picture:

- ``classify``: ``scores`` ``(C,)``
- ``detect``: ``boxes`` ``(K, 4)`` xyxy, ``scores`` ``(K,)``, ``classes`` ``(K,)``: those that the
  reference gives after its own threshold and suppression
- ``segment``: of objects and of classes that do not exclude one another ``masks`` ``(K, H, W)``,
  ``classes`` and ``scores`` ``(K,)``; of classes that do a ``class_map`` ``(H, W)``
- ``keypoints``: ``keypoints`` ``(K, P, 2)``, x and y, or ``(K, P, 3)`` with their scores, and
  ``scores`` ``(K,)``; maybe ``classes`` ``(K,)``, which are 0 without
- ``embed``, and a dual encoder's pictures: ``embedding`` ``(D,)``
- ``ocr``: ``texts`` ``(K,)``, ``scores`` ``(K,)``, ``corners`` ``(K, 4, 2)``, clockwise from the
  text's own top left
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.outputs.heads import Detections, Predictions, TextLines
from pyspark_vision.executor.outputs.masks import NO_CLASS, runs_of_classes
from pyspark_vision.executor.outputs.poses import Poses
from pyspark_vision.executor.outputs.segments import Segments

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# By task the arrays that a reference gives, each line of them enough.
_ARRAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "classify": (("scores",),),
    "detect": (("boxes", "scores", "classes"),),
    "segment": (("class_map",), ("masks", "classes", "scores")),
    "keypoints": (("keypoints", "scores"),),
    "embed": (("embedding",),),
    "dual_encoder": (("embedding",),),
    "ocr": (("texts", "corners", "scores"),),
}


def value_of(spec: ModelSpec, arrays: Mapping[str, Array], size_wh: tuple[int, int]) -> Any:
    """The value of a picture that is ``size_wh`` pixels large.

    Raises :class:`InvalidOptionError` for other arrays than the task's, and for shapes that do not
    go together.
    """
    choices = _ARRAYS[spec.task]
    if not any(set(names) <= set(arrays) for names in choices):
        needed = " or ".join(", ".join(names) for names in choices)
        raise InvalidOptionError(
            f"has {', '.join(arrays) or 'nothing'}; for task {spec.task!r} it needs {needed}"
        )
    if spec.task == "classify":
        scores = _numbers(arrays, "scores").reshape(-1)
        best = np.argsort(-scores, kind="stable")
        return Predictions(best, scores[best])
    if spec.task == "detect":
        return _detections(arrays, size_wh)
    if spec.task == "segment":
        return _segments(spec, arrays, size_wh)
    if spec.task == "keypoints":
        return _poses(arrays, size_wh)
    if spec.task == "ocr":
        return _lines(arrays, size_wh)
    return _of_length_one(_numbers(arrays, "embedding").reshape(-1))


def _numbers(arrays: Mapping[str, Array], name: str) -> Array:
    return np.asarray(arrays[name], np.float32)


def _as_many(**counts: int) -> None:
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InvalidOptionError(f"has {said}: they must be as many")


def _detections(arrays: Mapping[str, Array], size_wh: tuple[int, int]) -> Detections:
    boxes = _numbers(arrays, "boxes").reshape(-1, 4)
    scores, classes = (_numbers(arrays, name).reshape(-1) for name in ("scores", "classes"))
    _as_many(boxes=len(boxes), scores=len(scores), classes=len(classes))
    best = np.argsort(-scores, kind="stable")
    xyxy = np.clip(boxes / np.array(size_wh * 2, np.float32), 0, 1)
    return Detections(classes[best].astype(np.int64), scores[best], xyxy[best])


def _segments(spec: ModelSpec, arrays: Mapping[str, Array], size_wh: tuple[int, int]) -> Segments:
    width, height = size_wh
    if "class_map" in arrays:
        class_map = np.asarray(arrays["class_map"])
        _of_picture("class_map", class_map.shape, size_wh)
        of_classes = runs_of_classes(np.rint(class_map).astype(np.uint16).T)
        # The second class of two is what a map of one channel shows.
        nothing = 0 if spec.score_kind.startswith("binary") else spec.background_class
        segments = [
            (class_id, np.nan, runs) for class_id, runs in of_classes if class_id != nothing
        ]
    else:
        masks = np.asarray(arrays["masks"])
        scores, classes = (_numbers(arrays, name).reshape(-1) for name in ("scores", "classes"))
        _as_many(masks=len(masks), scores=len(scores), classes=len(classes))
        if len(masks):
            _of_picture("masks", masks.shape[1:], size_wh)
        segments = []
        for index in np.argsort(-scores, kind="stable").tolist():
            inside = np.where(masks[index] > 0, 1, NO_CLASS).astype(np.uint16)
            for _, runs in runs_of_classes(inside.T):
                segments.append((int(classes[index]), float(scores[index]), runs))
    return Segments(
        np.array([class_id for class_id, _, _ in segments], np.int64),
        np.array([score for _, score, _ in segments], np.float32),
        np.array([runs.xyxy for _, _, runs in segments], np.float32).reshape(-1, 4),
        np.array([runs.area for _, _, runs in segments], np.int64),
        tuple(runs.counts for _, _, runs in segments),
        (height, width),
    )


def _of_picture(name: str, shape: tuple[int, ...], size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if tuple(shape) != (height, width):
        raise InvalidOptionError(
            f"has {name} of {' x '.join(map(str, shape))}, and the upright picture has {height} "
            f"rows of {width} pixels"
        )


def _poses(arrays: Mapping[str, Array], size_wh: tuple[int, int]) -> Poses:
    points, scores = _numbers(arrays, "keypoints"), _numbers(arrays, "scores").reshape(-1)
    if points.ndim != 3 or points.shape[2] not in (2, 3):
        raise InvalidOptionError(
            f"has keypoints of {' x '.join(map(str, points.shape))}; they are K x P x 2 (x, y), or "
            "K x P x 3 with their scores"
        )
    classes = np.asarray(arrays.get("classes", np.zeros(len(points)))).reshape(-1)
    _as_many(keypoints=len(points), scores=len(scores), classes=len(classes))
    of_points = (
        points[:, :, 2:] if points.shape[2] == 3 else np.full((*points.shape[:2], 1), np.nan)
    )
    xy = points[:, :, :2] / np.array(size_wh, np.float32)
    best = np.argsort(-scores, kind="stable")
    return Poses(
        classes[best].astype(np.int64),
        scores[best],
        np.full((len(points), 4), np.nan, np.float32),
        np.concatenate([xy, of_points], axis=2)[best],
    )


def _lines(arrays: Mapping[str, Array], size_wh: tuple[int, int]) -> TextLines:
    texts = tuple(str(text) for text in np.asarray(arrays["texts"]).reshape(-1).tolist())
    scores = _numbers(arrays, "scores").reshape(-1)
    corners = _numbers(arrays, "corners").reshape(-1, 4, 2) / np.array(size_wh, np.float32)
    _as_many(texts=len(texts), scores=len(scores), corners=len(corners))
    return TextLines(texts, scores, corners)


def _of_length_one(vector: Array) -> Array:
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    return vector if norm == 0 else (vector / norm).astype(np.float32)
