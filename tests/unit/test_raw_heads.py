"""Each layout of a detector's raw output gives the boxes that its publisher's code gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.executor.outputs.grids import grid_cells
from pyspark_vision.executor.outputs.raw_heads import LAYOUTS, split
from pyspark_vision.executor.outputs.scores import sigmoid

Array = np.ndarray[Any, Any]


def taken_apart(role: str, values: Any, input_hw: tuple[int, int] = (64, 96), **more: Any) -> Any:
    """What a layout makes of one picture's outputs, as lists."""
    outputs = {name: np.array(v, np.float32) for name, v in {role: values, **more}.items()}
    names = tuple((name, name) for name in outputs)
    file = ModelFile("onnx", "onnx", "m.onnx", "", "image", names)
    anchors = (1.0, 2.0, 3.0, 4.0) if role == "yolov2" else ()
    spec = spec_of("detect", files=(file,), input_hw=input_hw, anchors=anchors)
    return {name: np.round(v, 4).tolist() for name, v in split(outputs, spec).items()}


BOX, OTHER = [10.0, 20.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("role", "values", "expected"),
    [
        (
            "yolov5",
            [[*BOX, 0.5, 0.4, 0.8], [*OTHER, 1, 0, 1]],
            {"boxes": [BOX, OTHER], "class_scores": [[0.2, 0.4], [0, 1]]},
        ),
        (
            "yolov8",
            np.array([[*BOX, 0.4, 0.8], [*OTHER, 0, 1]]).T,
            {"boxes": [BOX, OTHER], "class_scores": [[0.4, 0.8], [0, 1]]},
        ),
        (
            "yolov8_rows",
            [[*BOX, 0.4, 0.8], [*OTHER, 0, 1]],
            {"boxes": [BOX, OTHER], "class_scores": [[0.4, 0.8], [0, 1]]},
        ),
        (
            "detr_rows",
            [[*BOX, 0.4, 0.8], [*OTHER, 0.5, 0.1]],
            {"boxes": [BOX, OTHER], "scores": [0.8, 0.5], "classes": [1, 0]},
        ),
        (
            "end_to_end",
            [[*BOX, 0.5, 7], [*OTHER, 0.25, 3]],
            {"boxes": [BOX, OTHER], "scores": [0.5, 0.25], "classes": [7, 3]},
        ),
        (
            "batch_rows",
            [[0, *BOX, 7, 0.5], [0, *OTHER, 3, 0.25]],
            {"boxes": [BOX, OTHER], "scores": [0.5, 0.25], "classes": [7, 3]},
        ),
        ("batch_rows", np.empty((0, 7)), {"boxes": [], "scores": [], "classes": []}),
    ],
)
def test_rows_of_boxes(role: str, values: Any, expected: Any) -> None:
    parts = taken_apart(role, values)

    assert set(parts) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, atol=1e-4)


def test_boxes_with_their_scores_keep_the_classes_beside_them() -> None:
    parts = taken_apart("scored_boxes", [[*BOX, 0.5]], classes=[7])

    assert (parts["boxes"], parts["scores"], parts["classes"]) == ([BOX], [0.5], [7])


def test_detr_with_no_object_is_a_softmax_without_its_last_class() -> None:
    parts = taken_apart("detr_logits", [[1, 3, 2], [0, 0, 9]], boxes=[BOX, OTHER])

    of_first = math.exp(3) / (math.exp(1) + math.exp(3) + math.exp(2))
    of_second = 1 / (2 + math.exp(9))
    assert parts["scores"] == pytest.approx([of_first, of_second], abs=1e-4)
    assert parts["classes"] == [1, 0]


def test_detr_with_focal_loss_is_a_sigmoid_of_each_class() -> None:
    parts = taken_apart("detr_sigmoid", [[0, 2, -200]], boxes=[BOX])

    assert parts["class_scores"] == [pytest.approx([0.5, 1 / (1 + math.exp(-2)), 0], abs=1e-4)]


