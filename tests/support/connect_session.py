"""What the library answers in a session, classic or Connect: the same rows are expected.

As a program it asks a Connect server, in a process of its own because one process cannot hold
both kinds of session: ``connect_session.py sc://HOST:PORT MODELS FOLDER``.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any

from onnx_models import save_colors, save_poser
from PIL import Image
from pyspark.errors import AnalysisException, PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.functions import (
    classify_image,
    decode_image,
    detect_keypoints,
    detect_objects,
    draw_detections,
    draw_masks,
    embed_image,
    embed_text,
    register,
    segment_image,
)
from pyspark_vision.streaming.counts import measure_results
from pyspark_vision.transformations import (
    explode_detections,
    explode_predictions,
    flatten_result,
    newest_per_key,
    split_failed,
)


def images(spark: SparkSession) -> DataFrame:
    """Two drawn scenes, one of them cut short, one null, one that is no picture."""
    rows = [(0, _jpeg(1)), (1, None), (2, _jpeg(2)), (3, _jpeg(3)[:2000]), (4, b"no image")]
    return spark.createDataFrame(rows, "id int, content binary")


def answers(spark: SparkSession, models: Path, folder: Path) -> dict[str, Any]:
    """Everything that is compared, by name, as JSON has it."""
    df = images(spark)
    classifier = ModelSpec.load(models / "demo-classifier")
    detector = ModelSpec.load(models / "demo-detector")
    embedder = ModelSpec.load(models / "demo-embedder")
    dual = ModelSpec.load(models / "demo-dual-encoder")

    def result(column: Any) -> DataFrame:
        return df.select("id", column.alias("result"))

    classified = result(classify_image("content", classifier, top_k=2))
    fused = result(classify_image(decode_image("content"), classifier, top_k=2))
    detected = df.select("*", detect_objects("content", detector).alias("result"))
    colors = ModelSpec.inspect(save_colors(folder / "colors.onnx"), task="segment", accept=True)
    poser = ModelSpec.inspect(save_poser(folder / "poser.onnx"))
    segmented = df.select("*", segment_image("content", colors).alias("result"))
    embedded = result(embed_image("content", embedder, normalize=True))
    register(spark, "classify_in_sql", classify_image, classifier, top_k=2)
    df.createOrReplaceTempView("images_of_this_test")
    target = str(folder / "vectors")
    embedded.transform(flatten_result).write.parquet(target)
    return {
        "classified": rows(classified),
        "decoded in the same pass": rows(fused),
        "its plan": _plan(fused).count("ArrowEvalPython"),
        "decoded": rows(result(decode_image("content"))),
        "detected": rows(detected.drop("content")),
        "embedded": rows(embedded),
        "named by texts": rows(result(classify_image("content", dual, labels=["a cat", "a car"]))),
        "texts embedded": rows(
            df.select("id", embed_text(F.concat(F.lit("a cat "), "id"), dual).alias("result"))
        ),
        "drawn": rows(
            detected.select("id", draw_detections("content", F.col("result.detections")))
        ),
        "segmented": rows(segmented.drop("content")),
        "masks drawn": rows(segmented.select("id", draw_masks("content", "result.segments"))),
        "posed": rows(result(detect_keypoints("content", poser))),
        "in SQL": rows(spark.sql("SELECT id, classify_in_sql(content) FROM images_of_this_test")),
        "flattened": rows(classified.transform(flatten_result)),
        "predictions exploded": rows(classified.transform(explode_predictions)),
        "detections exploded": rows(
            detected.drop("content").transform(explode_detections, keep_empty=True)
        ),
        "split": [rows(half) for half in split_failed(classified)],
        "newest": rows(_frames(spark).transform(newest_per_key, "camera", "at")),
        "written": rows(spark.read.parquet(target)),
        "counted": vars(measure_results(classified.transform(flatten_result), "predictions")[0]),
        "wrong type": _refusal(lambda: df.select(classify_image("id", classifier)).schema),
    }


def rows(df: DataFrame) -> list[Any]:
    """Rows in an order of their own; of bytes their checksum."""
    return sorted((_plain(row) for row in df.collect()), key=json.dumps)


def in_another_session(url: str, models: Path) -> dict[str, Any]:
    """What a second session of this process answers about a model that the first one has."""
    classifier = ModelSpec.load(models / "demo-classifier")
    of_the_first = classify_image("content", classifier, top_k=2)["error"]["code"]
    second: SparkSession = SparkSession.builder.remote(url).create()
    df = second.createDataFrame([(b"no image",)], "content binary")
    try:
        refused = str(df.select(of_the_first).collect())
    except PythonException as error:
        refused = str(error)
    register(second, "classify_in_sql", classify_image, classifier, top_k=2)
    df.createOrReplaceTempView("images_of_another_session")
    found = second.sql("SELECT classify_in_sql(content).error.code FROM images_of_another_session")
    codes = [code for (code,) in found.collect()]
    second.stop()
    return {"column of the first": refused, "in SQL": codes}


def _frames(spark: SparkSession) -> DataFrame:
    at = [datetime(2026, 1, 1, 12, 0, second) for second in (0, 3)]
    frames = [("door", at[0], 1), ("door", at[1], 2), ("gate", None, 3)]
    return spark.createDataFrame(frames, "camera string, at timestamp, frame int")


def _jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    picture: Image.Image = scenes.draw_scene(seed)[0]
    picture.save(file, "JPEG")
    return file.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, datetime):
        return value.isoformat()
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _plan(df: DataFrame) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        df.explain()
    return printed.getvalue()


def _refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except AnalysisException as refused:
        return str(refused).partition("\n")[0]
    return None


def main() -> None:
    url, models, folder = sys.argv[1:]
    spark = SparkSession.builder.remote(url).getOrCreate()
    given = answers(spark, Path(models), Path(folder))
    given["in another session"] = in_another_session(url, Path(models))
    (Path(folder) / "answers.json").write_text(json.dumps(given))
    spark.stop()


if __name__ == "__main__":
    main()
