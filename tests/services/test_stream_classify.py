"""stream_classify on a real broker: week 9's messages in and out, made and read without it."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from image_messages import image_message
from killed_workers import last_line
from local_services import jars
from local_services.hdfs import Hdfs
from local_services.kafka import Kafka
from pictures import encoded, scene_jpeg
from PIL import Image
from pyspark.sql import SparkSession

COLUMNS = [
    *("image_id", "timestamp", "metadata", "prediction_id", "label", "confidence", "model_name"),
    *("processing_time_ms", "error_message", "image_size_bytes", "processed_at"),
]


@pytest.fixture
def classify(
    spark: SparkSession, kafka: Kafka, topic: str, new_topic: Callable[..., str], tmp_path: Path
) -> Callable[..., int]:
    """Runs the job on what is in the topic; results go to the topic ``classify.results``."""

    def run(*more: object, model: object = None) -> int:
        return jobs.run(
            "stream_classify",
            *("--input-source", "kafka", "--kafka-servers", kafka.bootstrap_servers),
            *("--kafka-topic", topic, "--starting-offsets", "earliest"),
            *("--model-type", "custom", "--model-gcs-path", model or jobs.model("demo-classifier")),
            *("--checkpoint", tmp_path / "checkpoint", "--trigger-seconds", "available-now"),
            *("--output-kafka-topic", run.results),  # type: ignore[attr-defined]
            *more,
        )

    run.results = new_topic()  # type: ignore[attr-defined]
    return run


@pytest.mark.every_spark
def test_results_have_week_nines_columns_and_types_under_the_prediction_id(
    classify: Any, topic: str, producer: Producer, consumer: Consumer, classifier: Any, capsys: Any
) -> None:
    good = scene_jpeg(3)
    sent = [
        image_message("one", good),
        image_message("cut", good[:1500]),
        (b"by-key", json.dumps({"image_data": base64.b64encode(good).decode()}).encode()),
    ]
    jobs.produce(producer, topic, *sent)

    code = classify()

    messages = jobs.consume(consumer, classify.results, 3)
    results = {json.loads(m.value())["image_id"]: json.loads(m.value()) for m in messages}
    one, cut = results["one"], results["cut"]
    assert code == 0
    assert len(messages) == len(results) == 3
    for message in messages:
        result = json.loads(message.value())
        assert list(result) == [*COLUMNS, "below_threshold"]
        assert message.key().decode() == result["prediction_id"]
        assert str(uuid.UUID(result["prediction_id"])) == result["prediction_id"]
    assert one["timestamp"] == "2026-11-21T08:00:00.123456"
    assert one["metadata"] == {"source": "simulator", "sequence": "1"}
    assert one["label"] in dict(classifier.labels).values()
    assert isinstance(one["confidence"], float)
    assert 0.1 <= one["confidence"] <= 1
    assert one["model_name"] == classifier.name
    assert isinstance(one["processing_time_ms"], int)
    assert one["processing_time_ms"] >= 0
    assert one["error_message"] is None
    assert one["image_size_bytes"] == len(good)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(one["processed_at"])
    assert abs(age.total_seconds()) < 120
    assert one["below_threshold"] is False
    assert (cut["label"], cut["confidence"]) == (None, None)
    assert cut["error_message"].startswith("truncated: ")
    assert results["by-key"]["metadata"] is None
    assert "images in 3, classified 2, failed 1 (truncated 1)" in capsys.readouterr().out


def test_a_replayed_batch_sends_the_same_prediction_ids(
    classify: Any, topic: str, producer: Producer, consumer: Consumer, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, image_message("one", scene_jpeg(3)))
    assert classify() == 0
    # A driver that dies after its sinks and before Spark's commit leaves exactly this.
    for name in ("0", ".0.crc"):
        (tmp_path / "checkpoint" / "commits" / name).unlink()

    assert classify() == 0

    keys = [message.key() for message in jobs.consume(consumer, classify.results, 2)]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_result_is_sent_before_the_next_pictures_of_its_task_are_looked_at(
    classify: Any, topic: str, producer: Producer, consumer: Consumer
) -> None:
    # Few bytes and many pixels: decoding one takes longer than sending all results. In two
    # batches: the first one's results wait for Spark's code and for the producer to be made. The
    # first half of a batch is one task's.
    large = encoded(Image.new("RGB", (4000, 3000), "teal"), "PNG")
    jobs.produce(producer, topic, *(image_message(str(number), large) for number in range(16)))

    assert classify("--max-offsets-per-trigger", 8) == 0

    sent_ms, took_ms = {}, {}
    for message in jobs.consume(consumer, classify.results, 16):
        result = json.loads(message.value())
        _, sent_ms[result["image_id"]] = message.timestamp()
        took_ms[result["image_id"]] = result["processing_time_ms"]
    assert sent_ms["11"] - sent_ms["8"] > took_ms["11"] > 0


def test_labels_below_the_threshold_are_kept_and_marked(
    classify: Any, topic: str, producer: Producer, consumer: Consumer
) -> None:
    jobs.produce(producer, topic, image_message("one", scene_jpeg(3)))

    assert classify("--confidence-threshold", "1.0") == 0

    [message] = jobs.consume(consumer, classify.results, 1)
    result = json.loads(message.value())
    assert result["below_threshold"] is True
    assert result["label"] is not None
    assert result["confidence"] < 1


def test_results_go_to_json_files_the_console_and_dead_letters_too(
    classify: Any, topic: str, producer: Producer, tmp_path: Path, capsys: Any
) -> None:
    jobs.produce(producer, topic, image_message("one", scene_jpeg(3)), (b"bad", b"{"))

    code = classify(
        *("--output-gcs-path", tmp_path / "json", "--console"),
        *("--dead-letters", tmp_path / "letters"),
    )

    files = (tmp_path / "json").glob("batch_id=*/*.json")
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    [letter] = pq.read_table(tmp_path / "letters").to_pylist()
    assert code == 0
    assert {row["image_id"] for row in rows} == {"one", "bad"}
    assert list(rows[0]) == [*COLUMNS, "below_threshold"]
    assert (letter["payload"], letter["key"], letter["topic"]) == (b"{", b"bad", topic)
    assert (letter["partition"], letter["offset"]) == (0, 1)
    assert letter["error_code"] == "bad_message"
    assert "! bad_message: the message is not a JSON object" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["savedmodel", pytest.param("h5", marks=pytest.mark.slow)])
def test_a_custom_savedmodel_or_h5_is_read_by_uri(
    kind: str,
    spark: SparkSession,
    classify: Any,
    hdfs: Hdfs,
    topic: str,
    producer: Producer,
    consumer: Consumer,
    tmp_path: Path,
) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    local = tmp_path / ("model.h5" if kind == "h5" else "model")
    if kind == "h5":
        model.save(local)
    else:
        model.export(local, verbose=False)
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nblue\n")
    jvm: Any = spark._jvm
    target = jvm.org.apache.hadoop.fs.Path(f"{hdfs.fs_uri}/models/{tmp_path.name}/{local.name}")
    file_system = target.getFileSystem(spark._jsc.hadoopConfiguration())
    file_system.copyFromLocalFile(jvm.org.apache.hadoop.fs.Path(local.as_uri()), target)
    jobs.produce(producer, topic, image_message("one", scene_jpeg(3)))

    family = ("--model-type", "mobilenet_v2")  # how pixels are prepared
    code = classify("--labels", labels, *family, model=target.toString())

    [message] = jobs.consume(consumer, classify.results, 1)
    result = json.loads(message.value())
    assert code == 0
    assert result["error_message"] is None
    assert result["label"] in ("red", "green", "blue")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input-source", "pubsub"], "--input-source pubsub needs --pubsub-subscription"),
        (["--pubsub-subscription", "s"], "--pubsub-subscription is given and --input-source is"),
        (["--input-source", "both", "--subscription", "sub"], "needs its project"),
        (["--output-bq-table", "t"], "'t' is no table: give PROJECT.DATASET.TABLE"),
        (["--output-bq-table", "d.t"], "the project is missing; give PROJECT.d.t"),
        (
            ["--bq-write", "storage"],
            "--bq-write storage is for --output-bq-table",
        ),
        (["--bq-add-columns"], "--bq-add-columns is for --output-bq-table"),
    ],
)
def test_google_clouds_parts_are_answered_with_one_clear_line(
    arguments: list[str], said: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as exit_:
        jobs.run("stream_classify", "--checkpoint", "c", *arguments)

    assert exit_.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_model_name_lists_the_choices(
    spark: SparkSession, tmp_path: Path, capsys: Any
) -> None:
    code = jobs.run("stream_classify", "--checkpoint", tmp_path, "--model-type", "inception_v9")

    assert code == 2
    assert "choose custom, or a name of keras.applications" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stream_whose_workers_are_killed_ends_with_memory_in_its_last_line(
    kafka: Kafka, topic: str, producer: Producer, root: Path, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, image_message("one", scene_jpeg(3)))
    line = last_line(
        *(root, tmp_path, "stream_classify", "--console", "--input-source", "kafka"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--starting-offsets", "earliest", "--checkpoint", str(tmp_path / "checkpoint")),
        *("--model-type", "custom", "--model-gcs-path", str(jobs.model("demo-classifier"))),
        conf={"spark.jars": ",".join(map(str, jars.files("kafka"))), "spark.master": "local[2]"},
    )
    assert line.startswith("stream_classify: memory ran out")
    assert "a worker on litert holds about" in line
    assert "--master local[N]" in line
