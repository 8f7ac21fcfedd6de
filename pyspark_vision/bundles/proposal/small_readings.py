"""How the outputs of small detectors can be read: SSD with anchors, YuNet, NanoDet, FastestDet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pyspark_vision.bundles.proposal.reading import CONVENTIONS, Check, Reading, plain, shown
from pyspark_vision.bundles.proposal.ssd_families import SsdFamily, are_at_anchors, find_families
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.executor.outputs.small_heads import (
    FASTESTDET_STRIDE,
    NANODET_BINS,
    NANODET_GRIDS,
)

Array = np.ndarray[Any, Any]

# What float16 and quantization may leave of one.
_SOFTMAX_ROUNDING = 0.05
# OpenCV's FaceDetectorYN.
_YUNET_POINTS = ("right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner")

# What these layouts say themselves.
_SETTLED = ("box_format", "coordinates", "normalization")


def small_readings(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """The readings of a model's outputs as a small detector's, the more likely first.

    Arguments as of :func:`readings.readings`.
    """
    if contents.layer or contents.roles:
        return
    yield from _ssd(contents, input_hw)
    yield from _yunet({plain(tensor.name): tensor for tensor in contents.outputs})
    yield from _fastestdet(contents, input_hw)
    yield from _nanodet(contents, input_hw, classes)


def _ssd(contents: ModelFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """A published head, as many rows as it has anchors: with offsets, or with boxes."""
    for head in find_families(contents.outputs, input_hw):
        family, anchors = head.family, head.anchors
        every = ", ".join(map(shown, contents.outputs))
        why = f"{every}: the {len(anchors):,} anchors of {family.name}"
        scores = ("class_scores", head.scores.name)
        fields = {**CONVENTIONS["ssd_boxes"], **family.fields}

        points = [("ssd_keypoints", head.keypoints.name)] if head.keypoints else []
        yield Reading(
            "detect",
            (("ssd_boxes", head.boxes.name), scores, *points),
            why,
            {
                **fields,
                "anchor_layers": family.layers,
                "keypoint_names": family.keypoints,
            },
            is_certain=True,
            settled=_SETTLED,
            labels=family.labels,
            check=_check_of_offsets(family, anchors),
        )
        if family.decoded:
            own = {name: value for name, value in fields.items() if not name.startswith("anchor")}
            yield Reading(
                "detect",
                (("boxes", head.boxes.name), scores),
                f"{why}, with its boxes worked out",
                {**own, "box_format": "xyxy"},
                is_certain=True,
                settled=_SETTLED,
                labels=family.labels,
                check=_check_of_boxes(family, anchors),
            )


def _check_of_offsets(family: SsdFamily, anchors: Array) -> Check:
    def check(runs: Sequence[Mapping[str, Array]]) -> str | None:
        if family.decoded and are_at_anchors(_flat(runs[-1]["ssd_boxes"]), anchors):
            return "its boxes are worked out already"
        return _why_no_softmax(runs, family)

    return check


def _check_of_boxes(family: SsdFamily, anchors: Array) -> Check:
    def check(runs: Sequence[Mapping[str, Array]]) -> str | None:
        if not are_at_anchors(_flat(runs[-1]["boxes"]), anchors):
            return "its boxes do not lie at its anchors"
        return _why_no_softmax(runs, family)

    return check


def _flat(boxes: Array) -> Array:
    """The boxes ``(N, 4)`` of an output that may have points behind them."""
    flat: Array = boxes.reshape(-1, boxes.shape[-1])[:, :4]
    return flat


def _why_no_softmax(runs: Sequence[Mapping[str, Array]], family: SsdFamily) -> str | None:
    """A head with a background class gives a softmax; of its logits the head knows nothing."""
    if "background_class" not in family.fields:
        return None
    sums = runs[-1]["class_scores"].astype(np.float64).sum(axis=-1)
    fits = np.abs(sums - 1).max() < _SOFTMAX_ROUNDING
    return None if fits else f"the scores of a box do not add up to one, as {family.name}'s do"


def _yunet(named: Mapping[str, TensorFound]) -> Iterator[Reading]:
    """Four outputs for each stride, whose names say which."""
    strides = [s for s in (8, 16, 32, 64) if {f"cls_{s}", f"obj_{s}", f"bbox_{s}"} <= set(named)]
    if strides[:2] != [8, 16]:
        return
    kinds = ("cls", "obj", "bbox", *(["kps"] if f"kps_{strides[0]}" in named else []))
    roles = tuple(
        (f"{kind}_{stride}", named[f"{kind}_{stride}"].name) for kind in kinds for stride in strides
    )
    fields = {**CONVENTIONS["cls_8"], "keypoint_names": _YUNET_POINTS if "kps" in kinds else ()}
    yield Reading(
        "detect",
        roles,
        f"{kinds[0]}_8, …, {kinds[-1]}_{strides[-1]}: YuNet's outputs by stride",
        fields,
        is_certain=True,
        settled=_SETTLED,
        labels=((0, "face"),),
    )


def _fastestdet(contents: ModelFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """A grid of cells of 16 pixels: objectness and box, then classes that add up to one."""
    grid = tuple(side // FASTESTDET_STRIDE for side in input_hw)
    if len(contents.outputs) != 1 or len(contents.outputs[0].shape) != 4:
        return
    tensor = contents.outputs[0]
    _, *sides = tensor.shape
    channels = sides[0] if tuple(sides[1:]) == grid else sides[2] if tuple(sides[:2]) == grid else 0
    if channels < 6:
        return
    axis = 0 if tuple(sides[1:]) == grid else 2

    def add_up(runs: Sequence[Mapping[str, Array]]) -> str | None:
        values = np.moveaxis(runs[-1]["fastestdet"].astype(np.float64), axis, -1)
        objectness, sums = values[..., 0], values[..., 5:].sum(axis=-1)
        fits = (objectness >= 0).all() and (objectness <= 1).all() and np.abs(sums - 1).max() < 0.05
        return None if fits else "the classes of its cells do not add up to one"

    yield Reading(
        "detect",
        (("fastestdet", tensor.name),),
        f"{shown(tensor)}: a grid of objectness, box and {channels - 5} classes, as FastestDet",
        CONVENTIONS["fastestdet"],
        is_certain=True,
        settled=_SETTLED,
        check=add_up,
    )


def _nanodet(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """Rows of classes, and of eight logits for each side: other layouts have no negative ones."""
    if len(contents.outputs) != 1 or len(contents.outputs[0].shape) != 3 or contents.task:
        return
    _, rows, columns = contents.outputs[0].shape
    counts = [
        sum(math.prod(-(-side // stride) for side in input_hw) for stride in strides)
        for strides, _ in NANODET_GRIDS
    ]
    own = columns - 4 * NANODET_BINS
    if rows not in counts or own < 1 or classes not in (None, own):
        return
    tensor = contents.outputs[0]

    def are_logits(runs: Sequence[Mapping[str, Array]]) -> str | None:
        logits = np.concatenate([run["nanodet"][..., own:].ravel() for run in runs])
        return None if logits.min() < -0.5 else "its distances have no logits"

    yield Reading(
        "detect",
        (("nanodet", tensor.name),),
        f"{shown(tensor)}: {own} classes and four distributions of distances, as NanoDet",
        CONVENTIONS["nanodet"],
        is_certain=True,
        settled=_SETTLED,
        check=are_logits,
    )
