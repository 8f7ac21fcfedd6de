"""Whether a model's answers to drawn pictures can be what a reading of its outputs says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyspark_vision.bundles.proposal.readings import FINEST_FEATURES
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.executor.outputs.poses import columns_of_points
from pyspark_vision.executor.outputs.raw_heads import LAYOUTS, TABLES, split, without_last_columns
from pyspark_vision.executor.outputs.segments import channels_first

Array = np.ndarray[Any, Any]

# Rounding of quantized outputs, and of float16.
_ROUNDING = 5e-3
# What the scores of a softmax may miss of one, with quantization and rounding.
_SOFTMAX_ROUNDING = 0.02
# Of a detector that answers a blank picture with more, the scores are something else.
_MOST_ON_BLANK = 50
# Of a raw detector, whose boxes are all boxes, however weak: padded outputs hold hundreds. Offsets
# from anchors are as often below 0 as above, a box's sides nearly never.
_MANY_BOXES = 500
_LEAST_WITH_SIDES = 0.75
# Boxes may reach a little over the picture; what lies this many sides off is no box.
_MOST_SIDES = 4.0
# Points of a thing that fills the picture reach further, if they are pixels.
_LEAST_PIXELS = 4.0
# Of a map of classes: those of the largest data sets are some thousands.
_MOST_CLASSES = 10_000
# Layouts whose scores are probabilities in every export that is known.
_PROBABILITIES = frozenset(LAYOUTS) - {"scored_boxes", "ssd_boxes"}


def parts_of(spec: ModelSpec, runs: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Each run's outputs as the head of the task sees them.

    Raises ``ValueError`` or ``IndexError`` where they do not have the reading's shape.
    """
    return [_part(spec, dict(run)) for run in runs]


def _part(spec: ModelSpec, run: dict[str, Array]) -> dict[str, Array]:
    if spec.task == "detect":
        return _real(split(run, spec))
    if spec.task == "segment" and "pixel_scores" in run:
        return {"pixel_scores": channels_first(run["pixel_scores"], spec)}
    if spec.task == "segment" and "pixel_classes" in run:
        return {"pixel_classes": channels_first(run["pixel_classes"], spec)[0]}
    if spec.task == "segment":
        if "prototypes" in run:
            prototypes = channels_first(run["prototypes"], spec)
            run, _ = without_last_columns(run, len(prototypes))
        return _real(split(run, spec))
    if spec.task == "keypoints" and set(TABLES) & set(run):
        run, points = without_last_columns(run, columns_of_points(spec))
        return {**_real(split(run, spec)), "points": points}
    return run


def why_not(spec: ModelSpec, runs: Sequence[Mapping[str, Array]]) -> str | None:
    """Why the answers cannot be those of this reading; ``None`` where they can.

    ``runs``: of :func:`trial_pictures`, of which the first is blank.
    """
    if steps := _why_steps(runs):
        return steps
    try:
        parts = parts_of(spec, runs)
    except (ValueError, IndexError, KeyError) as error:
        return f"its outputs have other shapes ({error})"
    if spec.task == "classify":
        return _why_no_classes(parts)
    if spec.task == "embed":
        return _why_no_vector(parts, spec)
    if "boxes" not in parts[0]:
        return _why_no_map(parts, spec) if spec.task == "segment" else _why_no_points(parts, spec)
    return next((why for part in parts if (why := _why_no_boxes(part, spec))), None) or (
        _why_not_on_blank(parts[0], spec)
    )


def _why_steps(runs: Sequence[Mapping[str, Array]]) -> str | None:
    """Rows that each add up to one are choices among classes: no boxes, and no tokens."""
    for role in {*TABLES, "yolox", "detr_rows", "embedding"} & set(runs[0]):
        rows = [run[role].astype(np.float64) for run in runs]
        if all(table.ndim == 2 and len(table) > 1 and table.shape[1] > 2 for table in rows) and all(
            _are_probabilities(table) and np.abs(table.sum(axis=1) - 1).max() < _SOFTMAX_ROUNDING
            for table in rows
        ):
            return (
                f"each of its {len(rows[0])} rows of {rows[0].shape[1]} numbers adds up to one: "
                "steps of a text line, it seems, which read_text reads in a folder with the "
                "detector of the lines (docs/text.md)"
            )
    return None


def long_axes(values: Array) -> int:
    """How many axes have more than one place."""
    return sum(size > 1 for size in values.shape)


def _real(part: dict[str, Array]) -> dict[str, Array]:
    """The boxes that count: padding is whatever memory held, and says nothing."""
    if "count" not in part:
        return part
    real = max(0, int(part["count"].reshape(-1)[0]))
    return {role: values[:real] for role, values in part.items() if role != "count"}


def _why_no_classes(parts: Sequence[Mapping[str, Array]]) -> str | None:
    shape = parts[0]["scores"].shape
    if long_axes(parts[0]["scores"]) > 1:
        return f"scores of classes have one long axis, and the output has {list(shape)}"
    if _are_ids(parts[0]["scores"]):
        dtype = parts[0]["scores"].dtype
        return (
            f"its numbers are {dtype}: ids of classes, not their scores; export it without argmax"
        )
    if not all(np.isfinite(part["scores"]).all() for part in parts):
        return "its scores are not finite"
    return None


