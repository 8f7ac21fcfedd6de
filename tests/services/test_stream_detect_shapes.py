"""stream_detect with bundles of masks, points, faces and text: each sink has all that is found."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer
from face_models import save_yunet
from local_services.kafka import Kafka
from onnx_models import save_colors, save_poser
from PIL import Image
from pyspark.sql import SparkSession
from tiny_text_reader import picture, save_text_reader

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients.stream_messages import read_result
from pyspark_vision.contact_sheet.sheet import build_contact_sheet

BEFORE = {"label", "score", "sector", "box", "class_id"}


def segmenter(folder: Path) -> ModelSpec:
    path = save_colors(folder / "colors.onnx")
    labels = ["red", "green", "blue"]
    fields = {"normalization": "none", "score_kind": "logit"}
    return ModelSpec.inspect(path, task="segment", labels=labels, **fields)


def poser(folder: Path) -> ModelSpec:
    return ModelSpec.inspect(save_poser(folder / "poser.onnx"), resize="stretch")


def faces(folder: Path) -> ModelSpec:
    return ModelSpec.inspect(save_yunet(folder / "faces.onnx"))


def reader(folder: Path) -> ModelSpec:
    return ModelSpec.inspect(save_text_reader(folder / "reader"))


def frame(image: Image.Image, number: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    fields = {
        "image": base64.b64encode(file.getvalue()).decode("ascii"),
        "timestamp": f"2026-11-21T08:00:0{number}",
        "camera_id": "hall",
    }
    return json.dumps(fields).encode()


# Model, the column of rows, fields that objects have beside PyctureStream's and ours, labels.
KINDS: dict[str, tuple[Callable[[Path], ModelSpec], str, set[str], set[str]]] = {
    "masks": (segmenter, "segments", BEFORE | {"area", "mask"}, {"red", "blue"}),
    "points": (poser, "poses", BEFORE - {"box"} | {"keypoints"}, {"#0"}),
    "faces": (faces, "detections", BEFORE | {"keypoints"}, {"face"}),
    "text": (reader, "lines", BEFORE - {"class_id"} | {"corners"}, {"ab"}),
}


@pytest.mark.parametrize(
    "kind",
    [
        "masks",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("points", "faces", "text")),
    ],
)
def test_all_that_a_bundle_finds_is_in_rows_messages_events_and_pictures(
    kind: str,
    spark: SparkSession,
    kafka: Kafka,
    topic: str,
    new_topic: Callable[..., str],
    producer: Producer,
    consumer: Consumer,
    tmp_path: Path,
    capsys: Any,
) -> None:
    make, value, fields, labels = KINDS[kind]
    bundle = make(tmp_path).save(tmp_path / "bundle")
    half = Image.new("RGB", (160, 80), "red")
    half.paste((0, 0, 255), (80, 0, 160, 80))
    image = picture(("ab", (40, 40), 0)) if kind == "text" else half
    jobs.produce(producer, topic, frame(image, 1), frame(image, 2), b"{")
    results = new_topic()

    code = jobs.run(
        "stream_detect",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic, "--keep-all"),
        *("--starting-offsets", "earliest", "--trigger", "available-now", "--time-zone", "UTC"),
        *("--model", bundle, "--checkpoint", tmp_path / "checkpoint"),
        *("--sink", "kafka", "parquet", "json", "events", "console", "--annotate"),
        *("--output-kafka-topic", results, "--output", tmp_path / "out"),
        *("--output-json", tmp_path / "json", "--output-events", tmp_path / "events"),
        *("--dead-letters", tmp_path / "dead"),
    )

    said = capsys.readouterr().out
    assert code == 0, said
    assert "frames in 3, detected 2, failed 1 (bad_message 1)" in said
    rows = [row for row in pq.read_table(tmp_path / "out").to_pylist() if row["error"] is None]
    sent = [json.loads(message.value()) for message in jobs.consume(consumer, results, 2)]
    assert len(rows) == len(sent) == 2
    for row, message in zip(rows, sent, strict=True):
        assert len(message["objects"]) == len(row[value]) > 0
        assert {one["label"] for one in message["objects"]} == labels
        assert all(set(one) == fields for one in message["objects"])
        assert all(one.has_place for one in read_result(json.dumps(message).encode()).objects)
        drawn = Image.open(io.BytesIO(base64.b64decode(message["image"]))).convert("RGB")
        assert drawn.size == image.size
        assert drawn.tobytes() != image.tobytes()
    lines = [
        json.loads(line)
        for file in (tmp_path / "json").rglob("*.json")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    found = len(rows[0][value])
    assert [len(line[value]) for line in lines if line["error"] is None] == [found] * 2
    events = [
        json.loads(line)["event_type"]
        for file in (tmp_path / "events").rglob("*.json")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len(events) == 2 * found
    assert set(events) == labels
    assert f"{topic}/0/0" in said
    assert all(label in said for label in labels)
    counts = build_contact_sheet(tmp_path / "out", tmp_path / "sheet.html")
    assert (counts.with_results, counts.failed) == (2, 1)
