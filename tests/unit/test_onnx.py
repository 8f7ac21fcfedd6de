"""ONNX models from the file to the row: what is proposed, each detector's output, bad files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import save_classifier, save_constant, save_custom_operator
from PIL import Image
from pyspark.sql import SparkSession

import pyspark_vision.functions as V
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.proposal.readings import readings
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import (
    ClassifyOptions,
    DetectOptions,
    HeadOptions,
    Predictions,
)
from pyspark_vision.executor.predictor import Predictor

ULTRALYTICS = {"task": "detect", "stride": "32", "names": "{0: 'person', 1: 'it\\'s a dog'}"}
# Pixels of a 64x64 input. A picture of 64x32 lies in its rows 16..48: (8, 24)..(24, 40) is
# (1/8, 1/4)..(3/8, 3/4) of that picture.
CXCYWH = (16, 32, 16, 16)
ROW = (0.9, [0.125, 0.25, 0.375, 0.75])


def picture(width: int = 64, height: int = 32, color: tuple[int, int, int] = (9, 99, 199)) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def first_value(spec: ModelSpec, head: HeadOptions, encoded: bytes) -> Any:
    engine = load_engine(spec, spec.path, threads=1)
    (row,) = Predictor(spec, engine, DecodeOptions(), head).predict([encoded])
    assert row.error is None
    return row.value


def detected(spec: ModelSpec, iou: float | None = 0.5) -> list[tuple[int, float, list[float]]]:
    found = first_value(spec, DetectOptions(0.3, 10, iou), picture())
    scores, boxes = found.scores.round(4).tolist(), found.xyxy.round(4).tolist()
    scores = [round(score, 4) for score in scores]
    return list(zip(found.class_ids.tolist(), scores, boxes, strict=True))


def yolov8(rows: list[list[float]], boxes: int = 12) -> dict[str, Any]:
    """``(1, 4 + C, boxes)`` of these rows of a box and its class scores, the rest empty."""
    table = np.zeros((boxes, len(rows[0])), np.float32)
    table[: len(rows)] = rows
    return {"output0": table.T[None]}


def test_yolov8_proposal_follows_the_metadata_and_the_shape(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0.9]]), metadata=ULTRALYTICS)
    spec = ModelSpec.inspect(path, accept=True)
    assert spec.file.outputs == (("yolov8", "output0"),)
    assert (spec.task, spec.input_hw, spec.input_layout, spec.fixed_batch) == (
        *("detect", (64, 64), "NCHW", 1),
    )
    assert (spec.normalization, spec.resize, spec.pad_value) == ("unit", "letterbox", 114)
    assert (spec.box_format, spec.coordinates, spec.score_kind) == (
        *("cxcywh", "pixel", "probability"),
    )
    assert spec.labels == ((0, "person"), (1, "it's a dog"))


def test_yolov8_box_comes_back_through_the_letterbox(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0.9]]))
    assert detected(ModelSpec.inspect(path, accept=True)) == [(1, *ROW)]


def test_yolov8_boxes_that_overlap_are_one_in_each_class(tmp_path: Path) -> None:
    rows = [[*CXCYWH, 0, 0.9], [17, 32, 16, 16, 0, 0.8], [17, 32, 16, 16, 0.7, 0]]
    path = save_constant(tmp_path / "m.onnx", yolov8(rows))
    found = detected(ModelSpec.inspect(path, accept=True))
    assert [(class_id, score) for class_id, score, _ in found] == [(1, 0.9), (0, 0.7)]


def test_yolov8_without_a_score_finds_nothing(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0]]))
    assert detected(ModelSpec.inspect(path, accept=True)) == []


def test_yolov5_scores_are_objectness_times_class(tmp_path: Path) -> None:
    table = np.zeros((1, 12, 7), np.float32)
    table[0, :2] = [[*CXCYWH, 0.9, 0, 1], [48, 32, 16, 16, 0.2, 1, 0]]
    path = save_constant(tmp_path / "m.onnx", {"output": table})
    spec = ModelSpec.inspect(path, outputs={"yolov5": "output"})
    assert detected(spec) == [(1, *ROW)]


def test_end_to_end_boxes_are_corners(tmp_path: Path) -> None:
    rows = [[8, 24, 24, 40, 0.9, 1], [8, 24, 24, 40, 0.1, 0]]
    spec = ModelSpec.inspect(save_constant(tmp_path / "m.onnx", {"output0": [rows]}), accept=True)
    assert spec.file.outputs == (("end_to_end", "output0"),)
    assert detected(spec, iou=None) == [(1, *ROW)]


def test_detr_leaves_out_no_object_and_takes_the_best_class(tmp_path: Path) -> None:
    # Softmax of these logits is 0.05, 0.9, 0.05 and 0.05, 0.05, 0.9 (no object).
    logits = np.log([[[0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]])
    boxes = [[[0.25, 0.5, 0.25, 0.5], [0.5, 0.5, 1, 1]]]
    path = save_constant(tmp_path / "m.onnx", {"logits": logits, "pred_boxes": boxes})
    spec = ModelSpec.inspect(path, accept=True)
    assert (spec.resize, spec.normalization, spec.coordinates) == ("stretch", "torch", "normalized")
    assert detected(spec, iou=None) == [(1, *ROW)]


def test_classifier_sees_pixels_as_torchvision_normalizes_them(tmp_path: Path) -> None:
    spec = ModelSpec.inspect(
        save_classifier(tmp_path / "m.onnx"), labels=["r", "g", "b"], accept=True
    )
    assert (spec.task, spec.input_layout, spec.fixed_batch) == ("classify", "NCHW", None)
    assert (spec.normalization, spec.resize, spec.score_kind) == ("torch", "center_crop", "logit")
    color = (130, 120, 110)
    found = first_value(spec, ClassifyOptions(3, 0.0), picture(color=color))
    assert isinstance(found, Predictions)
    normalized = (np.array(color) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    expected = np.exp(10 * normalized) / np.exp(10 * normalized).sum()
    by_class = found.scores[np.argsort(found.class_ids)]
    np.testing.assert_allclose(by_class, expected, atol=1e-4)


def test_ultralytics_classifier_sees_pixels_over_255(tmp_path: Path) -> None:
    metadata = {**ULTRALYTICS, "task": "classify", "names": "['r', 'g', 'b']"}
    spec = ModelSpec.inspect(save_classifier(tmp_path / "m.onnx", metadata=metadata), accept=True)
    assert (spec.task, spec.normalization, spec.resize) == ("classify", "unit", "center_crop")
    assert spec.labels == ((0, "r"), (1, "g"), (2, "b"))


def test_names_of_another_exporter_are_no_labels(tmp_path: Path) -> None:
    path = save_classifier(tmp_path / "m.onnx", metadata={"names": "red, green, blue"})
    assert ModelSpec.inspect(path, accept=True).labels == ()


@pytest.mark.parametrize(
    ("shape", "role"),
    [
        ((1, 84, 8400), "yolov8"),
        ((-1, 84, -1), "yolov8"),
        ((1, 25200, 85), "yolov5"),
        ((-1, -1, 85), "yolov5"),
        ((1, 25200, 6), "yolov5"),
        ((1, 300, 6), "end_to_end"),
        ((-1, -1, 6), "end_to_end"),
        ((-1, -1, -1), None),
        ((1, 1000), None),
        ((1, 8400, 84), "yolov8_rows"),
        ((1, 300, 84), "detr_rows"),
        ((-1, 7), "batch_rows"),
        ((1, 125, 20, 20), "yolov2"),
        ((1, 20, 20, 425), "yolov2"),
        ((1, 21, 513, 513), None),
        ((1, 512, 7, 7), None),
    ],
)
def test_shape_of_the_output_tells_the_detector(shape: tuple[int, ...], role: str | None) -> None:
    pixels = TensorFound("images", (1, 3, 640, 640), "float32")
    found = ModelFound("onnx", "onnx", (pixels,), (TensorFound("output0", shape, "float32"),))

    detectors = [r for r in readings(found, (640, 640), None) if r.task == "detect"]

    assert [reading.roles[0][0] for reading in detectors[:1]] == ([role] if role else [])


def test_named_task_goes_before_the_shape_of_the_output(tmp_path: Path) -> None:
    # The last hidden state of a transformer looks like YOLOv8's output.
    path = save_constant(tmp_path / "m.onnx", {"last_hidden_state": np.ones((1, 7, 16))})
    spec = ModelSpec.inspect(path, task="embed", accept=True)
    assert spec.file.outputs == (("embedding", "last_hidden_state"),)


def test_size_in_the_metadata_fills_open_dimensions(tmp_path: Path) -> None:
    path = save_constant(
        tmp_path / "m.onnx",
        yolov8([[*CXCYWH, 0, 0.9]]),
        ("batch", 3, "height", "width"),
        {**ULTRALYTICS, "imgsz": "[32, 96]"},
    )
    spec = ModelSpec.inspect(path, accept=True)
    assert (spec.input_hw, spec.fixed_batch) == ((32, 96), None)


def test_float16_input_runs(tmp_path: Path) -> None:
    path = save_constant(
        tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0.9]]), dtype=TensorProto.FLOAT16
    )
    spec = ModelSpec.inspect(path, accept=True)
    assert spec.input_dtype == "float16"
    assert detected(spec) == [(1, *ROW)]


@pytest.mark.parametrize("names", ["__import__('os').getcwd()", "7", "{0: ", "{'a': 'person'}"])
def test_names_that_are_no_labels_are_refused(names: str, tmp_path: Path) -> None:
    path = save_constant(
        tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0.9]]), metadata={**ULTRALYTICS, "names": names}
    )
    with pytest.raises(InvalidModelError, match="'names' in the metadata"):
        ModelSpec.inspect(path, accept=True)


def test_ultralytics_model_of_another_task_is_named(tmp_path: Path) -> None:
    path = save_constant(
        tmp_path / "m.onnx", yolov8([[*CXCYWH, 0.9]]), metadata={**ULTRALYTICS, "task": "obb"}
    )
    with pytest.raises(InvalidModelError, match="Ultralytics model for 'obb'"):
        ModelSpec.inspect(path, accept=True)


@pytest.mark.parametrize("content", [b"", b"no model", None], ids=["empty", "text", "cut"])
def test_damaged_file_is_an_invalid_model(content: bytes | None, tmp_path: Path) -> None:
    path = save_classifier(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(InvalidModelError, match=r"m\.onnx is (empty|not a model that ONNX)"):
        ModelSpec.inspect(path, accept=True)


def test_custom_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="Sharpen"):
        ModelSpec.inspect(save_custom_operator(tmp_path / "m.onnx"), accept=True)


def test_detections_through_spark_are_suppressed_and_carry_the_metadata_s_labels(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = save_constant(
        tmp_path / "m.onnx",
        yolov8([[*CXCYWH, 0, 0.9], [17, 32, 16, 16, 0, 0.8]]),
        metadata=ULTRALYTICS,
    )
    frame = spark.createDataFrame([(bytearray(picture()),)], "content binary")
    (row,) = frame.select(
        V.detect_objects("content", ModelSpec.inspect(path, accept=True))
    ).collect()
    (found,) = row[0].detections
    assert (found.class_id, found.label) == (1, "it's a dog")
    box = [found.xmin, found.ymin, found.xmax, found.ymax]
    assert [round(value, 4) for value in box] == ROW[1]


def test_a_box_in_the_padding_is_a_warning_of_its_row_and_a_clean_row_has_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    # The second box lies in the rows above a picture of 64x32, and in a picture of 64x64.
    path = save_constant(tmp_path / "m.onnx", yolov8([[*CXCYWH, 0, 0.9], [32, 8, 16, 10, 0, 0.8]]))
    rows = [(0, bytearray(picture())), (1, bytearray(picture(64, 64))), (2, None)]
    frame = spark.createDataFrame(rows, "id int, content binary").coalesce(1)
    found = V.detect_objects("content", ModelSpec.inspect(path, accept=True)).alias("r")
    wide, square, null = frame.select("id", found).sort("id").select("r.*").collect()
    assert (len(wide.detections), len(square.detections), null.detections) == (1, 2, None)
    ((code, message),) = wide.warnings
    assert (code, message[:40]) == (
        "boxes_without_area",
        "1 of 2 boxes above the threshold have no",
    )
    assert (square.warnings, null.warnings, wide.error) == (None, None, None)
