"""gs:// wherever s3a:// works: Spark's files, marks, leases, bundles, batch_embed, streams."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import job_runs as jobs
import pytest
from claims import owns_alone
from gcs_conditions import GcsConditions
from job_environment import job_environment
from lease_race import outcomes_of_two
from local_services import jars
from local_services.gcs import Gcs
from own_session import in_own_session
from pictures import scene_jpeg
from planted_secrets import leaks
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.columns.options import fetch_options
from pyspark_vision.doctor import storage
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.listed_files import Tally
from pyspark_vision.sources.object_keys import list_keys
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.hadoop import create_text, read_text
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.java_errors import Problem
from pyspark_vision.streaming import lease

ODD = ["with space.jpg", "hash#1.jpg", "per%20cent.jpg", "a+b.jpg", "ü日本.jpg", "a[1]?.jpg"]


def put(bucket: Any, name: str, content: bytes) -> None:
    bucket.blob(name).upload_from_string(content, retry=None)


def names_in(bucket: Any, prefix: str = "") -> list[str]:
    """Names of objects, without those that Hadoop makes for folders."""
    listed = bucket.list_blobs(prefix=prefix or None)
    return sorted(blob.name for blob in listed if not blob.name.endswith("/"))


def test_spark_writes_parquet_and_json_lines_to_gs_and_reads_them(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    home = f"gs://{gcs_bucket.name}"
    assert not read_text(spark, f"{home}/none")  # which prepares the session

    spark.range(10).coalesce(1).write.parquet(f"{home}/numbers [1]")
    spark.range(3).coalesce(1).write.json(f"{home}/lines")

    read = spark.read.parquet(f"{home}/numbers \\[1\\]").collect()
    assert sorted(row.id for row in read) == list(range(10))
    [line, success] = names_in(gcs_bucket, "lines/")
    assert success == "lines/_SUCCESS" or line == "lines/_SUCCESS"
    assert any(name.startswith("lines/part-00000-") for name in (line, success))


def test_of_two_that_write_one_file_one_makes_it(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    mark = f"gs://{gcs_bucket.name}/out/_mark"

    assert create_text(spark, mark, "first")
    assert not create_text(spark, mark, "second")
    assert read_text(spark, mark) == "first"


@pytest.mark.slow
def test_one_of_two_in_the_same_instant_holds_a_checkpoint_and_leaves_nothing_behind(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE_S", 0.5)
    checkpoint = f"gs://{gcs_bucket.name}/checkpoint"

    assert outcomes_of_two(spark, checkpoint, held_s=5.0) == ["held", "refused"]
    with lease.held(spark, checkpoint, "job", lambda reason: None):
        assert names_in(gcs_bucket) == ["checkpoint/lease/1"]
    assert names_in(gcs_bucket) == []


def test_where_the_service_lets_one_make_a_file_the_other_hears_that_it_is_taken(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    conf = spark._jsc.hadoopConfiguration()
    files = f"gs://{gcs_bucket.name}/lease"
    with GcsConditions(gcs.endpoint_url) as proxy:
        conf.set("fs.gs.storage.root.url", proxy.url)
        try:
            file_system, path = hadoop.hadoop_path(spark, f"{files}/1")
            # Both have looked, and found nothing, before one of them has written.
            first, second = file_system.create(path, False), file_system.create(path, False)
            for stream, text in ((first, b"first"), (second, b"second")):
                stream.write(text)
            first.close()
            with pytest.raises(JavaError) as error:
                second.close()
            assert hadoop.is_made_by_another(error.value)
            assert read_text(spark, f"{files}/1") == "first"
            hadoop.write_text(spark, f"{files}/1", "renewed", overwrites=True)
            assert (read_text(spark, f"{files}/1"), proxy.refused) == ("renewed", 1)
        finally:
            conf.set("fs.gs.storage.root.url", gcs.endpoint_url)


def test_the_lease_of_another_machine_is_taken_when_nobody_renews_it(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.5)
    monkeypatch.setattr(lease, "STALE_AFTER_S", 2.0)
    other = dataclasses.replace(lease._this_process(spark, "job"), machine="other", host="far")
    put(gcs_bucket, "checkpoint/lease/7", json.dumps(dataclasses.asdict(other)).encode())

    began_at = time.monotonic()
    with lease.held(spark, f"gs://{gcs_bucket.name}/checkpoint", "job", lambda reason: None):
        assert time.monotonic() - began_at > 2
        assert names_in(gcs_bucket) == ["checkpoint/lease/8"]


def test_a_lease_is_renewed_as_long_as_it_is_held(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.3)
    lost: list[str] = []
    with lease.held(spark, f"gs://{gcs_bucket.name}/checkpoint", "job", lost.append):
        before = gcs_bucket.get_blob("checkpoint/lease/1").generation
        time.sleep(1.5)
        assert gcs_bucket.get_blob("checkpoint/lease/1").generation > before
    assert lost == []


def test_a_folder_has_one_owner_whoever_comes_at_the_same_time(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    owns_alone(spark, f"gs://{gcs_bucket.name}/out [1]")

    put(gcs_bucket, "pictures/a.jpg", b"mine")
    mark = Mark("stream_detect", "parquet", "id")
    with pytest.raises(InvalidOptionError, match=r"holds a\.jpg"):
        owner.claim(spark, f"gs://{gcs_bucket.name}/pictures", mark, "--output", adopts=False)


def test_a_bucket_that_is_not_there_is_said_with_what_to_do(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    output = f"gs://no-403-forbidden-{gcs_bucket.name}/out"

    with pytest.raises(InvalidOptionError, match=r"404 Not Found.*Create its bucket, or correct"):
        owner.claim(spark, output, Mark("job", "parquet", "id"), "--output", adopts=False)
    with (
        pytest.raises(InvalidOptionError, match=r"404 Not Found.*Create its bucket, or correct"),
        lease.held(spark, output, "job", lambda reason: None),
    ):
        pass


def test_doctor_writes_and_reads_a_bucket_and_leaves_it_as_it_was(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    put(gcs_bucket, "in/frame.jpg", b"12345")
    home = f"gs://{gcs_bucket.name}"

    assert storage.connector(spark, "gs")
    assert "5 bytes" in storage.readable(spark, f"{home}/in")
    assert "read back" in storage.writable(spark, f"{home}/out/detections")
    assert "renames by copying" in storage.checkpoint(spark, f"{home}/checkpoint")
    assert names_in(gcs_bucket) == ["in/frame.jpg"]
    with pytest.raises(Problem, match="Create it, or correct"):
        storage.writable(spark, f"gs://no-403-forbidden-{gcs_bucket.name}/out")


def test_keys_of_a_prefix_are_listed_page_by_page_without_folders_and_odd_names_as_they_are(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    for name in [*ODD, "_SUCCESS", "notes.txt"]:
        put(gcs_bucket, f"in/{name}", b"x")
    put(gcs_bucket, "in/folder/", b"")
    put(gcs_bucket, "in/no folder.jpg/", b"x")
    put(gcs_bucket, "in-other/a.jpg", b"x")

    def listed(prefix: str, names: Names) -> tuple[list[str], Tally]:
        tally = Tally()
        home = f"gs://{gcs_bucket.name}/"
        files = list(list_keys(home + prefix, fetch_options(spark), names, tally))
        assert all(file.size == 1 and file.modified_ms for file in files)
        return sorted(file.uri.removeprefix(home) for file in files), tally

    found, tally = listed("in/", Names(None))
    assert found == sorted(f"in/{name}" for name in ODD)
    assert (tally.seen, sum(tally.left_out.values())) == (9, 3)
    assert len(listed("in", Names("*"))[0]) == 9
    with pytest.raises(InvalidOptionError, match="cannot list gs://no-such-bucket-anywhere/x: 404"):
        list(list_keys("gs://no-such-bucket-anywhere/x", fetch_options(spark), Names("*"), Tally()))


def embed(*arguments: object) -> int:
    return jobs.run("batch_embed", "--model", jobs.model("demo-embedder"), *arguments)


@pytest.mark.slow  # a guide's test embeds from and to a bucket
def test_batch_embed_reads_keys_and_a_folder_and_writes_to_the_bucket_and_goes_on(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, capsys: Any
) -> None:
    home = f"gs://{gcs_bucket.name}"
    for seed, name in enumerate(ODD):
        put(gcs_bucket, f"fruits/pe ar/{name}", scene_jpeg(seed))
    put(gcs_bucket, "fruits/pe ar/cut.jpg", scene_jpeg(1)[:2000])

    assert embed("--keys", f"{home}/fruits/", "--output", f"{home}/by-keys") == 0
    put(gcs_bucket, "fruits/pe ar/later.jpg", scene_jpeg(9))
    capsys.readouterr()
    assert embed("--keys", f"{home}/fruits/", "--output", f"{home}/by-keys") == 0
    assert "embedded 1, failed 0" in capsys.readouterr().out
    assert embed("--images", f"{home}/fruits", "--output", f"{home}/by-folder") == 0

    by_keys, by_folder = (
        {row.origin: row for row in spark.read.parquet(f"{home}/{name}").collect()}
        for name in ("by-keys", "by-folder")
    )
    names = [*ODD, "cut.jpg", "later.jpg"]
    assert sorted(by_keys) == sorted(by_folder) == sorted(f"{home}/fruits/pe ar/{n}" for n in names)
    assert {row.label for row in by_keys.values()} == {"pe ar"}
    for origin, row in by_keys.items():
        assert row.embedding == by_folder[origin].embedding
        code = "truncated" if origin.endswith("cut.jpg") else None
        assert (row.error and row.error.code) == code


def test_a_bundle_on_gs_is_loaded_and_verified(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, classifier: ModelSpec, tmp_path: Path
) -> None:
    for file in classifier.save(tmp_path / "bundle").rglob("*"):
        put(gcs_bucket, f"models/classi fier/{file.name}", file.read_bytes())

    loaded = ModelSpec.load(f"gs://{gcs_bucket.name}/models/classi fier")

    assert loaded.digest == classifier.digest
    with pytest.raises(InvalidModelError, match="cannot read gs://"):
        ModelSpec.load(f"gs://{gcs_bucket.name}/models/none")


@pytest.mark.slow
def test_week_nines_classifier_writes_json_lines_below_its_output_path(
    spark: SparkSession,
    gcs: Gcs,
    gcs_bucket: Any,
    kafka: Any,
    topic: str,
    producer: Any,
    classifier: ModelSpec,
    tmp_path: Path,
) -> None:
    for file in classifier.save(tmp_path / "bundle").rglob("*"):
        put(gcs_bucket, f"models/classifier/{file.name}", file.read_bytes())
    for number in range(3):
        image = base64.b64encode(scene_jpeg(number)).decode()
        message = {"image_id": f"{number}", "image_data": image, "timestamp": "2026-11-21T08:00:00"}
        jobs.produce(producer, topic, json.dumps(message).encode())
    home = f"gs://{gcs_bucket.name}"

    code = jobs.run(
        "stream_classify",
        *("--input-source", "kafka", "--kafka-servers", kafka.bootstrap_servers),
        *("--kafka-topic", topic, "--starting-offsets", "earliest"),
        *("--model-type", "custom", "--model-gcs-path", f"{home}/models/classifier"),
        *("--checkpoint", f"{home}/checkpoints/streaming", "--trigger-seconds", "available-now"),
        *("--output-gcs-path", f"{home}/outputs/predictions"),
    )

    assert code == 0
    listed = gcs_bucket.list_blobs(prefix="outputs/predictions/batch_id=")
    files = [blob for blob in listed if blob.name.endswith(".json")]
    lines = [line for file in files for line in file.download_as_bytes().splitlines()]
    assert sorted(json.loads(line)["image_id"] for line in lines) == ["0", "1", "2"]
    assert any("/batch_id=0/part-00000-" in file.name for file in files)


@contextmanager
def streaming(
    root: Path, gcs: Gcs, home: str, log: Path, *, conf: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """``stream_detect`` from and to the bucket, checkpoint and all, as a process of its own.

    Of the server it knows the variable that Google's clients go by, and nothing else.
    """
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.jars": ",".join(str(jar) for jar in jars.files("gs")),
    }
    flags = [word for pair in settings.items() for word in ("--conf", "=".join(pair))]
    command = [
        *(str(Path(sys.executable).parent / "spark-submit"), *flags, *conf),
        *(str(root / "jobs" / "stream_detect.py"), *detect_flags(root, home, "2")),
    ]
    environment = {**job_environment(), "PYTHONPATH": str(root), **gcs.environment()}
    with in_own_session(command, log, environment) as process:
        yield process


def detect_flags(root: Path, home: str, files: str) -> list[str]:
    return [
        *("--input", f"{home}/frames", "--model", str(root / "models" / "demo-detector")),
        *("--output", f"{home}/out", "--checkpoint", f"{home}/checkpoint"),
        *("--dead-letters", f"{home}/letters", "--max-files-per-trigger", files),
        *("--trigger", "available-now"),
    ]


def batches_in(bucket: Any) -> set[str]:
    return {name.split("/")[1] for name in names_in(bucket, "out/batch_id=")}


@pytest.mark.slow
def test_a_killed_stream_goes_on_from_its_checkpoint_on_gs_with_each_file_once(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, root: Path, tmp_path: Path
) -> None:
    home, count = f"gs://{gcs_bucket.name}", 30
    for number in range(count - 1):
        put(gcs_bucket, f"frames/front/{number}.jpg", scene_jpeg(number % 3))
    put(gcs_bucket, "frames/front/broken #1.jpg", b"no picture")
    log = tmp_path / "log"

    for kills in range(1, 4):
        with streaming(root, gcs, home, log) as process:
            deadline = time.monotonic() + 120
            while len(batches_in(gcs_bucket)) < 3 * kills:
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(0.05)
    assert len(batches_in(gcs_bucket)) < count // 2
    assert int(jobs.run("stream_detect", *detect_flags(root, home, "20"))) == 0

    rows = spark.read.parquet(f"{home}/out").collect()
    assert Counter(row.origin.rsplit("/", 1)[-1] for row in rows) == Counter(
        {**{f"{number}.jpg": 1 for number in range(count - 1)}, "broken #1.jpg": 1}
    )
    letters = spark.read.parquet(f"{home}/letters").collect()
    assert [letter.origin.rsplit("/", 1)[-1] for letter in letters] == ["broken #1.jpg"]
    assert not any("lease/" in name for name in names_in(gcs_bucket))


@pytest.mark.slow
def test_googles_credentials_stand_in_nothing_that_a_job_leaves(
    gcs: Gcs, gcs_bucket: Any, root: Path, tmp_path: Path
) -> None:
    home, left = f"gs://{gcs_bucket.name}", tmp_path / "left"
    (left / "events").mkdir(parents=True)
    put(gcs_bucket, "frames/front/1.jpg", scene_jpeg(1))
    secrets = {
        name: f"planted-{name}-9f3a" for name in ("client.secret", "refresh.token", "private.key")
    }
    conf = {
        "spark.hadoop.fs.gs.auth.client.secret": secrets["client.secret"],
        "spark.hadoop.fs.gs.auth.refresh.token": secrets["refresh.token"],
        "spark.hadoop.fs.gs.auth.service.account.private.key": secrets["private.key"],
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (left / "events").as_uri(),
        "spark.log.level": "INFO",
    }
    flags = tuple(word for pair in conf.items() for word in ("--conf", "=".join(pair)))

    with streaming(root, gcs, home, left / "log", conf=flags) as process:
        code = process.wait(120)

    assert code == 0, (left / "log").read_text()[-3000:]
    assert "detected 1" in (left / "log").read_text()
    assert list((left / "events").iterdir())
    assert leaks(secrets, left) == []
