"""What has to hold on each version of Spark and has no other quick test (make test-spark)."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import pytest
import stream_processes as streams
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.clients import scenes
from pyspark_vision.messages.json_fields import with_message
from pyspark_vision.spark import internals

pytestmark = pytest.mark.every_spark

FRAMES = 12


@pytest.mark.slow
def test_a_killed_stream_goes_on_and_loses_and_repeats_nothing(root: Path, tmp_path: Path) -> None:
    streams.draw_frames(tmp_path / "frames", FRAMES)
    flags = ("--max-files-per-trigger", "2", "--trigger", "0.2 seconds")
    with streams.running(streams.SPARK_SUBMIT, root, tmp_path, *flags) as job:
        streams.wait_for(lambda: len(streams.batches(tmp_path, "commits")) >= 2, tmp_path)
        job.kill()
        job.wait(timeout=60)

    with streams.running(streams.PYTHON, root, tmp_path, "--trigger", "available-now") as job:
        assert job.wait(timeout=300) == 0, (tmp_path / "logged").read_text()[-3000:]

    assert streams.rows_by_frame(tmp_path) == streams.once_each(FRAMES)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("stream_detect", "--input {frames} --model {models}/demo-detector --output {out}"),
        ("stream_classify", "--model-type custom --model-gcs-path {models}/demo-classifier"),
        ("extract_events", "--kafka-servers 127.0.0.1:1 --output {out}"),
        ("batch_embed", "--images {frames} --model {models}/demo-embedder --output {out}"),
    ],
)
def test_a_dry_run_of_each_job_prints_its_plan(
    name: str, flags: str, spark: SparkSession, root: Path, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "frames").mkdir()
    scenes.draw_scene(1, (320, 240))[0].save(tmp_path / "frames" / "1.jpg")
    words = flags.format(frames=tmp_path / "frames", models=root / "models", out=tmp_path / "out")
    if name.startswith("stream"):
        words += f" --checkpoint {tmp_path / 'checkpoint'}"
    spec = importlib.util.spec_from_file_location(name, root / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)

    code = job.main([*words.split(), "--dry-run"])

    printed = capfd.readouterr().out
    assert code == 0
    assert "== Physical Plan ==" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_spark_says_what_the_batch_in_hand_had(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lines.txt").write_text("one\ntwo\n")
    lines = spark.readStream.text(str(tmp_path / "in"))
    has_begun = threading.Event()
    found = []

    def process(batch: DataFrame, batch_id: int) -> None:
        batch.collect()
        has_begun.wait(60)
        found.append(internals.observed_metrics(query, "lines"))

    writer = lines.observe("lines", F.count("*").alias("rows")).writeStream.foreachBatch(process)
    writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
    query = writer.trigger(availableNow=True).start()
    has_begun.set()

    assert query.awaitTermination(120)
    assert found == [{"rows": 2}]


@pytest.mark.parametrize(
    ("json", "text", "members", "wrong"),
    [
        ('{"t": "a", "m": {"k": "v"}}', "a", {"k": "v"}, None),
        ('{"t": "7", "m": {"k": 1, "l": null}}', "7", {"k": "1", "l": None}, None),
        ('{"t": "{\\"k\\": 1}", "m": {"k": {"n": [1]}}}', '{"k": 1}', {"k": '{"n":[1]}'}, None),
        ('{"t": "true", "m": {}}', "true", {}, None),
        ('{"t": "-", "m": null}', "-", None, None),
        ('{"t": "NaN"}', "NaN", None, None),
        ('{"t": true}', None, None, "t is boolean; it must be string"),
        ('{"t": 7.5}', None, None, "t is d"),  # decimal, or double
        ('{"t": ["a"]}', None, None, "t is array<"),
        ('{"t": {"a": 1}}', None, None, "t is object<"),
        ('{"m": "{}"}', None, None, "m is string; it must be map<string,string>"),
        ('{"m": 7}', None, None, "m is bigint; it must be map<string,string>"),
    ],
)
def test_a_field_has_its_type_in_json_or_is_refused(
    json: str, text: str | None, members: Any, wrong: str | None, spark: SparkSession
) -> None:
    records = spark.createDataFrame([(bytearray(json.encode()),)], "value binary")
    types = {"t": "string", "m": "map<string,string>"}

    read = with_message(records, F.col("value"), (), types, max_bytes=1000)

    [message] = read.select("_message.*").collect()
    if wrong is not None:
        assert message.error.message.startswith(wrong)
    else:
        assert message.error is None
        assert (message.fields.t, message.fields.m) == (text, members)
