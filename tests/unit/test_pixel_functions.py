"""segment_image, detect_keypoints and their drawings in Spark: the contract of all tasks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import save_colors, save_poser
from PIL import Image
from pycocotools import mask as coco
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pyspark_vision import schemas
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.keypoint_names import COCO_POINTS
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.functions import (
    decode_image,
    detect_keypoints,
    detect_objects,
    draw_keypoints,
    draw_masks,
    draw_text_lines,
    register,
    segment_image,
)
from pyspark_vision.transformations import explode_poses, explode_segments

pytestmark = pytest.mark.every_spark

WIDTH, HEIGHT = 160, 80


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def picture() -> Image.Image:
    """Red on the left half, blue on the right one."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "red")
    image.paste((0, 0, 255), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


@pytest.fixture(scope="module")
def images(spark: SparkSession) -> DataFrame:
    lying = Image.Exif()
    lying[0x0112] = 6  # upright it is turned to the right: red above, blue below
    rows = [
        (0, png(picture())),
        (1, None),
        (2, b"no image at all"),
        (3, png(picture(), exif=lying)),
        (4, png(Image.new("RGB", (1, 1), (0, 200, 0)))),
    ]
    return spark.createDataFrame(rows, "id int, content binary").repartition(2).cache()


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    path = save_colors(tmp_path_factory.mktemp("colors") / "m.onnx")
    labels = ["red", "green", "blue"]
    return ModelSpec.inspect(
        path, task="segment", labels=labels, normalization="none", score_kind="logit"
    )


@pytest.fixture(scope="module")
def poser(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    path = save_poser(tmp_path_factory.mktemp("poser") / "m.onnx")
    return ModelSpec.inspect(path, resize="stretch")


def by_id(df: DataFrame) -> dict[int, Any]:
    return {row["id"]: row["r"] for row in df.collect()}


@pytest.mark.parametrize(
    ("function", "model", "schema", "field"),
    [
        (segment_image, "segmenter", schemas.SEGMENTS, "segments"),
        (detect_keypoints, "poser", schemas.POSES, "poses"),
    ],
)
def test_each_row_gets_its_own_result_or_reason(
    function: Any, model: str, schema: StructType, field: str, images: DataFrame, request: Any
) -> None:
    spec = request.getfixturevalue(model)

    results = images.select("id", function("content", spec).alias("r"))

    assert results.schema["r"].dataType == schema
    rows = by_id(results)
    codes = {id_: row["error"] and row["error"]["code"] for id_, row in rows.items()}
    assert codes == {0: None, 1: "null_input", 2: "unsupported_format", 3: None, 4: None}
    assert all((row[field] is None) == (row["error"] is not None) for row in rows.values())
    assert {row["model_sha256"] for row in rows.values()} == {spec.sha256}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_are_of_the_upright_picture_and_pycocotools_reads_them(
    images: DataFrame, segmenter: ModelSpec
) -> None:
    rows = by_id(images.select("id", segment_image("content", segmenter).alias("r")))

    found = {one["label"]: one for one in rows[0]["segments"]}
    assert {label: one["area"] for label, one in found.items()} == {
        "red": WIDTH * HEIGHT // 2,
        "blue": WIDTH * HEIGHT // 2,
    }
    mask = coco.decode(found["red"]["mask"].asDict())
    assert mask.shape == (HEIGHT, WIDTH)
    assert (mask == (np.arange(WIDTH) < WIDTH // 2)).all()
    box = [found["blue"][side] for side in ("xmin", "ymin", "xmax", "ymax")]
    assert box == [0.5, 0, 1, 1]
    turned = {one["label"]: one for one in rows[3]["segments"]}
    assert (rows[3]["width"], rows[3]["height"]) == (HEIGHT, WIDTH)
    assert [turned["red"][side] for side in ("xmin", "ymin", "xmax", "ymax")] == [0, 0, 1, 0.5]
    assert [one["label"] for one in rows[4]["segments"]] == ["green"]


def test_points_are_of_the_upright_picture_and_named(images: DataFrame, poser: ModelSpec) -> None:
    rows = by_id(images.select("id", detect_keypoints("content", poser).alias("r")))

    (pose,) = rows[0]["poses"]
    assert [point["name"] for point in pose["keypoints"]] == list(COCO_POINTS)
    assert {(point["x"], point["y"]) for point in pose["keypoints"]} == {(0.25, 0.5)}
    assert (pose["score"], pose["xmin"], pose["label"]) == (1.0, None, None)
    assert rows[4]["poses"] == []


def test_an_option_names_value_and_rule(segmenter: ModelSpec, poser: ModelSpec) -> None:
    with pytest.raises(InvalidOptionError, match="max_segments=0"):
        segment_image("content", segmenter, max_segments=0)
    with pytest.raises(InvalidOptionError, match=r"mask_threshold=2 must be .* 0\.\.1"):
        segment_image("content", segmenter, mask_threshold=2)
    with pytest.raises(InvalidOptionError, match="max_poses=0"):
        detect_keypoints("content", poser, max_poses=0)
    with pytest.raises(InvalidModelError, match="has task 'keypoints', not 'segment'"):
        segment_image("content", poser)
    with pytest.raises(InvalidModelError, match="has task 'segment', not 'detect'"):
        detect_objects("content", segmenter)


def test_decoding_around_it_is_one_python_node(images: DataFrame, segmenter: ModelSpec) -> None:
    nested = images.select(segment_image(decode_image("content"), segmenter).alias("r"))

    plan = str(nested._jdf.queryExecution().executedPlan().toString())
    assert plan.count("ArrowEvalPython") == 1


def test_sql_functions_give_the_columns_rows(
    spark: SparkSession, images: DataFrame, segmenter: ModelSpec, poser: ModelSpec
) -> None:
    register(spark, "segment", segment_image, segmenter, max_segments=1)
    register(spark, "pose", detect_keypoints, poser, score_threshold=0.9)
    register(spark, "masked", draw_masks)
    images.createOrReplaceTempView("images_of_pixels")

    segments = by_id(spark.sql("SELECT id, segment(content) AS r FROM images_of_pixels"))
    poses = by_id(spark.sql("SELECT id, pose(content).poses AS r FROM images_of_pixels"))
    drawn = by_id(
        spark.sql(
            "SELECT id, masked(content, segment(content).segments) AS r FROM images_of_pixels"
        )
    )

    expected = segment_image("content", segmenter, max_segments=1)
    assert segments == by_id(images.select("id", expected.alias("r")))
    assert len(poses[0]) == 1
    assert Image.open(io.BytesIO(drawn[0])).size == (WIDTH, HEIGHT)


# Corners whose outline goes through the point that is looked at.
AROUND = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))


def test_drawings_are_jpegs_and_null_for_bad_rows(
    images: DataFrame, segmenter: ModelSpec, poser: ModelSpec
) -> None:
    found = images.withColumn("s", segment_image("content", segmenter)).withColumn(
        "p", detect_keypoints("content", poser)
    )
    corners = [F.struct(F.lit(x).alias("x"), F.lit(y).alias("y")) for x, y in AROUND]
    line = F.struct(
        F.lit("Spark").alias("text"), F.lit(0.9).alias("score"), F.array(*corners).alias("corners")
    )
    lines = F.when(F.col("id") == 0, F.array(line))
    drawn = found.select(
        "id",
        draw_masks("content", F.col("s.segments")).alias("masks"),
        draw_keypoints("content", F.col("p.poses")).alias("points"),
        draw_text_lines("content", lines).alias("texts"),
    ).collect()

    for name in ("masks", "points", "texts"):
        by_row = {row["id"]: row[name] for row in drawn}
        assert {id_ for id_, jpeg in by_row.items() if jpeg is None} == {1, 2}
        image = Image.open(io.BytesIO(by_row[0])).convert("RGB")
        assert image.size == (WIDTH, HEIGHT)
        assert image.getpixel((WIDTH // 4, HEIGHT // 2)) != (254, 0, 0)


def test_segments_and_poses_become_rows(
    images: DataFrame, segmenter: ModelSpec, poser: ModelSpec
) -> None:
    segments = images.select("id", segment_image("content", segmenter).alias("result"))
    poses = images.select("id", detect_keypoints("content", poser).alias("result"))

    exploded = segments.where("id = 0").transform(explode_segments)
    assert sorted(row["area"] for row in exploded.collect()) == [6400, 6400]
    assert exploded.columns[-2:] == ["area", "mask"]
    posed = poses.where("id IN (0, 4)").transform(explode_poses, keep_empty=True)
    assert [row["keypoints"] is None for row in posed.sort("id").collect()] == [False, True]


def test_a_model_is_the_same_after_it_was_saved(poser: ModelSpec, tmp_path: Path) -> None:
    loaded = ModelSpec.load(poser.save(tmp_path / "bundle"))

    assert loaded == poser
    assert loaded.keypoint_names == COCO_POINTS