def test_yolox_places_its_boxes_by_the_cells_of_three_grids() -> None:
    """For 64x96: 8*12 cells of 8 pixels, 4*6 of 16, 2*3 of 32; written out for three rows."""
    raw = np.zeros((96 + 24 + 6, 7), np.float32)
    raw[13] = [0.5, 0.25, math.log(2), 0, 0.5, 0.4, 0.8]  # cell x=1, y=1 of the first grid
    raw[96] = [0, 0, 0, 0, 1, 1, 0]
    raw[-1] = [0, 0, 0, math.log(3), 1, 0, 1]  # cell x=2, y=1 of the last grid

    parts = taken_apart("yolox", raw)

    assert parts["boxes"][13] == pytest.approx([12, 10, 16, 8])
    assert parts["boxes"][96] == [0, 0, 16, 16]
    assert parts["boxes"][-1] == pytest.approx([64, 32, 32, 96])
    assert parts["class_scores"][13] == pytest.approx([0.2, 0.4])


def test_yolox_p6_has_a_fourth_grid() -> None:
    raw = np.zeros((8 * 8 + 4 * 4 + 2 * 2 + 1, 6), np.float32)

    assert taken_apart("yolox", raw, (64, 64))["boxes"][-1] == [0, 0, 64, 64]


def test_yolox_rows_that_fit_no_grid_are_refused_with_both_counts() -> None:
    with pytest.raises(ValueError, match=r"5 rows do not fit the grids of a \(64, 64\) input"):
        taken_apart("yolox", np.zeros((5, 6)), (64, 64))


@pytest.mark.parametrize("channels_first", [True, False])
def test_yolov2_grid_by_its_anchors(channels_first: bool) -> None:
    """Two anchors (1x2, 3x4 cells), two classes, 2x3 cells: darknet's region_layer.c by hand."""
    raw = np.full((2, 7, 2, 3), -50, np.float32)  # objectness 0 elsewhere
    raw[1, :, 1, 2] = [0, math.log(3), math.log(2), 0, math.log(4), 1, 1 + math.log(3)]
    grid = raw.reshape(14, 2, 3)

    parts = taken_apart("yolov2", grid if channels_first else np.moveaxis(grid, 0, -1))

    scores = np.array(parts["class_scores"])
    best = int(scores.max(axis=1).argmax())
    assert scores[best] == pytest.approx([0.8 * 0.25, 0.8 * 0.75], abs=1e-4)
    assert parts["boxes"][best] == pytest.approx(
        [(2 + 0.5) / 3, (1 + 0.75) / 2, 3 * 2 / 3, 4 / 2], abs=1e-4
    )
    assert np.delete(scores, best, axis=0).max() < 1e-4


def test_outputs_without_a_raw_role_stay_as_they_are() -> None:
    outputs = {"boxes": np.zeros((3, 4)), "scores": np.zeros(3)}

    assert split(outputs, spec_of("detect")) is outputs


def test_extreme_values_do_not_overflow() -> None:
    assert sigmoid(np.array([-1e30, 0, 1e30], np.float32)).tolist() == [
        pytest.approx(0, abs=1e-30),
        0.5,
        1,
    ]
    raw = np.full((8 * 12 + 4 * 6 + 2 * 3, 6), 1e4, np.float32)
    assert math.isinf(taken_apart("yolox", raw)["boxes"][0][2])


def test_grid_of_a_side_that_is_no_multiple_ends_before_it() -> None:
    cells, strides = grid_cells((40, 64), (32,))

    assert (cells.tolist(), strides.tolist()) == ([[0, 0], [1, 0]], [[32], [32]])


def test_each_layout_has_a_case_here_or_in_test_small_heads_or_test_grid_heads() -> None:
    small = {"ssd_boxes", "cls_8", "nanodet", "fastestdet", "score_8", "dist_8", "center_map"}
    tested = small | {"yolov5", "yolov8", "yolov8_rows", "detr_rows", "end_to_end", "batch_rows"}
    assert tested | {"scored_boxes", "detr_logits", "detr_sigmoid", "yolox", "yolov2"} == set(
        LAYOUTS
    )
