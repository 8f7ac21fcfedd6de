"""The model cache across UDFs, queries and micro-batches; workers that die; the pandas fallback."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killed_workers_job import workers
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from pyspark_vision import schemas
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.storage import publish
from pyspark_vision.clients import scenes
from pyspark_vision.columns import udf
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.outputs.heads import ClassifyOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.functions import classify_image, detect_objects, embed_image


@pytest.fixture(scope="module")
def frames(spark: SparkSession) -> DataFrame:
    rows = []
    for seed in range(24):
        buffer = io.BytesIO()
        scenes.draw_scene(seed, (160, 120))[0].save(buffer, "JPEG")
        rows.append((seed, buffer.getvalue()))
    return spark.createDataFrame(rows, "id int, content binary").repartition(2).cache()


def all_loads(spark: SparkSession) -> dict[int, dict[str, int]]:
    """Process id -> how often it loaded each model, by sha256, of the workers that answer now."""

    def ask(_):  # hints would make Spark guess another kind of UDF
        import collections
        import json
        import os
        import time

        from pyspark_vision.executor.models import model_cache

        time.sleep(0.2)  # so that two tasks run at once and each asks another worker
        counts: collections.Counter[str] = collections.Counter()
        for key, count in model_cache.load_counts.items():
            counts[key[0].sha256] += count  # type: ignore[index]
        return json.dumps([os.getpid(), counts])

    loads = F.udf(ask, StringType())
    # A query of three functions has three workers in a task; the longest idle one answers next.
    answers = [row[0] for row in spark.range(0, 6, 1, 6).select(loads("id")).collect()]
    return dict(json.loads(answer) for answer in answers)


def worker_loads(spark: SparkSession, sha256: str) -> dict[int, int]:
    """Process id -> how often it loaded the model."""
    return {pid: counts.get(sha256, 0) for pid, counts in all_loads(spark).items()}


def kill_all_workers() -> set[int]:
    """SIGKILL every Python worker of this session; returns their process ids once they are gone.

    One that Spark still believes idle would be given the next task.
    """
    killed = set(workers())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while killed & set(workers()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return killed


def fresh(spec: ModelSpec, tmp_path: Path) -> ModelSpec:
    """The same model under another content, so that no other test has loaded it before."""
    copy = ModelSpec.load(spec.save(tmp_path / "copy"))
    model = Path(copy.path)
    renamed = model.with_name("other.tflite")
    # A .tflite file is a flatbuffer: bytes behind its end do not change it.
    renamed.write_bytes(model.read_bytes() + os.urandom(16))
    return ModelSpec.inspect(renamed, task=spec.task, labels=dict(spec.labels), accept=True)


def test_three_models_over_one_picture_give_their_rows_in_one_query_each_loaded_once(
    spark: SparkSession,
    frames: DataFrame,
    classifier: ModelSpec,
    detector: ModelSpec,
    embedder: ModelSpec,
    tmp_path: Path,
) -> None:
    specs = (classifier, detector, embedder)
    models = [fresh(spec, tmp_path / spec.task) for spec in specs]
    functions: tuple[Any, ...] = (classify_image, detect_objects, embed_image)
    kill_all_workers()
    picture = frames.where("id = 2").coalesce(1)
    columns = [
        function("content", model).alias(model.task)
        for function, model in zip(functions, models, strict=True)
    ]

    [together] = picture.select(*columns).collect()

    by_worker = all_loads(spark).values()
    loads = {m.task: sum(counts.get(m.sha256, 0) for counts in by_worker) for m in models}
    assert loads == {"classify": 1, "detect": 1, "embed": 1}
    for column, model in zip(columns, models, strict=True):
        [alone] = picture.select(column).collect()
        assert together[model.task]["error"] is None
        assert together[model.task] == alone[model.task]
    assert together["detect"]["detections"]


def test_a_worker_loads_a_model_once_for_all_udfs_queries_and_micro_batches(
    spark: SparkSession, frames: DataFrame, classifier: ModelSpec, tmp_path: Path
) -> None:
    model = fresh(classifier, tmp_path)
    # Idle workers of other tests could answer below in place of those that do the work here.
    kill_all_workers()

    frames.select(
        classify_image("content", model, top_k=1), classify_image("content", model, top_k=2)
    ).collect()
    frames.select(classify_image("content", model, score_threshold=0.1)).collect()
    (tmp_path / "in").mkdir()
    for index, row in enumerate(frames.limit(6).collect()):
        (tmp_path / "in" / f"{index}.jpg").write_bytes(row["content"])
    seen: list[int] = []
    stream = (
        spark.readStream.format("binaryFile")
        .schema("path string, modificationTime timestamp, length long, content binary")
        .option("maxFilesPerTrigger", 1)
        .load(str(tmp_path / "in"))
    )
    query = (
        stream.writeStream.option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .foreachBatch(
            lambda batch, _: seen.append(
                len(batch.select(classify_image("content", model)).collect())
            )
        )
        .start()
    )
    assert query.awaitTermination(300)

    loads = worker_loads(spark, model.sha256)
    assert seen == [1] * 6
    assert set(loads.values()) <= {0, 1}
    assert 1 in loads.values()


def test_a_killed_worker_loads_the_model_again_and_no_row_changes(
    spark: SparkSession, frames: DataFrame, detector: ModelSpec, tmp_path: Path
) -> None:
    model = fresh(detector, tmp_path)
    found = frames.select("id", detect_objects("content", model, 0.3).alias("r"))
    expected = sorted(found.collect())
    killed = kill_all_workers()

    assert sorted(found.collect()) == expected
    after = worker_loads(spark, model.sha256)
    assert killed
    assert not killed & set(after)
    assert set(after.values()) <= {0, 1}
    assert 1 in after.values()


def test_sigkill_of_workers_in_the_middle_of_a_job_changes_no_row(
    root: Path, detector: ModelSpec, tmp_path: Path
) -> None:
    """local[2,4] retries failed tasks; plain local mode gives up at the first."""
    script = root / "tests" / "support" / "killed_workers_job.py"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYSPARK_PYTHON", None)

    run = subprocess.run(
        [sys.executable, str(script), str(root / "models" / "demo-detector")],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["killed"] >= 1
    assert report["rows"] == 600
    assert report["same_as_without_kills"]


@pytest.mark.parametrize("arrow_native", [True, False])
def test_arrow_and_pandas_udfs_give_the_same_rows(
    arrow_native: bool, spark: SparkSession, frames: DataFrame, classifier: ModelSpec
) -> None:
    inference = Inference(
        classifier, publish(classifier, spark), DecodeOptions(), ClassifyOptions(3, 0.0)
    )
    function = udf.vision_udf(
        "infer", inference, schemas.PREDICTIONS, name="f", arrow_native=arrow_native
    )
    with_bad = frames.union(spark.createDataFrame([(99, None)], frames.schema))

    rows = sorted(with_bad.select("id", function("content").alias("r")).collect())

    wanted = with_bad.select("id", classify_image("content", classifier, 3).alias("r"))
    assert rows == sorted(wanted.collect())
    assert rows[-1]["r"]["error"]["code"] == "null_input"
