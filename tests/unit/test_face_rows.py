"""Faces' keypoints, and doubts of a model, in rows of Spark."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from face_models import FACE_POINTS, FACE_XYXY, save_yunet
from onnx_models import save_constant
from PIL import Image
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision import schemas
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.functions import classify_image, detect_objects
from pyspark_vision.streaming import model_doubts
from pyspark_vision.streaming.counts import measure_results
from pyspark_vision.streaming.runner import run_batch
from pyspark_vision.transformations import explode_detections, flatten_result

POINTS = ["right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner"]


@pytest.fixture(scope="module")
def images(spark: SparkSession) -> DataFrame:
    """Two pictures, and a null between them."""
    contents = []
    for color in ("red", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), color).save(file, "PNG")
        contents.append(file.getvalue())
    rows = [(0, contents[0]), (1, None), (2, contents[1])]
    return spark.createDataFrame(rows, "id int, content binary").coalesce(1)


def test_a_face_has_its_named_points_and_a_bad_row_its_error(
    images: DataFrame, tmp_path: Path
) -> None:
    model = ModelSpec.inspect(save_yunet(tmp_path / "faces.onnx"))

    found = images.select("id", detect_objects("content", model).alias("result")).cache()

    assert found.schema["result"].dataType == schemas.DETECTIONS_WITH_KEYPOINTS
    rows = {row["id"]: row["result"] for row in found.collect()}
    assert rows[1]["error"]["code"] == "null_input"
    assert rows[1]["detections"] is None
    (face,) = rows[0]["detections"]
    assert face["label"] == "face"
    sides = tuple(face[side] for side in ("xmin", "ymin", "xmax", "ymax"))
    assert sides == pytest.approx(FACE_XYXY)
    points = [(p["name"], p["x"], p["y"], p["score"]) for p in face["keypoints"]]
    expected = zip(POINTS, FACE_POINTS, strict=True)
    assert points == [(name, pytest.approx(x), pytest.approx(y), None) for name, (x, y) in expected]
    exploded = explode_detections(found)
    assert exploded.columns[-1] == "keypoints"
    assert exploded.count() == 2


def test_a_detector_without_points_has_rows_as_before(images: DataFrame, tmp_path: Path) -> None:
    model = ModelSpec.inspect(save_yunet(tmp_path / "faces.onnx")).with_options(keypoint_names=())

    result = images.select(detect_objects("content", model).alias("result"))

    assert result.schema["result"].dataType == schemas.DETECTIONS
    assert len(result.collect()[0]["result"]["detections"]) == 1


def test_a_doubted_model_is_said_on_each_row_and_once_in_a_jobs_log(
    images: DataFrame,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_doubts, "_doubted", set())
    path = save_constant(tmp_path / "wrong.onnx", {"scores": [[90.0, 0.5]]})
    model = ModelSpec.inspect(
        path, task="classify", normalization="unit", score_kind="probability", accept=True
    )
    results = flatten_result(
        images.select("id", classify_image("content", model).alias("result"))
    ).cache()

    warned = [row["warnings"] for row in results.collect()]
    text = "model 'wrong' may be read wrongly: its scores are from 0.5 to 90 in one picture"
    # The one without a picture has no answer.
    assert [one and one[0]["code"] for one in warned] == ["model_suspect", None, "model_suspect"]
    assert warned[0][0]["message"].startswith(text)
    measures = measure_results(results, "predictions")[1]
    said = measures.model_suspect
    assert said is not None
    assert said.startswith(text)
    assert (measures.suspect_rows, measures.outside_rows) == (2, 0)

    def ignore(*_: Any) -> None:
        pass

    with caplog.at_level(logging.WARNING, "pyspark_vision.streaming"):
        for batch_id in range(3):
            run_batch(results, batch_id, {"none": ignore}, value="predictions")
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "may be read wrongly" in message] == [said]


def test_rows_do_not_depend_on_what_their_worker_had_before(
    spark: SparkSession, tmp_path: Path
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 16)).save(file, "PNG")
    images = spark.createDataFrame(
        [(0, file.getvalue()), (1, None), (2, file.getvalue())], "id int, content binary"
    ).coalesce(1)
    # In the padding above a wide picture, in any of them.
    outputs = {"boxes": [[[0.2, 0.05, 0.6, 0.2]]], "scores": [[0.9]], "classes": [[0.0]]}
    model = ModelSpec.inspect(
        save_constant(tmp_path / "padding.onnx", outputs),
        normalization="unit",
        box_format="xyxy",
        resize="letterbox",
        accept=True,
    )
    column = images.select("id", detect_objects("content", model).alias("result"))

    # The second run finds the worker, and the model in it.
    first, again = column.collect(), column.collect()

    assert first == again
    codes = [[one["code"] for one in row["result"]["warnings"] or ()] for row in first]
    both = ["boxes_without_area", "model_suspect"]
    assert codes == [both, [], both]
    measures = measure_results(flatten_result(column), "detections")[1]
    assert (measures.model_suspect, measures.suspect_rows, measures.outside_rows) == (None, 2, 2)
    assert "1 of 1 boxes above the threshold" in (measures.boxes_outside or "")
