"""stream_classify on objects that Cloud Storage announces over Pub/Sub, alone and beside Kafka."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guides
import job_runs as jobs
import pyarrow.parquet as pq
import pyspark
import pytest
from announced_objects import bucket_of
from confluent_kafka import Producer
from image_messages import image_message
from job_environment import job_environment
from local_services import gcs as local_gcs
from local_services.kafka import Kafka
from local_services.process import wait_until
from local_services.pubsub import PubSub
from own_session import in_own_session
from pictures import scene_jpeg
from pubsub_topics import PROJECT, Topic
from pyspark.sql import SparkSession
from service_folders import service_folder

from pyspark_vision.cli.main import main as pyspark_vision

IS_OLD = pyspark.__version__.startswith("3.")
# Before it, a Python source is not asked for all that is there.
READS_ALL_AND_ENDS = pyspark.__version__ >= "4.2"


@pytest.fixture(scope="module")
def announcing(
    pubsub: PubSub, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Topic, Any]]:
    """A topic, and a bucket whose events go there; Spark knows the server as gs://."""
    topic = Topic(pubsub.endpoint).make()
    announced = local_gcs.Notifications(pubsub.endpoint, topic.name, PROJECT)
    with (
        service_folder(tmp_path_factory, "gcs-announced") as folder,
        local_gcs.running(folder, notifications=announced) as gcs,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
        hadoop = spark._jsc.hadoopConfiguration()
        before = {key: hadoop.get(key) for key in gcs.hadoop_conf()}
        for key, value in gcs.hadoop_conf().items():
            hadoop.set(key, value)
        yield topic, bucket_of(gcs, f"b-{uuid.uuid4().hex}")
        for key, value in before.items():
            hadoop.unset(key) if value is None else hadoop.set(key, value)


def flags(tmp_path: Path, source: str, topic: Topic, trigger: str) -> list[object]:
    return [
        *("--input-source", source, "--project-id", PROJECT, "--subscription", topic.name),
        *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
        *("--checkpoint", tmp_path / "checkpoint", "--trigger-seconds", trigger),
        *("--output-gcs-path", tmp_path / "out", "--dead-letters", tmp_path / "dead"),
    ]


def run(tmp_path: Path, source: str, topic: Topic, *more: object) -> int:
    return jobs.run("stream_classify", *flags(tmp_path, source, topic, "available-now"), *more)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    files = (tmp_path / "out").glob("batch_id=*/*.json")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_objects_and_kafkas_images_are_rows_of_one_stream(
    announcing: tuple[Topic, Any],
    kafka: Kafka,
    topic: str,
    producer: Producer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    notified, bucket = announcing
    good = scene_jpeg(3)
    bucket.blob("in put/ä#1+%.jpg").upload_from_string(good, "image/jpeg")
    bucket.blob("cut.jpg").upload_from_string(good[:900], "image/jpeg")
    gone = bucket.blob("gone.jpg")
    gone.upload_from_string(good, "image/jpeg")
    gone.delete()  # which is an event of its own
    replaced = bucket.blob("replaced.jpg")
    replaced.upload_from_string(good, "image/jpeg")
    replaced.upload_from_string(scene_jpeg(4), "image/jpeg")  # an event of deletion, a new object
    jobs.produce(producer, topic, image_message("from-kafka", good))
    brokers = ("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic)

    code = run(tmp_path, "both", notified, *brokers, "--starting-offsets", "earliest")

    found = rows(tmp_path)
    by_name = {row["object_name"]: row for row in found if row["error_message"] is None}
    assert code == 0
    assert set(by_name) == {None, "in put/ä#1+%.jpg", "replaced.jpg"}
    assert by_name[None]["image_id"] == "from-kafka"
    assert by_name[None]["bucket"] is None
    assert by_name["in put/ä#1+%.jpg"]["bucket"] == bucket.name
    assert by_name["in put/ä#1+%.jpg"]["image_id"] == "in put/ä#1+%.jpg"
    assert by_name["in put/ä#1+%.jpg"]["image_size_bytes"] == len(good)
    failed = {row["object_name"]: row["error_message"].partition(":")[0] for row in found
              if row["error_message"]}  # fmt: skip
    assert failed == {
        "cut.jpg": "truncated", "gone.jpg": "fetch_not_found", "replaced.jpg": "fetch_replaced",
    }  # fmt: skip
    assert len({row["prediction_id"] for row in found}) == len(found) == 6
    said = capsys.readouterr().out
    assert "images in 8, classified 3, failed 3" in said
    assert "dropped 2 (other_event 2)" in said
    [letters] = (tmp_path / "dead").glob("batch_id=*")
    assert pq.read_table(letters).num_rows == 3

    # Its sources are the checkpoint's.
    assert run(tmp_path, "pubsub", notified) == 2
    assert "and Kafka, and this job reads" in capsys.readouterr().err.splitlines()[-1]


def test_failures_are_left_out_of_results_and_are_letters_all_the_same(
    announcing: tuple[Topic, Any], tmp_path: Path, capsys: Any
) -> None:
    notified, bucket = announcing
    good = scene_jpeg(3)
    bucket.blob("a.jpg").upload_from_string(good, "image/jpeg")
    bucket.blob("b.jpg").upload_from_string(good[:900], "image/jpeg")

    assert run(tmp_path, "pubsub", notified, "--failures", "drop") == 0

    assert [row["object_name"] for row in rows(tmp_path)] == ["a.jpg"]
    [letters] = (tmp_path / "dead").glob("batch_id=*")
    [letter] = pq.read_table(letters).to_pylist()
    assert letter["origin"].startswith(f"gs://{bucket.name}/b.jpg#")
    assert json.loads(letter["payload"])["name"] == "b.jpg"
    assert "images in 2, classified 1, failed 1 (truncated 1)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_letter_that_is_put_back_is_read_again_at_once_and_as_often_as_it_fails(
    announcing: tuple[Topic, Any], spark: SparkSession, tmp_path: Path, capsys: Any
) -> None:
    notified, bucket = announcing
    bucket.blob("of a store that was away.jpg").upload_from_string(scene_jpeg(3), "image/jpeg")
    hadoop, place = spark._jsc.hadoopConfiguration(), "fs.gs.storage.root.url"
    replay = ["replay", tmp_path / "dead", "--checkpoint", tmp_path / "replay"]
    server = hadoop.get(place)

    said = []
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:1", server):
        hadoop.set(place, url)
        assert run(tmp_path, "pubsub", notified) == 0
        said.append(capsys.readouterr().out)
        assert pyspark_vision([str(word) for word in replay]) == 0
        said[-1] += capsys.readouterr().out

    # Well within the window in which a repeat of the notification would be dropped.
    assert all("images in 1, classified 0, failed 1 (fetch_failed 1)" in one for one in said[:2])
    assert all("replay: 1 letters put back (fetch_failed 1)" in one for one in said[:2])
    assert "images in 1, classified 1, failed 0" in said[2]
    assert "replay: 0 letters put back" in said[2]
    assert [row["object_name"] for row in rows(tmp_path) if row["error_message"] is None] == [
        "of a store that was away.jpg"
    ]


def test_pubsub_md_what_is_put_into_the_bucket_is_classified(
    announcing: tuple[Topic, Any], tmp_path: Path, capsys: Any
) -> None:
    notified, bucket = announcing
    bucket.blob("of-the-guide.jpg").upload_from_string(scene_jpeg(3), "image/jpeg")
    words = {
        "local-project": PROJECT,
        "image-stream-sub": notified.name,
        "build/pubsub": str(tmp_path),
        "models/": f"{guides.ROOT}/models/",
        "jobs/": f"{guides.ROOT}/jobs/",
    }
    [command] = guides.block("pubsub.md", "scripts/submit", words).commands

    assert guides.run(f"{command} --trigger-seconds available-now") == 0

    assert "images in 1, classified 1, failed 0" in capsys.readouterr().out


def test_a_dry_run_asks_nobody_and_says_what_would_be_read(tmp_path: Path, capsys: Any) -> None:
    code = jobs.run(
        "stream_classify",
        *("--input-source", "pubsub", "--subscription", "projects/p-1/subscriptions/nobody"),
        *("--model-type", "custom", "--model-gcs-path", jobs.model("demo-classifier")),
        *("--checkpoint", tmp_path / "checkpoint", "--dry-run"),
    )

    said = capsys.readouterr().out
    assert code == 0
    assert "['projects/p-1/subscriptions/nobody']" in said
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.every_spark
@pytest.mark.skipif(IS_OLD, reason="before PySpark 4.0 there are no Python data sources")
@pytest.mark.slow
def test_a_job_reads_what_is_announced_until_it_is_asked_to_stop(
    pubsub: PubSub, gcs_server: local_gcs.Gcs, gcs_bucket: Any, root: Path, tmp_path: Path
) -> None:
    topic = Topic(pubsub.endpoint).make()
    for name in ("of cats/ä#1+%.jpg", "2.jpg"):
        gcs_bucket.blob(name).upload_from_string(scene_jpeg(3), "image/jpeg")
    for name in ("of cats/ä#1+%.jpg", "2.jpg", "gone.jpg"):
        notified = {"kind": "storage#object", "bucket": gcs_bucket.name, "name": name}
        topic.publish([json.dumps(notified).encode()], {"eventType": "OBJECT_FINALIZE"})
    conf = {"spark.master": "local[2]", "spark.ui.enabled": "false"}
    conf |= {f"spark.hadoop.{key}": value for key, value in gcs_server.hadoop_conf().items()}
    command = [sys.executable, str(root / "jobs" / "stream_classify.py")]
    command += [str(word) for word in flags(tmp_path, "pubsub", topic, "1")]
    log, environment = tmp_path / "log", {**job_environment(conf), **pubsub.environment()}

    with in_own_session(command, log, environment) as process:
        assert wait_until(lambda: len(rows(tmp_path)) >= 3, 120), log.read_text()[-3000:]
        process.terminate()
        assert process.wait(90) == 0, log.read_text()[-3000:]

    errors = {row["object_name"]: row["error_message"] for row in rows(tmp_path)}
    assert errors.pop("gone.jpg").startswith("fetch_not_found")
    assert errors == {"of cats/ä#1+%.jpg": None, "2.jpg": None}
    assert "images in 3, classified 2, failed 1 (fetch_not_found 1)" in log.read_text()
    assert wait_until(lambda: topic.left() == 0, 30)


@pytest.mark.every_spark
@pytest.mark.skipif(IS_OLD or READS_ALL_AND_ENDS, reason="Spark 4.0 and 4.1")
def test_where_a_python_source_cannot_end_available_now_is_refused_in_one_line(
    tmp_path: Path, capsys: Any
) -> None:
    nobody = Topic("127.0.0.1:1")

    assert run(tmp_path, "pubsub", nobody) == 2

    said = capsys.readouterr().err.splitlines()[-1]
    assert "--trigger-seconds available-now with Pub/Sub needs PySpark 4.2 or newer" in said
    assert not (tmp_path / "checkpoint").exists()