def _are_ids(values: Array) -> bool:
    """Whether numbers are whole by their type; quantized ones are of one or two bytes."""
    return values.dtype.kind in "iu" and values.dtype.itemsize > 2


def _why_no_vector(parts: Sequence[Mapping[str, Array]], spec: ModelSpec) -> str | None:
    output = parts[0]["embedding"]
    if _are_ids(output):
        return f"its numbers are {output.dtype}, which are ids, not a vector"
    if not all(np.isfinite(part["embedding"]).all() for part in parts):
        return "its numbers are not finite"
    if spec.pooling == "none" and long_axes(output) > 1:
        return (
            f"a vector has one long axis, and the output has {list(output.shape)}; say how it is "
            "pooled: pooling='cls', 'mean' (tokens) or 'map' (places)"
        )
    return None


def _why_no_map(parts: Sequence[Mapping[str, Array]], spec: ModelSpec) -> str | None:
    for part in parts:
        sides = part.get("pixel_classes", part.get("pixel_scores", np.empty(0))).shape[-2:]
        if len(sides) < 2 or min(sides) * FINEST_FEATURES <= min(spec.input_hw):
            return f"its map has {list(sides)} places only for an input of {spec.input_hw}"
        if "pixel_classes" in part:
            classes = part["pixel_classes"].astype(np.float64)
            if not _are_whole(classes) or classes.min() < 0 or classes.max() > _MOST_CLASSES:
                return f"its classes are from {classes.min():.3g} to {classes.max():.3g}"
        elif not np.isfinite(part["pixel_scores"]).all():
            return "its scores are not finite"
    return None


def _why_no_points(parts: Sequence[Mapping[str, Array]], spec: ModelSpec) -> str | None:
    """Points lie in the input, or a little outside of it, and their scores are probabilities."""
    role = "multipose" if "multipose" in parts[0] else "keypoints"
    height, width = spec.input_hw
    side = max(height, width) if spec.coordinates == "pixel" else 1
    for part in parts:
        values = part[role].astype(np.float64)
        if not np.isfinite(values).all():
            return "its numbers are not finite"
        if role == "multipose":
            values = values.reshape(-1, values.shape[-1])[:, :-5]
        columns = spec.keypoint_format
        if values.size % len(columns):
            return f"its {values.size} numbers are not points of {len(columns)} each"
        points = values.reshape(-1, len(columns))
        places = points[:, [columns.index("x"), columns.index("y")]]
        farthest = float(np.abs(places).max())
        if farthest > _MOST_SIDES * side:
            return (
                f"its points reach to {np.abs(places).max():.3g}, far off a {width}x{height} input"
            )
        if spec.coordinates == "pixel" and np.abs(places).max() <= _LEAST_PIXELS:
            return f"its points reach to {np.abs(places).max():.3g} only, which are no pixels"
        if "s" in columns and not _are_probabilities(points[:, columns.index("s")]):
            return "the scores of its points are not within 0..1"
    return None


def _why_no_boxes(part: Mapping[str, Array], spec: ModelSpec) -> str | None:
    boxes = part["boxes"].reshape(-1, 4).astype(np.float64)
    scores = part["class_scores" if "class_scores" in part else "scores"].astype(np.float64)
    if "class_scores" in part:
        if scores.ndim != 2 or len(scores) != len(boxes):
            return f"it has {len(boxes)} boxes and scores of shape {list(scores.shape)}"
    elif scores.size != len(boxes):
        return f"it has {len(boxes)} boxes and {scores.size} scores"
    roles = {role for role, _ in spec.file.outputs}
    if roles & _PROBABILITIES and not _are_probabilities(scores):
        low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
        return f"its scores are not within 0..1 (from {low:.3g} to {high:.3g})"
    classes = part.get("classes")
    if classes is not None and classes.size and not _are_whole(classes):
        return "its class ids are not whole numbers"
    likely = boxes[_best(scores)]
    height, width = spec.input_hw
    limit = _MOST_SIDES * max(height, width, 1)
    if likely.size and np.isfinite(likely).all() and np.abs(likely).max() > limit:
        return f"its boxes reach to {np.abs(likely).max():.3g}, far off a {width}x{height} input"
    if "boxes" in roles and len(boxes) >= _MANY_BOXES and not _have_sides(boxes):
        return (
            "most of its boxes have no sides in any order of their numbers: they are offsets, it "
            "seems, which are read as outputs={'ssd_boxes': …, 'class_scores': …} with "
            "anchor_layers or anchors (docs/models.md)"
        )
    return None


def _have_sides(boxes: Array) -> bool:
    """Whether most boxes are ordered corners, or a place and two sides, as any detector's are."""
    a, b, c, d = boxes[np.isfinite(boxes).all(axis=1)].T
    corners, sides = (c >= a) & (d >= b), (c >= 0) & (d >= 0)
    return not a.size or max(corners.mean(), sides.mean()) >= _LEAST_WITH_SIDES


