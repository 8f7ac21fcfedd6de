"""The dashboard over S3, HDFS and a live topic of real servers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from dashboard_rows import row, write_batch
from local_services.gcs import Gcs
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from local_services.s3 import REGION, S3

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.dashboard.answers import Choice, answer, examples
from pyspark_vision.clients.dashboard.folder import Folder
from pyspark_vision.clients.dashboard.live_topic import LiveTopic
from pyspark_vision.clients.dashboard.places import find_place
from pyspark_vision.clients.dashboard.source import PictureMissing, Source

JPEG = "/9j/4AAQ"


def counted(source: Source) -> dict[str, int]:
    return dict(answer(source.status.summary, Choice(), "hour").events)


def test_results_in_s3_are_counted_and_new_ones_seen(
    s3_server: S3, s3_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.credentials.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    bucket = f"dash-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    first = write_batch(tmp_path, 0, [row(labels=("cat", "dog"))])
    second = write_batch(tmp_path, 1, [row(labels=("dog",))])
    s3_client.upload_file(str(first), bucket, "out/batch_id=0/part-0.parquet")
    folder = Folder(find_place(f"s3a://{bucket}/out"), "UTC")

    folder.look()
    assert (counted(folder), folder.status.notes) == ({"cat": 1, "dog": 1}, ())
    s3_client.upload_file(str(second), bucket, "out/batch_id=1/part-0.parquet")
    s3_client.put_object(Bucket=bucket, Key="out/batch_id=2/part-0.parquet", Body=b"no")
    folder.look()
    assert counted(folder) == {"cat": 1, "dog": 2}
    assert "part-0.parquet: it is no Parquet file" in folder.status.notes[0]
    [example] = examples(folder.status.summary, Choice(), ["cat"], failed=False)
    with pytest.raises(PictureMissing, match="the rows hold no picture"):
        folder.picture(example)
    folder.close()


def test_results_in_cloud_storage_are_counted(
    gcs_server: Gcs, gcs_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint_url)
    file = write_batch(tmp_path, 0, [row(labels=("cat", "dog"))])
    gcs_bucket.blob("o ut#1/batch_id=0/part-0.parquet").upload_from_filename(str(file))
    folder = Folder(find_place(f"gs://{gcs_bucket.name}/o ut#1"), "UTC")

    folder.look()

    assert (counted(folder), folder.status.notes) == ({"cat": 1, "dog": 1}, ())
    folder.close()


def test_cloud_storage_without_the_folder_is_said_in_one_line(
    gcs_server: Gcs,
    gcs_bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint_url)

    assert pyspark_vision(["dashboard", f"gs://{gcs_bucket.name}/none", "--no-open"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pyspark-vision dashboard: gs://{gcs_bucket.name}/none is not there")


def test_s3_refuses_a_wrong_key_in_one_line(
    s3_server: S3,
    s3_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket = f"dash-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL", s3_server.endpoint_url),
    ):
        monkeypatch.setenv(name, value)

    assert pyspark_vision(["dashboard", f"s3://{bucket}/out", "--no-open"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pyspark-vision dashboard: s3://{bucket}/out: access denied")


@pytest.mark.parametrize("scheme", ["hdfs", pytest.param("webhdfs", marks=pytest.mark.slow)])
def test_results_in_hdfs_are_counted(
    scheme: str, hdfs: Hdfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    where = f"/dash-{uuid.uuid4().hex}"
    write_batch(tmp_path, 0, [row(labels=("cat", "dog"))])
    hdfs.shell("-mkdir", "-p", f"{where}/detections")
    hdfs.shell("-put", tmp_path / "batch_id=0", f"{where}/detections/")
    root = hdfs.fs_uri if scheme == "hdfs" else hdfs.namenode_url.replace("http:", "webhdfs:")
    folder = Folder(find_place(f"{root}{where}/detections"), "UTC")

    folder.look()

    assert (counted(folder), folder.status.notes) == ({"cat": 1, "dog": 1}, ())
    folder.close()


def result(camera: str, *labels: str, at: datetime, image: str | None = JPEG) -> bytes:
    objects = [{"label": one, "score": 0.9, "sector": ["top", "left"]} for one in labels]
    fields = {"timestamp": at.isoformat(), "camera_id": camera, "objects": objects}
    return json.dumps({**fields, "image": image} if image else fields).encode()


def looked_until(source: Source, is_there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_there():
        assert time.monotonic() < until, source.status.notes
        source.look()


def test_a_live_topic_is_counted_within_its_window(
    kafka: Kafka, topic: str, producer: Producer
) -> None:
    now = datetime.now(UTC)
    old = int((now - timedelta(hours=3)).timestamp() * 1000)
    producer.produce(topic, result("hall", "ghost", at=now), timestamp=old)
    producer.produce(topic, result("hall", "cat", "dog", at=now - timedelta(seconds=2)))
    producer.produce(topic, result("yard", at=now, image=None))
    producer.produce(topic, b"no result")
    producer.flush(30)
    live = LiveTopic(Brokers(kafka.bootstrap_servers), topic, 3600.0, "UTC")
    try:
        looked_until(live, lambda: "no results" in "".join(live.status.notes))
        looked_until(live, lambda: len(counted(live)) == 3)

        assert counted(live) == {"cat": 1, "dog": 1, "Nothing detected": 1}
        assert live.status.notes[0].startswith("1 messages are no results and were left out")
        whole = answer(live.status.summary, Choice(), "hour")
        [latency] = [one for one in whole.latencies if one.camera == "hall"]
        assert latency.definition == "camera to result"
        assert latency.p50 == pytest.approx(2000, rel=0.5)
        [example] = examples(live.status.summary, Choice(), ["cat"], failed=False)
        assert live.picture(example).encoded[:3] == b"\xff\xd8\xff"

        producer.produce(topic, result("hall", "cat", at=now))
        producer.flush(30)
        looked_until(live, lambda: counted(live)["cat"] == 2)
    finally:
        live.close()


def test_an_empty_topic_says_so_and_a_missing_one_is_refused(
    kafka: Kafka, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveTopic(Brokers(kafka.bootstrap_servers), topic, 600.0, "UTC")
    said = f"No result in the last 10 minutes of {topic}."
    # A new topic's partitions may have no leader yet, which is said first.
    looked_until(live, lambda: any(note.startswith(said) for note in live.status.notes))
    live.close()

    servers = ["--kafka-servers", kafka.bootstrap_servers]
    assert pyspark_vision(["dashboard", "kafka:not-there", "--no-open", *servers]) == 2
    assert "topic not-there does not exist" in capsys.readouterr().err
