"""Exports whose outputs look like those of another task, or of another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import save_constant, save_scaled
from proposals import answer

from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, EmbedOptions

Array = np.ndarray[Any, Any]
XYXY, UNIT_CXCYWH = (19.2, 9.6, 44.8, 22.4), (0.5, 0.25, 0.4, 0.2)
EXPECTED = [0.3, 0.15, 0.7, 0.35]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def test_scores_without_an_axis_of_pictures_are_of_the_one_picture(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": np.array([0.2, 0.7, 0.1])})

    spec = inspect_model(path, normalization="unit")

    assert (spec.task, spec.batched_outputs, spec.fixed_batch) == ("classify", False, 1)
    value = answer(spec, ClassifyOptions(3, 0.0))
    assert value.class_ids.tolist() == [1, 0, 2]


def test_a_vector_without_an_axis_of_pictures_is_whole(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"features": np.arange(4) - 1.5})

    spec = inspect_model(path, "embed", normalization="unit")

    assert answer(spec, EmbedOptions(False)).tolist() == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_steps_of_a_text_reader_are_no_pictures(task: str, tmp_path: Path) -> None:
    """A CRNN gives ``(steps, pictures, characters)``: its first step is no answer."""
    path = save_constant(tmp_path / "m.onnx", {"output": np.full((40, 1, 97), 1 / 97)})

    with pytest.raises(InvalidModelError, match="first axis does not count pictures"):
        inspect_model(path, task, accept=True)


def rows(first: tuple[float, ...], count: int = 20) -> Array:
    values = np.zeros((1, count, len(first)), np.float32)
    values[0, 0] = first
    return values


@pytest.mark.parametrize("names", [("det_boxes", "det_scores"), ("x_pred_boxes", "x_pred_scores")])
@pytest.mark.parametrize("is_of_each_class", [False, True])
def test_boxes_beside_scores_are_a_detector_whatever_stands_before_their_names(
    names: tuple[str, str], is_of_each_class: bool, tmp_path: Path
) -> None:
    """TensorRT's EfficientNMS and YOLO-NAS: no scores of the picture's classes."""
    scores: dict[str, Any] = {names[1]: rows((0.0, 0.9))}
    if not is_of_each_class:
        scores = {
            "num_dets": np.array([[1]]),
            names[1]: rows((0.9,))[..., 0],
            "det_classes": np.ones((1, 20), np.int64),
        }
    outputs = {names[0]: rows(XYXY), **scores}
    path = save_constant(tmp_path / "m.onnx", outputs)

    spec = inspect_model(path, normalization="unit", box_format="xyxy")

    assert (spec.task, spec.coordinates) == ("detect", "pixel")
    value = answer(spec, DetectOptions(0.3, 10, 0.5))
    assert value.class_ids.tolist() == [1]
    assert value.xyxy[0].tolist() == pytest.approx(EXPECTED, abs=1e-5)


@pytest.mark.parametrize("names", [("dets", "labels"), ("pred_boxes", "pred_logits")])
def test_rf_detr_and_detr_by_the_names_of_their_own_exports(
    names: tuple[str, str], tmp_path: Path
) -> None:
    logits = np.full((1, 20, 3), -5, np.float32)
    logits[0, 0, 1] = 2
    outputs = {names[0]: rows(UNIT_CXCYWH), names[1]: logits, "masks": np.zeros((1, 20, 16, 16))}
    path = save_constant(tmp_path / "m.onnx", outputs)

    spec = inspect_model(path, labels=["cat", "dog", "bird"], normalization="torch")

    value = answer(spec, DetectOptions(0.3, 10, None))
    assert value.class_ids.tolist() == [1]
    assert value.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2))])
    assert value.xyxy[0].tolist() == pytest.approx(EXPECTED, abs=1e-5)


@pytest.mark.parametrize(
    "outputs",
    [
        {"a": (1, 71, 8, 8), "b": (1, 71, 4, 4), "c": (1, 71, 2, 2)},
        {"loc": (1, 84, 4), "conf": (1, 84, 5), "mask": (1, 84, 32), "proto": (1, 16, 16, 32)},
        {"output": (1, 84, 5), "960": (1, 84, 4)},
    ],
    ids=["grids of a detector", "prototypes", "boxes by their columns"],
)
def test_outputs_of_a_detector_are_no_map_and_no_vector(
    outputs: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    values = {name: np.zeros(shape) for name, shape in outputs.items()}
    path = save_constant(tmp_path / "m.onnx", values)

    with pytest.raises(InvalidModelError, match="has outputs that no known reading has"):
        inspect_model(path, accept=True)


@pytest.mark.parametrize("output", [np.array([3]), np.array([[3, 1, 2]])])
def test_ids_of_classes_are_no_scores(output: Array, tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": output.astype(np.int64)})

    with pytest.raises(InvalidModelError, match="int64: ids of classes, not their scores"):
        inspect_model(path, accept=True)


@pytest.mark.parametrize("side", [64, 32])
def test_depths_of_places_are_no_tokens_and_no_boxes(side: int, tmp_path: Path) -> None:
    """Within 0..1, as many networks' are, they would pass for scores."""
    depths = np.full((1, side, side), 0.4)
    path = save_constant(tmp_path / "m.onnx", {"predicted_depth": depths})

    with pytest.raises(InvalidModelError, match="has outputs that no known reading has"):
        inspect_model(path, accept=True)


