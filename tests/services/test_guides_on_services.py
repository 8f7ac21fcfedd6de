"""Commands of README.md and the guides that need Kafka, as they stand in the text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import client_runs as clients
import guides
import job_runs as jobs
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from job_environment import job_environment
from local_services.gcs import Gcs
from local_services.kafka import Kafka
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec

CURL = {"event_type": "purchase_sword", "User-Agent": "curl/7.47.0"}
KNIFE = {**CURL, "event_type": "purchase_knife", "description": "very sharp knife"}
GUILD = {"event_type": "join_guild", "metadata": {"guild": "thieves", "members": 12}}
# The messages of docs/events.md's example.
EVENTS = [
    *(b"default", b"purchased_sword", b'{"event_type": "default"}'),
    *(json.dumps(event).encode() for event in (CURL, KNIFE, GUILD)),
    *(b'{"event_type": "defau', b""),
]


@pytest.fixture
def make_topics(kafka: Kafka) -> Callable[..., None]:
    """Topics of these names, with one partition; ``make services`` has those of the jobs."""

    def make(*names: str) -> None:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        for made in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
            made.result(timeout=30)

    return make


def shell(text: str, folder: Path) -> str:
    """Run lines of a guide by a shell that has entered this environment; what they print.

    ``folder`` is like the checkout, and has what they write.
    """
    for name in ("jobs", "models", "scripts"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(guides.ROOT / name)
    environment = job_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_readme_md_first_frames_go_to_kafka_and_their_results_come_back(
    kafka: Kafka, make_topics: Callable[..., None], consumer: Consumer, tmp_path: Path
) -> None:
    make_topics("pycturestream", "resultstream")
    port = kafka.bootstrap_servers.rpartition(":")[2]
    words = {"9092": port, ". .venv/bin/activate\n": ""}
    text = guides.block("README.md", ". .venv/bin/activate", words).text

    printed = shell(text, tmp_path)

    assert "produce: frames 60, sent 60, dropped 0, failed 0 to pycturestream" in printed
    assert "stream_detect: frames in 60, detected 60, failed 0" in printed
    results = [json.loads(m.value()) for m in jobs.consume(consumer, "resultstream", 60)]
    assert len(results) == 60
    assert {result["camera_id"] for result in results} == {f"camera-{n}" for n in range(4)}
    assert sum(len(result["objects"]) for result in results) > 60


def test_cameras_md_drawn_scenes_and_simulated_images_go_to_kafka(
    kafka: Kafka,
    new_topic: Callable[..., str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    frames, images = new_topic(), new_topic()
    words = {"127.0.0.1:9092": kafka.bootstrap_servers, "/tmp/bucket": f"{tmp_path}/bucket"}
    [drawn] = guides.block("cameras.md", "pyspark-vision produce --source drawn", words).commands
    [simulated] = guides.block("cameras.md", "pyspark-vision simulate", words).commands

    assert guides.run(f"{drawn} --kafka-topic {frames}") == 0
    assert guides.run(f"{simulated} --kafka-topic {images}") == 0

    of_frames, of_images, of_objects = map(clients.counts, capfd.readouterr().out.splitlines())
    assert of_frames["captured"] == 10
    assert of_images["captured"] == of_objects["captured"] == 6
    sent = {topic: clients.in_topic(kafka.bootstrap_servers, topic) for topic in (frames, images)}
    assert len(sent[frames]) == of_frames["sent"] > 0
    assert len(sent[images]) == of_images["sent"] > 0
    assert len(list((tmp_path / "bucket" / "input-images").iterdir())) == of_objects["sent"] > 0


def test_gcs_md_images_go_to_a_bucket_and_are_embedded_and_classified(
    spark: SparkSession,
    gcs: Gcs,
    classifier: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint_url)
    bucket = gcs.client().create_bucket("images")
    words = {"models/": f"{guides.ROOT}/models/", "jobs/": f"{guides.ROOT}/jobs/"}
    simulate, embed = guides.block("gcs.md", "pyspark-vision simulate", words).commands

    assert guides.run(simulate) == 0
    assert guides.run(embed) == 0
    assert "images in 8, embedded 8, failed 0" in capfd.readouterr().out

    blobs = list(bucket.list_blobs(prefix="input-images/"))
    rows = [
        (f"gs://images/{blob.name}", blob.generation + (n == 0)) for n, blob in enumerate(blobs)
    ]
    announced = spark.createDataFrame(rows, "uri string, generation bigint")
    names: dict[str, Any] = {"announced": announced, "model": classifier}
    exec(guides.block("gcs.md", "from pyspark_vision").text, names)
    errors = [row.result.error and row.result.error.code for row in names["results"].collect()]
    assert sorted(errors, key=str) == [*[None] * 7, "fetch_replaced"]


def test_events_md_the_example_prints_what_the_guide_shows(
    spark: SparkSession,
    kafka: Kafka,
    make_topics: Callable[..., None],
    producer: Producer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_topics("events")
    jobs.produce(producer, "events", *EVENTS)
    words = {**guides.paths(tmp_path), "127.0.0.1:9092": kafka.bootstrap_servers}
    begins = "$ scripts/submit jobs/extract_events.py -- --kafka"
    text = guides.block("events.md", begins, words).text
    [(submitted, counted, read, table)] = re.findall(
        r"\A\$ (scripts/submit .*?)\n(extract_events: .*?)\n\$ (python .*?\)')\n(.*)\Z",
        text,
        re.DOTALL,
    )

    assert guides.run(submitted.replace("\\\n", " ")) == 0

    assert capsys.readouterr().out.splitlines()[-1] == counted
    assert shell(read, tmp_path) == table

    servers = f" -- --kafka-servers {kafka.bootstrap_servers} "
    words = {**guides.paths(tmp_path / "first"), " -- ": servers}
    tables, looked_at = guides.block("events.md", "scripts/submit", words).commands
    assert guides.run(tables) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("extract_events: messages in 8, ")
    stop = " --trigger available-now --starting-offsets earliest"
    assert guides.run(f"{looked_at}{stop}") == 0
    assert "events/0/0 " in capsys.readouterr().out


def test_events_api_md_requests_have_the_answers_that_the_guide_shows(
    kafka: Kafka, make_topics: Callable[..., None], tmp_path: Path
) -> None:
    topic = f"events-{uuid.uuid4().hex}"
    make_topics(topic)
    words = {"127.0.0.1:9092": kafka.bootstrap_servers}
    [command] = guides.block("events_api.md", "pyspark-vision events-api", words).commands
    api = subprocess.Popen(
        [f"{Path(sys.executable).parent}/{command} --port 0 --kafka-topic {topic}"],
        shell=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert api.stdout is not None
        place = re.search(r"127\.0\.0\.1:\d+", api.stdout.readline())
        assert place is not None
        text = guides.block("events_api.md", "$ curl", {"127.0.0.1:5000": place[0]}).text
        commands, shown = re.findall(r"^\$ (.*)$", text, re.M), re.findall(r"^[^$].*$", text, re.M)
        # A broker's first transaction of all takes its time, and would be "kept".
        shell(f"until {commands[0]} -sf; do sleep 0.5; done", tmp_path)

        printed = [shell(f"{one} -s", tmp_path).strip() for one in commands]
    finally:
        os.killpg(api.pid, signal.SIGTERM)
        said = api.communicate(timeout=60)[0]

    of_any = re.compile(r"[0-9a-f]{12}-\d+")
    assert [of_any.sub("ID", line) for line in printed] == [of_any.sub("ID", s) for s in shown]
    assert said.startswith("events-api: events ")


def test_streams_md_and_clusters_md_letters_are_replayed(
    spark: SparkSession,
    kafka: Kafka,
    make_topics: Callable[..., None],
    topic: str,
    producer: Producer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dead = f"dead-{uuid.uuid4().hex}"
    make_topics(dead)
    jobs.produce(producer, topic, bytes(2000), b"not a frame")
    code = jobs.run(
        "stream_detect",
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic, "--keep-all"),
        *("--starting-offsets", "earliest", "--trigger", "available-now", "--sink", "console"),
        *("--max-message-bytes", 1000, "--dead-letters", f"kafka:{dead}"),
        *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
    )
    assert code == 0
    servers = dict.fromkeys(("127.0.0.1:9092", "broker:9092"), kafka.bootstrap_servers)
    words = {**guides.paths(tmp_path), "dead-frames": dead, **servers}
    [replay] = guides.block("streams.md", "pyspark-vision replay", words).commands
    submitted = guides.block("clusters.md", "scripts/submit replay", words).commands[0]
    capsys.readouterr()

    assert guides.run(replay) == 0
    assert "replay: 1 letters put back (too_many_bytes 1)" in capsys.readouterr().out
    assert guides.run(submitted) == 0
    assert "replay: 0 letters put back" in capsys.readouterr().out
