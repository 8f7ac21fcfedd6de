"""The way through pandas, which PySpark 4.0 takes for want of Arrow-native UDFs: the same rows."""

from __future__ import annotations

import functools
import io
from typing import Any

import pytest
from face_models import save_yunet
from onnx_models import save_colors, save_poser, save_warner
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from tiny_text_reader import save_text_reader

from pyspark_vision import functions
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.columns import worker_functions
from pyspark_vision.columns.udf import vision_udf

pytestmark = pytest.mark.every_spark


@pytest.fixture(scope="module")
def images(spark: SparkSession) -> DataFrame:
    """A picture between a null and what is none, in one batch."""
    file = io.BytesIO()
    scenes.draw_scene(2)[0].save(file, "JPEG")
    rows = [(0, None), (1, file.getvalue()), (2, b"no image")]
    return spark.createDataFrame(rows, "id int, content binary").coalesce(1)


def rows(df: DataFrame, column: Any) -> list[Any]:
    return df.select("id", column.alias("r")).sort("id").collect()


@pytest.fixture(scope="module")
def warner(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A detector of two boxes, of which one has no area."""
    return ModelSpec.inspect(save_warner(tmp_path_factory.mktemp("warner") / "m.onnx"), accept=True)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A detector that gives points with each box."""
    return ModelSpec.inspect(save_yunet(tmp_path_factory.mktemp("faces") / "m.onnx"))


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, ModelSpec]:
    """A model of segments, and one of poses."""
    folder = tmp_path_factory.mktemp("pixels")
    return (
        ModelSpec.inspect(save_colors(folder / "colors.onnx"), task="segment", accept=True),
        ModelSpec.inspect(save_poser(folder / "poser.onnx")),
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A reader of text that takes what is dark for lines of letters."""
    return ModelSpec.inspect(save_text_reader(tmp_path_factory.mktemp("reader") / "tiny"))


def answers(
    images: DataFrame,
    classifier: ModelSpec,
    detector: ModelSpec,
    warner: ModelSpec,
    faces: ModelSpec,
    pixels: tuple[ModelSpec, ModelSpec],
    reader: ModelSpec,
) -> dict[str, Any]:
    segmenter, poser = pixels
    of_pixels = images.withColumn("s", functions.segment_image("content", segmenter)).withColumn(
        "p", functions.detect_keypoints("content", poser)
    )
    read = images.withColumn("t", functions.read_text("content", reader, score_threshold=0.0))
    decoded = images.withColumn("image", functions.decode_image("content"))
    found = decoded.withColumn("found", functions.detect_objects("content", detector))
    drawn = functions.draw_detections("image", F.col("found.detections"))
    arrays = images.withColumn("content", F.when(F.col("id") > 0, F.array("content", F.lit(None))))
    none = F.array().cast(found.schema["found"].dataType["detections"].dataType)  # type: ignore[index]
    return {
        "classified": rows(images, functions.classify_image("content", classifier)),
        "detected": rows(images, functions.detect_objects("content", detector)),
        "warned": rows(images, functions.detect_objects("content", warner)),
        "with points": rows(images, functions.detect_objects("content", faces)),
        "segmented": rows(of_pixels, F.col("s")),
        "posed": rows(of_pixels, F.col("p")),
        "masks drawn": rows(of_pixels, functions.draw_masks("content", F.col("s.segments"))),
        "points drawn": rows(of_pixels, functions.draw_keypoints("content", F.col("p.poses"))),
        "read": rows(images, functions.read_text("content", reader, score_threshold=0.0)),
        "texts drawn": rows(read, functions.draw_text_lines("content", F.col("t.lines"))),
        "decoded": rows(decoded, F.col("image")),
        "classified image structs": rows(decoded, functions.classify_image("image", classifier)),
        "drawn": rows(found, drawn),
        "drawn without boxes": rows(decoded, functions.draw_detections("image", none)),
        "arrays of image structs": rows(
            decoded.withColumn("images", F.array("image", F.lit(None))),
            functions.classify_image("images", classifier),
        ),
        "arrays": rows(arrays, functions.detect_objects("content", warner)),
        "frames": rows(images, functions.decode_image("content", frames="all")),
    }


@pytest.mark.slow
def test_pandas_udfs_give_the_rows_of_arrow_native_ones(
    images: DataFrame,
    classifier: ModelSpec,
    detector: ModelSpec,
    warner: ModelSpec,
    faces: ModelSpec,
    pixels: tuple[ModelSpec, ModelSpec],
    reader: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = answers(images, classifier, detector, warner, faces, pixels, reader)
    through_pandas = functools.partial(vision_udf, arrow_native=False)
    monkeypatch.setattr(worker_functions, "vision_udf", through_pandas)

    found = answers(images, classifier, detector, warner, faces, pixels, reader)

    assert found == expected
    assert found["with points"][1]["r"]["detections"][0]["keypoints"][0]["name"] == "right_eye"
    assert [row["r"] is None for row in found["drawn"]] == [True, False, True]
    codes = [[one["code"] for one in row["r"]["warnings"] or []] for row in found["warned"]]
    assert codes == [[], ["boxes_without_area"], []]
