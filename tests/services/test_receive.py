"""`pyspark-vision receive` on a real broker: what it shows and keeps, and what it survives."""

from __future__ import annotations

import base64
import json
import os
import random
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dashboard_cells
import guides
import job_runs as jobs
import pandas as pd
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from kafka_topics import make_topic
from local_services.kafka import Kafka
from local_services.process import wait_until
from pictures import scene_jpeg
from pyspark.sql import SparkSession
from receiving import (
    command,
    events_in,
    keyed_result,
    pycturestream_result,
    receiving,
    refused,
)
from small_disk import small_disk

KILLS, SEED = 20, int(os.environ.get("SEED", "23"))


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events.json"


@pytest.fixture
def servers(kafka: Kafka) -> str:
    return kafka.bootstrap_servers


def wait_for_events(path: Path, count: int) -> None:
    def has_them() -> bool:
        return path.exists() and len(events_in(path)) >= count

    assert wait_until(has_them, timeout_s=60), events_in(path)


def types(path: Path) -> list[str]:
    return [event["event_type"] for event in events_in(path)]


@pytest.mark.slow
def test_results_of_pycturestream_and_of_stream_detect_are_shown_and_kept(
    spark: SparkSession,
    servers: str,
    topic: str,
    new_topic: Callable[..., str],
    producer: Producer,
    events: Path,
    tmp_path: Path,
) -> None:
    results, jpeg = new_topic(partitions=1), scene_jpeg(1)
    own = pycturestream_result("hall", "2026-11-21T08:00:00", "person", "cat", jpeg=jpeg)
    nothing = pycturestream_result("hall", "2026-11-21T08:00:03.250000", jpeg=jpeg)
    jobs.produce(producer, results, own, nothing)
    frame = {"image": base64.b64encode(jpeg).decode(), "timestamp": "2026-11-21T08:00:06"}
    jobs.produce(producer, topic, json.dumps({**frame, "camera_id": "yard"}).encode())
    code = jobs.run(
        "stream_detect",
        *("--kafka-servers", servers, "--kafka-topic", topic, "--keep-all"),
        *("--starting-offsets", "earliest", "--trigger", "available-now"),
        *("--output-kafka-topic", results, "--model", jobs.model("demo-detector")),
        *("--checkpoint", tmp_path / "checkpoint"),
    )
    assert code == 0
    flags = ("--events", events, "--keep-output", tmp_path / "pictures", "--from", "earliest")

    with receiving(tmp_path, servers, results, *flags) as receiver:
        wait_for_events(events, 4)
        last = receiver.stop()

    lines = receiver.printed.read_text().splitlines()
    assert lines[:2] == [
        "2026-11-21 08:00:00.000 hall: person 0.93 (top left), cat 0.93 (top left)",
        "2026-11-21 08:00:03.250 hall: Nothing detected",
    ]
    assert lines[2].startswith("2026-11-21 08:00:06.000 yard: ")
    objects = len(lines[2].split(", "))
    assert len(lines) == 3
    assert last == f"receive: messages in 3, results 3 ({3 + objects} events)"
    assert events_in(events)[:3] == [
        {"event_type": label, "timestamp": f"2026-11-21 08:00:{at}", "camera_id": "hall"}
        for label, at in (
            ("person", "00.000000"),
            ("cat", "00.000000"),
            ("Nothing detected", "03.250000"),
        )
    ]
    frame_events = dashboard_cells.read_events(events)
    assert dashboard_cells.histogram(frame_events, "weekday") == {"Saturday": 3 + objects}
    assert (tmp_path / "pictures" / "hall" / "output.jpg").read_bytes() == jpeg
    annotated = (tmp_path / "pictures" / "yard" / "output.jpg").read_bytes()
    assert annotated.startswith(b"\xff\xd8")
    assert annotated != jpeg


class Readers:
    """Reads an events file over and over, as `json.load` and as pandas do."""

    def __init__(self, path: Path) -> None:
        self.path, self.reads = path, 0
        self.errors: list[Exception] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Readers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._done.wait(0.01):
            try:
                if self.path.exists():
                    assert isinstance(events_in(self.path), list)
                    if self.reads % 10 == 0:
                        pd.read_json(self.path)
                    self.reads += 1
            except Exception as error:
                self.errors.append(error)