@pytest.mark.parametrize(
    ("steps", "normalization", "order"),
    [
        ([("Div", 255.0), ("Sub", MEAN), ("Div", STD)], "none", "rgb"),
        ([("Sub", MEAN), ("Div", STD)], "unit", "rgb"),
        ([("Sub", 255 * MEAN[::-1]), ("Mul", 1 / 57.0)], "none", "bgr"),
        ([("Mul", 1 / 127.5), ("Sub", 1.0)], "none", None),
    ],
)
def test_a_graph_that_scales_its_pixels_is_given_them_unscaled(
    steps: Any, normalization: str, order: str | None, tmp_path: Path
) -> None:
    proposal = propose_model(save_scaled(tmp_path / "m.onnx", steps), "classify")

    assert proposal.spec.normalization == normalization
    assert "normalization" not in proposal.open_fields
    assert ("color_order" in proposal.open_fields) == (order is None)
    assert order is None or proposal.spec.color_order == order
    assert "it begins with its own" in proposal.why


def test_a_graph_without_steps_leaves_its_normalization_open(tmp_path: Path) -> None:
    proposal = propose_model(save_scaled(tmp_path / "m.onnx", []), "classify")

    assert (proposal.spec.normalization, "normalization" in proposal.open_fields) == ("torch", True)


def test_rows_of_box_score_and_class_may_be_of_other_detectors_than_yolo(tmp_path: Path) -> None:
    """EfficientDet's are the same, of pictures that are normalized."""
    path = save_constant(tmp_path / "m.onnx", {"detections": rows((*XYXY, 0.9, 1))})

    assert propose_model(path).open_fields == ["normalization"]
    spec = inspect_model(path, normalization="torch", resize="stretch")

    value = answer(spec, DetectOptions(0.3, 10, None))
    assert value.xyxy[0].tolist() == pytest.approx(EXPECTED, abs=1e-5)


def test_places_and_sides_are_not_read_as_corners(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"detections": rows((40, 40, 20, 10, 0.9, 2))})

    with pytest.raises(InvalidModelError, match="most of its boxes end before they begin"):
        inspect_model(path, "detect", accept=True)


@pytest.mark.parametrize(
    "outputs",
    [
        {"output": np.zeros((0, 7))},
        {"det_boxes": np.zeros((1, 20, 4)), "det_scores": np.zeros((1, 20))},
    ],
    ids=["no row", "padding"],
)
def test_the_unit_of_boxes_that_no_drawn_picture_has_is_asked(
    outputs: dict[str, Array], tmp_path: Path
) -> None:
    proposal = propose_model(save_constant(tmp_path / "m.onnx", outputs), "detect")

    assert "coordinates" in proposal.open_fields


ULTRALYTICS = {"task": "detect", "stride": "32", "names": "{0: 'cat', 1: 'dog', 2: 'bird'}"}


def test_sides_that_an_output_leaves_open_are_measured(tmp_path: Path) -> None:
    """Ultralytics' `dynamic=True`, as onnxslim leaves it: `(-1, -1, -1)`."""
    table = np.zeros((1, 7, 84), np.float32)
    table[0, :, 0] = (32.0, 16.0, 25.6, 12.8, 0, 0.9, 0)
    path = save_constant(tmp_path / "m.onnx", {"output0": table}, metadata=ULTRALYTICS)
    model = onnx.load(path)
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim, "nab", strict=True):
        dim.dim_param = name
    onnx.save(model, path)

    spec = inspect_model(path)

    assert spec.file.outputs == (("yolov8", "output0"),)
    value = answer(spec, DetectOptions(0.3, 10, 0.5))
    assert value.xyxy[0].tolist() == pytest.approx(EXPECTED, abs=1e-5)


def test_suppressed_boxes_of_ultralytics_are_pixels_though_none_is_seen(tmp_path: Path) -> None:
    outputs = {"output0": np.zeros((1, 300, 6))}
    path = save_constant(tmp_path / "m.onnx", outputs, metadata=ULTRALYTICS)

    proposal = propose_model(path)

    assert (proposal.open_fields, proposal.spec.coordinates) == ([], "pixel")


def test_how_a_picture_comes_to_the_inputs_size_is_said_to_be_a_guess(tmp_path: Path) -> None:
    proposal = propose_model(save_scaled(tmp_path / "m.onnx", []), "classify")

    assert "resize_edge=256" in proposal.guesses["resize"].why
    assert "resize" not in proposal.open_fields