def _why_not_on_blank(part: Mapping[str, Array], spec: ModelSpec) -> str | None:
    scores = part["class_scores" if "class_scores" in part else "scores"]
    if scores.size == 0 or not _are_probabilities(scores):
        return None
    background = spec.background_class
    if background is None and "class_scores" in part:
        background = background_class([part])
    if background is not None and scores.ndim == 2:
        scores = np.delete(scores, background, axis=1)
    best = scores.max(axis=-1) if scores.ndim == 2 else scores.reshape(-1)
    above = int((best > 0.5).sum())
    if above > max(_MOST_ON_BLANK, best.size // 2):
        return f"it finds {above:,} objects above 0.5 in a blank picture"
    return None


def _are_probabilities(scores: Array) -> bool:
    finite = scores[np.isfinite(scores)]
    return bool((finite >= -_ROUNDING).all() and (finite <= 1 + _ROUNDING).all())


def _are_whole(classes: Array) -> bool:
    finite = classes[np.isfinite(classes) & (np.abs(classes) < 2**31)]
    return bool((np.abs(finite - np.rint(finite)) <= _ROUNDING).all())


def _best(scores: Array) -> Array:
    """Indices of the boxes with the better scores: what the others hold may be anything."""
    best = scores.max(axis=-1) if scores.ndim == 2 else scores.reshape(-1)
    return np.argsort(-np.nan_to_num(best, nan=-np.inf), kind="stable")[:10]


def score_kind(parts: Sequence[Mapping[str, Array]], task: str) -> str:
    """What the scores of all runs are: ``probability`` or ``logit``, or one unit's of these."""
    if "pixel_scores" in parts[0]:
        return _kind_of_map(parts)
    role = "class_scores" if "class_scores" in parts[0] else "scores"
    scores = np.concatenate([part[role].reshape(-1) for part in parts]).astype(np.float64)
    # Logits of several pictures all within [0,1] would be a coincidence. Their sum says less:
    # quantized probabilities are rounded, and sigmoids need not add up to one.
    kind = "probability" if _are_probabilities(scores) else "logit"
    if task == "classify" and parts[0][role].size == 1:
        return "binary" if kind == "probability" else "binary_logit"
    return kind


def _kind_of_map(parts: Sequence[Mapping[str, Array]]) -> str:
    """As :func:`score_kind`, of maps ``(C, h, w)``."""
    maps = [part["pixel_scores"].astype(np.float64) for part in parts]
    kind = "probability" if all(map(_are_probabilities, maps)) else "logit"
    if len(maps[0]) == 1:
        return "binary" if kind == "probability" else "binary_logit"
    return kind


def add_up_to_one(parts: Sequence[Mapping[str, Array]]) -> bool:
    """Whether the scores of each picture are those of a softmax."""
    sums = np.array([part["scores"].astype(np.float64).sum() for part in parts])
    # 1,001 quantized scores of 1/256 each can be off by as much.
    return bool(parts[0]["scores"].size > 1 and (np.abs(sums - 1) < 0.05).all())


def are_shares(parts: Sequence[Mapping[str, Array]], task: str) -> bool:
    """Whether scores that exclude one another add up to one, where a task has such."""
    if "pixel_scores" in parts[0]:
        return places_add_up_to_one(parts)
    return task != "classify" or parts[0]["scores"].size == 1 or add_up_to_one(parts)


def background_class(parts: Sequence[Mapping[str, Array]]) -> int | None:
    """The class that most boxes are of, where a detector's scores are a softmax: it is none."""
    if "class_scores" not in parts[0]:
        return None
    scores = np.concatenate([part["class_scores"] for part in parts]).astype(np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2 or not len(scores):
        return None
    if np.abs(scores.sum(axis=1) - 1).max() > _SOFTMAX_ROUNDING:
        return None
    return int(scores.mean(axis=0).argmax())


def places_add_up_to_one(parts: Sequence[Mapping[str, Array]]) -> bool:
    """Whether the scores of each place of maps ``(C, h, w)`` are those of a softmax."""
    sums = [part["pixel_scores"].astype(np.float64).sum(axis=0) for part in parts]
    return all(bool((np.abs(total - 1) < 0.05).all()) for total in sums)


def coordinates(parts: Sequence[Mapping[str, Array]]) -> str | None:
    """``normalized`` or ``pixel`` by how far the boxes reach; ``None`` where there is none."""
    largest = 0.0
    for part in parts:
        boxes = part["boxes"].reshape(-1, 4)
        finite = boxes[np.isfinite(boxes).all(axis=1)]
        largest = max(largest, float(np.abs(finite).max(initial=0.0)))
    if largest == 0:
        return None
    # Normalized boxes reach a little over 1 at the border, pixel boxes far over it.
    return "pixel" if largest > _MOST_SIDES else "normalized"