@pytest.mark.slow
def test_killed_twenty_times_it_has_each_event_once_and_is_readable_at_every_moment(
    servers: str, topic: str, producer: Producer, consumer: Consumer, events: Path, tmp_path: Path
) -> None:
    chance, stop = random.Random(SEED), threading.Event()

    def send() -> None:
        repeated = random.Random(SEED)
        number = 0
        while not stop.wait(0.005):
            # As a replayed batch: some results are sent again, under the same key.
            numbers = [number, *([repeated.randrange(number + 1)] if number % 10 == 0 else [])]
            for sent in numbers:
                key, value = keyed_result(sent, *(("person",) * (sent % 3)))
                producer.produce(topic, value, key, sent % 2)
            if number % 50 == 0:
                producer.produce(topic, b"no result", None, 0)
            producer.poll(0)
            number += 1

    sender = threading.Thread(target=send)
    with Readers(events) as readers:
        sender.start()
        try:
            for number in range(KILLS):
                flags = ("--events", events, "--from", "earliest")
                with receiving(tmp_path, servers, topic, *flags) as receiver:
                    if number % 2:  # the others may be killed before they read anything
                        receiver.wait_for("goes on with")
                    time.sleep(chance.uniform(0, 1.5))
        finally:
            stop.set()
            sender.join()
        assert producer.flush(60) == 0
        expected = Counter(
            json.dumps(event)
            for message in _distinct(consumer, topic)
            for event in _events_of(message)
        )
        with receiving(tmp_path, servers, topic, "--events", events) as receiver:
            wait_for_events(events, expected.total())
            receiver.stop()

    assert readers.errors == []
    assert readers.reads > 50
    assert Counter(map(json.dumps, events_in(events))) == expected
    assert expected.total() > 500


def _distinct(consumer: Consumer, topic: str) -> Iterator[bytes]:
    """The values of a topic's results, of each key one."""
    known = set()
    for message in jobs.consume(consumer, topic, 1):
        if message.key() is not None and message.key() not in known:
            known.add(message.key())
            yield message.value()


def _events_of(value: bytes) -> list[dict[str, str]]:
    """By hand, as the format says."""
    result = json.loads(value)
    labels = [item["label"] for item in result["objects"]] or ["Nothing detected"]
    timestamp = result["timestamp"].replace("T", " ")
    return [
        {"event_type": label, "timestamp": timestamp, "camera_id": result["camera_id"]}
        for label in labels
    ]


def test_receive_md_the_example_keeps_events_and_pictures(
    servers: str, topic: str, producer: Producer, tmp_path: Path
) -> None:
    words = {
        "127.0.0.1:9092": servers,
        "resultstream": topic,
        "build/": f"{tmp_path}/build/",
    }
    [line] = guides.block("receive.md", "pyspark-vision receive", words).commands
    flags = shlex.split(line)[2:]
    assert flags[:4] == ["--kafka-servers", servers, "--kafka-topic", topic]

    with receiving(tmp_path, servers, topic, *flags[4:]) as receiver:
        receiver.wait_for("goes on with")
        jobs.produce(producer, topic, keyed_result(0, "cat"))
        wait_for_events(tmp_path / "build" / "events.json", 1)
        assert receiver.stop() == "receive: messages in 1, results 1 (1 events)"


