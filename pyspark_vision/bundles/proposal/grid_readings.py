"""How the outputs of detectors without anchors can be read: SCRFD, PicoDet, CenterFace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pyspark_vision.bundles.proposal.reading import CONVENTIONS, Reading, shown
from pyspark_vision.bundles.proposal.ssd_families import FACE_POINTS_OF_FIVE
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.spec_choices import GRID_STRIDES
from pyspark_vision.executor.outputs.grid_heads import CENTERFACE_STRIDE
from pyspark_vision.executor.outputs.small_heads import NANODET_BINS

# How many grids detectors have, from the one of 8 pixels on.
_GRIDS = (3, 4, 5)
_POINTS = 2 * len(FACE_POINTS_OF_FIVE)
_SETTLED = ("box_format", "coordinates", "normalization")
_FACE = ((0, "face"),)
# CenterFace was exported for 32x32 pixels by its authors, whose OpenCV takes any size.
_LEAST_SIDE_PX = 64


def grid_readings(contents: ModelFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """The readings of a model's outputs as those of a detector's grids.

    Arguments as of :func:`readings.readings`.
    """
    if contents.layer or contents.roles or contents.task:
        return
    yield from _scrfd(contents.outputs)
    yield from _distributions(contents.outputs, input_hw)
    yield from _centers(contents, input_hw)


def _scrfd(outputs: Sequence[TensorFound]) -> Iterator[Reading]:
    """Scores, distances and points, each by stride: ``(N, 1)``, ``(N, 4)``, ``(N, 10)``."""
    columns = [tensor.shape[-1] if tensor.shape else 0 for tensor in outputs]
    kinds = ("score", "bbox", "kps") if _POINTS in columns else ("score", "bbox")
    grids = len(outputs) // len(kinds)
    ranks = {len(tensor.shape) for tensor in outputs}
    if grids not in _GRIDS or len(outputs) != grids * len(kinds) or ranks not in ({2}, {3}):
        return
    roles = []
    for kind, count in zip(kinds, (1, 4, _POINTS), strict=False):
        own = [tensor for tensor in outputs if tensor.shape[-1] == count]
        by_rows = _by_rows(own)
        if len(own) != grids or by_rows is None:
            return
        roles += [(f"{kind}_{s}", t.name) for s, t in zip(GRID_STRIDES, by_rows, strict=False)]
    has_points = "kps" in kinds
    fields = {**CONVENTIONS["score_8"], "batched_outputs": ranks == {3}}
    yield Reading(
        "detect",
        tuple(roles),
        f"{', '.join(map(shown, outputs))}: scores, distances{' and points' * has_points} of "
        f"{grids} grids, as SCRFD",
        {**fields, "keypoint_names": FACE_POINTS_OF_FIVE if has_points else ()},
        is_certain=True,
        settled=_SETTLED,
        labels=_FACE,
        # The five points are a face's; without them, it may be of anything.
        doubt="" if has_points else "other detectors without anchors have such outputs, too",
    )


def _by_rows(tensors: Sequence[TensorFound]) -> list[TensorFound] | None:
    """From the finest grid on; in the model's own order where it leaves their sizes open."""
    rows = [tensor.shape[-2] for tensor in tensors]
    if -1 in rows:
        return list(tensors)
    if len({*rows}) != len(rows):
        return None
    return sorted(tensors, key=lambda tensor: -tensor.shape[-2])


def _distributions(outputs: Sequence[TensorFound], input_hw: tuple[int, int]) -> Iterator[Reading]:
    """Classes and distributions of distances, of three or four grids: ``(N, C)``, ``(N, 32)``."""
    grids, bins = len(outputs) // 2, 4 * NANODET_BINS
    if grids not in _GRIDS or len(outputs) % 2 or any(len(t.shape) != 3 for t in outputs):
        return
    cells = [math.prod(-(-side // stride) for side in input_hw) for stride in GRID_STRIDES[:grids]]
    distances = [tensor for tensor in outputs if tensor.shape[2] == bins]
    if len(distances) == 2 * grids:  # as many classes: classes come first
        distances = list(outputs[grids:])
    scores = [tensor for tensor in outputs if tensor not in distances]
    roles, classes = [], {tensor.shape[2] for tensor in scores}
    for kind, tensors in (("score", scores), ("dist", distances)):
        by_rows = {tensor.shape[1]: tensor for tensor in tensors}
        if len(tensors) != grids or {*by_rows} != {*cells} or len(classes) != 1:
            return
        roles += [
            (f"{kind}_{stride}", by_rows[count].name)
            for stride, count in zip(GRID_STRIDES, cells, strict=False)
        ]
    yield Reading(
        "detect",
        tuple(roles),
        f"{', '.join(map(shown, outputs))}: {classes.pop()} classes and distributions of "
        f"distances of {grids} grids, as PicoDet",
        CONVENTIONS["dist_8"],
        is_certain=True,
        # PaddleDetection's configurations differ in how pixels are scaled.
        settled=("box_format", "coordinates"),
    )


def _centers(contents: ModelFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """Maps of a score, two sides, two offsets and five points for each cell of four pixels."""
    sides = tuple(side // CENTERFACE_STRIDE for side in input_hw)
    shapes = [tensor.shape for tensor in contents.outputs]
    if [shape[1] for shape in shapes if len(shape) == 4] != [1, 2, 2, _POINTS]:
        return
    if len(shapes) != 4 or any(shape[2:] not in (sides, (-1, -1)) for shape in shapes):
        return
    roles = ("center_map", "center_sides", "center_offsets", "center_points")
    height, width = input_hw

    yield Reading(
        "detect",
        tuple((role, tensor.name) for role, tensor in zip(roles, contents.outputs, strict=True)),
        f"{', '.join(map(shown, contents.outputs))}: centres, sides, offsets and points of faces, "
        "as CenterFace",
        {**CONVENTIONS["center_map"], "keypoint_names": FACE_POINTS_OF_FIVE},
        is_certain=True,
        settled=_SETTLED,
        labels=_FACE,
        check=lambda _: (
            f"an input of {width}x{height} is what it was exported with, and too small for faces: "
            "say the size to use, as input_hw=480x640 (multiples of 32)"
            if min(input_hw) < _LEAST_SIDE_PX
            else None
        ),
    )
