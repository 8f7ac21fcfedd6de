"""stream_detect on a real broker: PyctureStream's messages in and out, made and read without it."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from local_services.kafka import Kafka
from local_services.s3 import S3
from pictures import scene_jpeg
from PIL import Image
from pyspark.sql import SparkSession
from stream_progress import observed_batches


def frame(seed: int, camera_id: str = "front", timestamp: str | None = None) -> bytes:
    """As PyctureStream's producer writes it: ``json.dumps`` of these three, in this order."""
    message = {
        "image": base64.b64encode(scene_jpeg(seed)).decode("utf-8"),
        "timestamp": timestamp or dt.datetime.now().isoformat(),
        "camera_id": camera_id,
    }
    return json.dumps(message).encode("utf8")


def ago(seconds: float) -> str:
    return (dt.datetime.now() - dt.timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def detect(
    spark: SparkSession, kafka: Kafka, topic: str, new_topic: Callable[..., str], tmp_path: Path
) -> Callable[..., int]:
    """Runs the job on what is in the topic; results go to the topic ``detect.results``."""

    def run(*more: object) -> int:
        return jobs.run(
            "stream_detect",
            *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
            *("--starting-offsets", "earliest", "--trigger", "available-now"),
            *("--output-kafka-topic", run.results, "--time-zone", _zone()),  # type: ignore[attr-defined]
            *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
            *more,
        )

    run.results = new_topic()  # type: ignore[attr-defined]
    return run


def _zone() -> str:
    """The zone in which this process's naive times are, as a fixed offset."""
    offset = dt.datetime.now().astimezone().strftime("%z")
    return f"{offset[:3]}:{offset[3:]}"


def test_a_result_has_pycturestreams_fields_types_and_an_annotated_jpeg(
    detect: Any, topic: str, producer: Producer, consumer: Consumer, capsys: Any
) -> None:
    sent = [frame(seed, timestamp="2026-11-21T08:00:00.123456") for seed in (1, 2)]
    sent.append(frame(3, "back", "2026-11-21T08:00:01"))
    jobs.produce(producer, topic, *sent)

    code = detect("--keep-all")

    messages = jobs.consume(consumer, detect.results, 3)
    by_offset = {message.key().decode().split("-")[-4]: message for message in messages}
    assert code == 0
    assert len(messages) == len({message.key() for message in messages}) == 3
    first = json.loads(messages[0].value())
    assert set(first) == {"timestamp", "camera_id", "objects", "image", "model_name"}
    results = [json.loads(message.value()) for message in messages]
    assert sorted((r["timestamp"], r["camera_id"]) for r in results) == [
        ("2026-11-21T08:00:00.123456", "front"),
        ("2026-11-21T08:00:00.123456", "front"),
        ("2026-11-21T08:00:01", "back"),
    ]
    objects = [one for result in results for one in result["objects"]]
    assert len(objects) > 3
    for one in objects:
        assert set(one) == {"label", "score", "sector", "box", "class_id"}
        assert isinstance(one["label"], str)
        assert 0.5 < one["score"] <= 1
        assert round(one["score"], 2) == one["score"]
        xmin, ymin, xmax, ymax = one["box"]
        vertical = ("top", "middle", "bottom")[min(int((ymin + ymax) / 2 * 3), 2)]
        horizontal = ("left", "center", "right")[min(int((xmin + xmax) / 2 * 3), 2)]
        assert one["sector"] == [vertical, horizontal]
    for result in results:
        picture = Image.open(io.BytesIO(base64.b64decode(result["image"], validate=True)))
        assert (picture.format, picture.size) == ("JPEG", (320, 240))
    assert by_offset
    assert "stream_detect: frames in 3, detected 3, failed 0" in capsys.readouterr().out


def test_the_key_of_a_result_is_topic_partition_offset_model(
    detect: Any, topic: str, producer: Producer, consumer: Consumer, detector: Any
) -> None:
    jobs.produce(producer, topic, frame(1), frame(2), partition=1)

    assert detect("--keep-all") == 0

    keys = sorted(message.key().decode() for message in jobs.consume(consumer, detect.results, 2))
    model = f"{detector.name}@{detector.digest[:12]}"
    assert keys == [f"{topic}-1-{offset}-{model}" for offset in (0, 1)]


def test_the_newest_frame_of_each_camera_is_detected_and_the_rest_counted(
    detect: Any, topic: str, producer: Producer, consumer: Consumer, capsys: Any
) -> None:
    newest = {"front": ago(-1), "back": ago(-2)}
    frames = [
        frame(1, "front", ago(3600)),
        frame(2, "front", ago(0)),
        frame(3, "front", newest["front"]),
        frame(4, "back", newest["back"]),
        frame(5, "back", ago(-1)),
        b"not a frame",
    ]
    jobs.produce(producer, topic, *frames)

    code = detect()

    results = [json.loads(m.value()) for m in jobs.consume(consumer, detect.results, 2)]
    assert code == 0
    assert {r["camera_id"]: r["timestamp"] for r in results} == newest
    out = capsys.readouterr()
    assert (
        "frames in 6, detected 2, failed 1 (bad_message 1), dropped 3 (stale 1, superseded 2)"
    ) in out.out
    assert "--dead-letters keeps them" in out.err


def test_all_frames_are_detected_but_those_above_an_age_that_is_named(
    detect: Any, topic: str, producer: Producer, capsys: Any
) -> None:
    frames = [frame(1, "front", ago(age_s)) for age_s in (3600, 3, 2, 1)]
    jobs.produce(producer, topic, *frames, b"not a frame")

    code = detect("--keep-all", "--max-age", 600)

    assert code == 0
    said = "frames in 5, detected 3, failed 1 (bad_message 1), dropped 1 (stale 1)"
    assert said in capsys.readouterr().out


def test_timestamps_are_read_in_the_named_zone(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    sent = ["2026-07-01T12:00:00.5", "2026-12-01T12:00:00", "2026-07-01T12:00:00Z"]
    jobs.produce(producer, topic, *[frame(1, timestamp=text) for text in sent])

    code = detect(
        *("--keep-all", "--sink", "parquet", "--output", tmp_path / "out"),
        *("--time-zone", "Europe/Zurich"),
    )

    rows = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["offset"])
    assert code == 0
    # Spark's Parquet holds UTC without saying so.
    assert [row["timestamp"].isoformat() for row in rows] == [
        "2026-07-01T10:00:00.500000",
        "2026-12-01T11:00:00",
        "2026-07-01T12:00:00",
    ]


def test_events_have_one_line_per_object_and_one_for_nothing(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    gray = io.BytesIO()
    Image.new("RGB", (320, 240), (127, 127, 127)).save(gray, "JPEG")
    empty = {
        "image": base64.b64encode(gray.getvalue()).decode(),
        "timestamp": "2026-11-21T08:00:00",
        "camera_id": "hall",
    }
    sent = [json.dumps(empty).encode(), frame(1, timestamp="2026-11-21T08:00:00.25")]
    jobs.produce(producer, topic, *sent)

    code = detect(
        *("--keep-all", "--sink", "events", "parquet"),
        *("--output-events", tmp_path / "events", "--output", tmp_path / "out"),
    )

    files = (tmp_path / "events").glob("batch_id=*/*.json")
    events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    rows = {row["camera_id"]: row for row in pq.read_table(tmp_path / "out").to_pylist()}
    # As PyctureStream has it: rounded first, then compared.
    found = rows["front"]["detections"]
    labels = [one["label"] for one in found if round(one["score"], 2) > 0.5]
    assert code == 0
    assert [event for event in events if event["camera_id"] == "hall"] == [
        {
            "event_type": "Nothing detected",
            "timestamp": "2026-11-21 08:00:00.000000",
            "camera_id": "hall",
        }
    ]
    assert [event["event_type"] for event in events if event["camera_id"] == "front"] == labels
    assert len(labels) > 0


@pytest.mark.every_spark
def test_a_restarted_job_goes_on_where_it_was(
    detect: Any, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    arguments = ("--keep-all", "--sink", "parquet", "--output", tmp_path / "out")
    jobs.produce(producer, topic, frame(1), frame(2))
    assert detect(*arguments) == 0
    jobs.produce(producer, topic, frame(3))
    capsys.readouterr()

    assert detect(*arguments) == 0

    assert "frames in 1, detected 1" in capsys.readouterr().out
    offsets = [row["offset"] for row in pq.read_table(tmp_path / "out").to_pylist()]
    assert sorted(offsets) == [0, 1, 2]


def test_many_sinks_get_one_inference(
    detect: Any,
    spark: SparkSession,
    topic: str,
    new_topic: Callable[..., str],
    producer: Producer,
    tmp_path: Path,
) -> None:
    jobs.produce(producer, topic, *[frame(seed) for seed in range(6)], b"{")
    with observed_batches(spark) as batches:
        code = detect(
            *("--keep-all", "--sink", "parquet", "json", "kafka", "events", "console"),
            *("--output", tmp_path / "out", "--output-json", tmp_path / "json"),
            *("--output-events", tmp_path / "events", "--dead-letters", f"kafka:{new_topic()}"),
        )

    assert code == 0
    # Counted behind the model: a sink that had its results computed again would count again.
    assert [(batch["rows"], batch["model_rows"]) for batch in batches] == [(7, 6)]


@pytest.mark.parametrize("payload", ["image", "uri"])
def test_frames_come_as_bytes_or_as_claim_checks_too(
    payload: str,
    detect: Any,
    s3: S3,
    s3_client: Any,
    bucket: str,
    topic: str,
    producer: Producer,
    tmp_path: Path,
) -> None:
    s3_client.put_object(Bucket=bucket, Key="frames/1.jpg", Body=scene_jpeg(1))
    s3_client.put_object(Bucket=bucket, Key="secret/2.jpg", Body=scene_jpeg(2))
    now = dt.datetime.now().isoformat()
    claims = [f"s3://{bucket}/frames/{name}" for name in ("1.jpg", "none.jpg")]
    claims.append(f"s3://{bucket}/secret/2.jpg")
    sent: dict[str, list[Any]] = {
        "image": [("front", scene_jpeg(1)), ("front", b"no picture"), (None, b"")],
        "uri": [
            json.dumps({"image": uri, "timestamp": now, "camera_id": "front"}).encode()
            for uri in claims
        ],
    }
    expected = {
        "image": [None, "unsupported_format", "empty_input"],
        "uri": [None, "fetch_not_found", "fetch_denied"],
    }
    jobs.produce(producer, topic, *sent[payload])

    code = detect(
        *("--payload", payload, "--uri-prefix", f"s3://{bucket}/frames"),
        *("--keep-all", "--sink", "parquet", "--output", tmp_path / "out"),
    )

    rows = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["offset"])
    assert code == 0
    assert [row["error"] and row["error"]["code"] for row in rows] == expected[payload]
    assert rows[0]["camera_id"] == "front"
    assert len(rows[0]["detections"]) > 0


def test_cameras_without_text_and_the_hour_of_autumn_reach_every_sink_apart(
    detect: Any,
    spark: SparkSession,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    times = [dt.datetime(2026, 10, 25, hour, 30, tzinfo=dt.UTC) for hour in (0, 1)]
    for key, moment in zip((b"\xff", b"\xfe"), times, strict=True):
        moment_ms = int(moment.timestamp() * 1000)
        producer.produce(topic, scene_jpeg(1), key, 0, timestamp=moment_ms)
    producer.produce(topic, b"no picture", b"\xfd", 0, timestamp=int(times[1].timestamp() * 1000))
    assert producer.flush(60) == 0
    outputs = {name: tmp_path / name for name in ("parquet", "json", "events", "letters")}
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Zurich")
    try:
        code = detect(
            *("--payload", "image", "--keep-all", "--time-zone", "UTC"),
            *("--sink", "parquet", "json", "events", "kafka", "console"),
            *("--output", outputs["parquet"], "--output-json", outputs["json"]),
            *("--output-events", outputs["events"], "--dead-letters", outputs["letters"]),
        )
    finally:
        spark.conf.set("spark.sql.session.timeZone", before or "UTC")

    def lines(name: str) -> list[Any]:
        files = sorted(outputs[name].glob("batch_id=*/*.json"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    assert code == 0
    rows = sorted(pq.read_table(outputs["parquet"]).to_pylist(), key=lambda row: row["offset"])
    apart = [("%FF", times[0]), ("%FE", times[1]), ("%FD", times[1])]
    # Spark's Parquet holds UTC without saying so.
    assert [(r["camera_id"], r["timestamp"].replace(tzinfo=dt.UTC)) for r in rows] == apart
    from_json = [
        (row["camera_id"], dt.datetime.fromisoformat(row["timestamp"])) for row in lines("json")
    ]
    assert sorted(from_json) == sorted(apart)
    assert {(event["camera_id"], event["timestamp"]) for event in lines("events")} == {
        ("%FF", "2026-10-25 00:30:00.000000"),
        ("%FE", "2026-10-25 01:30:00.000000"),
    }
    sent = [json.loads(m.value()) for m in jobs.consume(consumer, detect.results, 2)]
    assert {(result["camera_id"], result["timestamp"]) for result in sent} == {
        ("%FF", "2026-10-25T00:30:00.000000"),
        ("%FE", "2026-10-25T01:30:00.000000"),
    }
    [letter] = pq.read_table(outputs["letters"]).to_pylist()
    assert (letter["key"], letter["timestamp"].replace(tzinfo=dt.UTC)) == (b"\xfd", times[1])
    assert "! unsupported_format" in capsys.readouterr().out


def test_a_data_uri_is_read_like_base64(
    detect: Any, topic: str, producer: Producer, tmp_path: Path
) -> None:
    message = json.loads(frame(1))
    message["picture"] = "data:image/jpeg;base64," + message.pop("image")
    jobs.produce(producer, topic, json.dumps(message).encode())

    code = detect(
        *("--image-field", "picture", "--keep-all"),
        *("--sink", "parquet", "--output", tmp_path / "out"),
    )

    [row] = pq.read_table(tmp_path / "out").to_pylist()
    assert code == 0
    assert row["error"] is None
    assert len(row["detections"]) > 0


def test_a_broker_that_does_not_answer_is_said_and_not_zero(
    spark: SparkSession, tmp_path: Path, capsys: Any
) -> None:
    properties = tmp_path / "kafka.properties"
    properties.write_text("default.api.timeout.ms=2000\nrequest.timeout.ms=1000\n")

    code = jobs.run(
        "stream_detect",
        *("--kafka-servers", "127.0.0.1:1", "--kafka-topic", "none", "--kafka-config", properties),
        *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
        *("--trigger", "available-now"),
    )

    assert code == 1
    assert "stream_detect: failed: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_on_s3_is_watched_and_each_file_read_once(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str, tmp_path: Path, capsys: Any
) -> None:
    for seed in range(3):
        s3_client.put_object(Bucket=bucket, Key=f"in/front/{seed}.jpg", Body=scene_jpeg(seed))
    arguments = [
        *("--input", f"s3a://{bucket}/in", "--output", f"s3a://{bucket}/out"),
        *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
        *("--trigger", "available-now", "--max-files-per-trigger", 2),
    ]
    assert jobs.run("stream_detect", *arguments) == 0
    s3_client.put_object(Bucket=bucket, Key="in/back/9.jpg", Body=b"no picture")
    capsys.readouterr()

    assert jobs.run("stream_detect", *arguments) == 0

    rows = spark.read.parquet(f"s3a://{bucket}/out").collect()
    assert "frames in 1, detected 0, failed 1 (unsupported_format 1)" in capsys.readouterr().out
    assert sorted((row.camera_id, row.origin.rsplit("/", 1)[-1]) for row in rows) == [
        ("back", "9.jpg"),
        *(("front", f"{seed}.jpg") for seed in range(3)),
    ]