def test_what_is_no_result_is_counted_and_shown_with_its_place(
    servers: str, producer: Producer, events: Path, tmp_path: Path, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(partitions=1)
    good = pycturestream_result("hall", "2026-11-21T08:00:00", "cat")
    bad: list[bytes | None] = [
        *(None, b"", b"{", b"[]", b"\xff", b"[" * 100_000),
        pycturestream_result("hall", "yesterday", "cat"),
        pycturestream_result("", "2026-11-21T08:00:00"),
        good.replace(b"0.93", b"1" * 400),
        good.replace(b"0.93", b"NaN"),
        good.replace(b'"image": ""', b'"image": "%%"'),
    ]
    jobs.produce(producer, topic, *bad, good)

    with receiving(tmp_path, servers, topic, "--events", events, "--from", "earliest") as receiver:
        wait_for_events(events, 1)
        last = receiver.stop()

    assert (
        last == f"receive: messages in {len(bad) + 1}, results 1 (1 events), malformed {len(bad)}"
    )
    said = receiver.said.read_text().splitlines()
    assert said[1] == f"receive: no result: {topic}-0 at offset 0: it has no value"
    assert len(said) == 3
    assert types(events) == ["cat"]


def test_only_the_cameras_that_were_asked_for_and_no_repeats(
    servers: str, topic: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    first, second, other = keyed_result(0, "cat"), keyed_result(3, "dog"), keyed_result(1, "car")
    flags = ("--events", events, "--from", "earliest", "--cameras", "camera-0")
    jobs.produce(producer, topic, first, other, first)
    with receiving(tmp_path, servers, topic, *flags) as receiver:
        wait_for_events(events, 1)
        assert receiver.stop() == (
            "receive: messages in 3, results 1 (1 events), repeats 1, other cameras 1"
        )

    # Known after a restart, too.
    jobs.produce(producer, topic, first, second, partition=1)
    with receiving(tmp_path, servers, topic, *flags) as receiver:
        wait_for_events(events, 2)
        assert receiver.stop() == "receive: messages in 2, results 1 (1 events), repeats 1"

    assert types(events) == ["cat", "dog"]


def test_hostile_names_are_neither_paths_nor_steer_a_terminal(
    servers: str, topic: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    cameras = ["../../x", "/etc/passwd", "..", "a\x1b[2J\nb", "\ud800", "x" * 5_000]
    sent = [
        pycturestream_result(camera, "2026-11-21T08:00:00", "\x1b]0;t\x07", jpeg=b"\xff\xd8")
        for camera in cameras
    ]
    jobs.produce(producer, topic, *sent)
    pictures = tmp_path / "a" / "b" / "pictures"
    flags = ("--events", events, "--keep-output", pictures, "--from", "earliest")

    with receiving(tmp_path, servers, topic, *flags) as receiver:
        wait_for_events(events, len(cameras))
        receiver.stop()

    kept = list(pictures.rglob("output.jpg"))
    assert len(kept) == len(cameras)
    assert all(file.parent.parent == pictures for file in kept)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]
    assert len(receiver.printed.read_text().splitlines()) == len(cameras)
    assert receiver.printed.read_text().replace("\n", "").isprintable()


def test_a_new_file_begins_with_what_comes_from_now_on(
    servers: str, topic: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, keyed_result(0, "old"))

    with receiving(tmp_path, servers, topic, "--events", events) as receiver:
        receiver.wait_for("goes on with")
        jobs.produce(producer, topic, keyed_result(1, "new"))
        wait_for_events(events, 1)
        receiver.stop()

    assert types(events) == ["new"]


def test_the_group_shows_kafkas_tools_how_far_the_file_is(
    servers: str, topic: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    jobs.produce(producer, topic, *(keyed_result(number) for number in range(3)))
    flags = ("--events", events, "--from", "earliest", "--group", topic)
    with receiving(tmp_path, servers, topic, *flags) as receiver:
        wait_for_events(events, 3)
        receiver.stop()

    reader = Consumer({"bootstrap.servers": servers, "group.id": topic})
    [committed] = reader.committed([TopicPartition(topic, 0)], timeout=30)
    reader.close()
    assert committed.offset == 3


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_a_signal_keeps_what_came_and_ends_with_the_counts(
    number: signal.Signals,
    servers: str,
    topic: str,
    producer: Producer,
    events: Path,
    tmp_path: Path,
) -> None:
    with receiving(tmp_path, servers, topic, "--events", events) as receiver:
        receiver.wait_for("goes on with")
        jobs.produce(producer, topic, keyed_result(1, "cat"))
        receiver.wait_for("cat 0.93")
        receiver.process.send_signal(number)
        receiver.process.send_signal(number)  # a terminal and who started it: one wish
        assert receiver.process.wait(timeout=30) == 0

    assert types(events) == ["cat"]
    assert receiver.said.read_text().splitlines()[-1].endswith("results 1 (1 events)")


def test_a_reader_of_the_console_who_leaves_costs_no_event(
    servers: str, topic: str, producer: Producer, events: Path
) -> None:
    jobs.produce(producer, topic, *(keyed_result(number, "cat") for number in range(500)))
    flags = ("--events", events, "--from", "earliest")
    with subprocess.Popen(
        command(servers, topic, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as receiver:
        assert receiver.stdout is not None
        receiver.stdout.read(10)
        receiver.stdout.close()
        wait_for_events(events, 500)
        jobs.produce(producer, topic, keyed_result(500, "cat"))
        wait_for_events(events, 501)
        receiver.terminate()
        assert receiver.wait(timeout=30) == 0


@pytest.mark.slow
def test_a_console_that_is_on_a_full_disk_ends_it_with_one_line_and_costs_no_event(
    servers: str, topic: str, producer: Producer, events: Path
) -> None:
    jobs.produce(producer, topic, keyed_result(0, "cat"))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(servers, topic, "--events", events, "--from", "earliest"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    *_, counts, error = done.stderr.splitlines()
    assert done.returncode == 1
    assert counts == "receive: messages in 1, results 1 (1 events)"
    assert error == "receive: standard output cannot be written: No space left on device"
    assert types(events) == ["cat"]


def test_the_console_alone_ends_when_nobody_reads_it(
    servers: str, topic: str, producer: Producer
) -> None:
    jobs.produce(producer, topic, *(keyed_result(number, "cat") for number in range(5)))
    line = '"$@" | head -n 2; echo "${PIPESTATUS[0]}"'
    piped = subprocess.run(
        ["bash", "-c", line, "bash", *command(servers, topic, "--from", "earliest")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    *shown, code = piped.stdout.splitlines()
    assert [text[-19:] for text in shown] == [": cat 0.93 (top left)"[-19:]] * 2
    assert code == "0"


@pytest.mark.slow
def test_brokers_that_go_away_are_waited_for_and_nothing_is_missed(
    kafka: Kafka, servers: str, topic: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    with receiving(tmp_path, servers, topic, "--events", events) as receiver:
        receiver.wait_for("goes on with")
        jobs.produce(producer, topic, keyed_result(0, "before"))
        wait_for_events(events, 1)
        kafka.broker.kill()
        try:
            receiver.wait_for("answers any more")
        finally:
            kafka.broker.start()
        receiver.wait_for("brokers answer again")
        jobs.produce(producer, topic, keyed_result(1, "after"))
        wait_for_events(events, 2)
        receiver.stop()

    assert types(events) == ["before", "after"]
    assert receiver.said.read_text().count("answers any more") == 1


@pytest.mark.slow
def test_partitions_that_are_added_while_it_runs_are_read_from_their_beginning(
    servers: str, producer: Producer, new_topic: Callable[..., str], events: Path, tmp_path: Path
) -> None:
    topic = new_topic(partitions=1)
    with receiving(tmp_path, servers, topic, "--events", events) as receiver:
        receiver.wait_for("goes on with")
        admin = AdminClient({"bootstrap.servers": servers})
        [added] = admin.create_partitions([NewPartitions(topic, 2)]).values()
        added.result(timeout=30)

        def is_sent() -> bool:
            try:
                jobs.produce(producer, topic, keyed_result(1, "cat"), partition=1)
            except KafkaException:
                return False
            return True

        assert wait_until(is_sent, timeout_s=30)
        wait_for_events(events, 1)
        receiver.stop()

    assert types(events) == ["cat"]


def test_a_full_disk_ends_it_with_one_line_and_the_next_start_has_everything(
    servers: str, topic: str, producer: Producer, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        flags = ("--events", disk.path / "events.json", "--from", "earliest")
        jobs.produce(producer, topic, *(keyed_result(number, "cat") for number in range(10)))
        with receiving(tmp_path, servers, topic, *flags, launcher=disk.launcher) as receiver:
            receiver.wait_for("08:00:09")
            receiver.stop()
        disk.run("sh", "-c", f"dd if=/dev/zero of={disk.path}/filler bs=4k || true")
        jobs.produce(producer, topic, *(keyed_result(n, "cat") for n in range(10, 3_000)))
        with receiving(tmp_path, servers, topic, *flags, launcher=disk.launcher) as receiver:
            assert receiver.process.wait(timeout=60) == 1
        said = receiver.said.read_text().splitlines()
        disk.copy("events.json", tmp_path / "full.json")
        disk.run("rm", f"{disk.path}/filler")
        with receiving(tmp_path, servers, topic, *flags, launcher=disk.launcher) as receiver:
            receiver.wait_for("08:49:59")
            receiver.stop()
        disk.copy("events.json", tmp_path / "events.json")

    assert said[-1].startswith(f"receive: {disk.path}/events.json cannot be written: No space left")
    assert not any("Traceback" in line for line in said)
    assert len(events_in(tmp_path / "full.json")) >= 10
    timestamps = [event["timestamp"] for event in events_in(tmp_path / "events.json")]
    assert len(timestamps) == len(set(timestamps)) == 3_000


@pytest.mark.slow
def test_records_that_were_removed_before_they_were_read_are_said_and_skipped_by_choice(
    servers: str, producer: Producer, new_topic: Callable[..., str], events: Path, tmp_path: Path
) -> None:
    topic = new_topic(partitions=1)
    flags = ("--events", events, "--from", "earliest")
    jobs.produce(producer, topic, keyed_result(0, "cat"))
    with receiving(tmp_path, servers, topic, *flags) as receiver:
        wait_for_events(events, 1)
        receiver.stop()
    jobs.produce(producer, topic, *(keyed_result(number, "dog") for number in (1, 2, 3)))
    admin = AdminClient({"bootstrap.servers": servers})
    [removed] = admin.delete_records([TopicPartition(topic, 0, 3)]).values()
    removed.result(timeout=30)

    code, said = refused(servers, topic, *flags)

    assert code == 1
    assert f"receive: {topic}-0: what stood at offset 1 is not there any more" in said
    with receiving(tmp_path, servers, topic, *flags, "--skip-lost") as receiver:
        wait_for_events(events, 2)
        assert receiver.stop().endswith("results 1 (1 events); lost 2")
    assert types(events) == ["cat", "dog"]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--from", "earliest"], ["--skip-lost"]])
def test_a_topic_that_is_made_anew_ends_it_with_the_reason_and_is_not_gone_on_with(
    flags: list[str], servers: str, producer: Producer, events: Path, tmp_path: Path
) -> None:
    topic = make_topic(servers)
    with receiving(tmp_path, servers, topic, "--events", events, *flags) as receiver:
        receiver.wait_for("goes on with")
        jobs.produce(producer, topic, *(keyed_result(number, "cat") for number in range(3)))
        wait_for_events(events, 3)

        make_anew(servers, topic)
        # The new one may be behind the old one's offsets, or beyond them.
        others = Producer({"bootstrap.servers": servers})
        jobs.produce(others, topic, *(keyed_result(number, "dog") for number in range(9)))

        assert receiver.process.wait(timeout=60) == 1
        last, *_ = reversed(receiver.said.read_text().splitlines())
        assert last.startswith(f"receive: topic {topic} was made anew while it was read: its off")
        assert "Traceback" not in receiver.said.read_text()
    assert types(events)[:3] == ["cat"] * 3

    code, said = refused(servers, topic, "--events", events, *flags)

    assert code == 2
    assert "it was made anew, and its offsets began again" in said


def make_anew(servers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_topics([topic]).values():
        done.result(timeout=30)

    def is_made() -> bool:
        try:
            for made in admin.create_topics([NewTopic(topic, 2, 1)]).values():
                made.result(timeout=30)
        except KafkaException:
            return False
        return True

    assert wait_until(is_made, timeout_s=30)
    assert wait_until(lambda: topic in admin.list_topics(timeout=10).topics, timeout_s=30)


def test_what_cannot_be_read_or_written_is_one_line(
    servers: str, topic: str, events: Path, tmp_path: Path
) -> None:
    events.write_text("[]")
    (tmp_path / "notes.txt").touch()
    own = ("--events", tmp_path / "own.json")
    with receiving(tmp_path, servers, topic, *own) as first:
        first.wait_for("goes on with")
        cases = [
            (("127.0.0.1:1", topic), "no broker of --kafka-servers 127.0.0.1:1 answers"),
            ((servers, "no-such-topic"), "topic no-such-topic does not exist"),
            ((servers, topic, "--events", events), "receive did not make it"),
            ((servers, topic, "--events", tmp_path), "is a folder"),
            ((servers, topic, *own), "another receive adds to it now"),
            ((servers, topic, "--keep-output", tmp_path), "holds events.json and no mark"),
            ((servers, topic, "--from", "oldest"), "invalid choice: 'oldest'"),
        ]
        for arguments, words in cases:
            code, said = refused(*map(str, arguments))
            assert (code, len(said.splitlines())) == (2, 1), said
            assert words in said
        first.stop()
    code, said = refused(servers, topic, *map(str, own), "--group", "other")
    assert (code, len(said.splitlines())) == (2, 1), said
    assert "belongs to consumer group pyspark-vision-receive, not other" in said
    assert events.read_text() == "[]"
