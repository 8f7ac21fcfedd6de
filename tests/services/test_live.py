"""`pyspark-vision live` as a process on a real broker, with a real browser."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_cameras
import guides
import job_runs as jobs
import pytest
from confluent_kafka import Consumer, Producer
from job_environment import job_environment
from kafka_topics import make_topic
from live_pages import chromium
from local_services import jars
from local_services.kafka import Kafka
from local_services.process import wait_until
from playwright.sync_api import Browser, expect

from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.live import feed
from pyspark_vision.clients.live.feed import Feed, Record

# As the page promises; what is slow here is the browser.
SEEN_WITHIN_MS = 5000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@contextmanager
def live(*flags: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on a free port; its process and the address that it prints."""
    words = [sys.executable, "-m", "pyspark_vision.cli.main", "live", "--no-open", "--port", "0"]
    process = subprocess.Popen(
        [*words, *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=job_environment(),
    )
    try:
        assert process.stdout is not None
        printed = process.stdout.readline()
        address = re.search(r"http://\S+", printed)
        assert address is not None, process.communicate(timeout=10)[1]
        yield process, address.group()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def sending(kafka: Kafka, frames: str, results: str) -> Iterator[None]:
    """A camera of five frames a second, and results, until the end of the block."""
    frame = fake_cameras.drawn(2, 0, (320, 240))
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0})
    stopping = threading.Event()

    def send() -> None:
        while not stopping.wait(0.2):
            timestamp = fake_cameras.timestamp_now()
            producer.produce(frames, fake_cameras.frame_text("hall", timestamp, frame))
            producer.produce(results, fake_cameras.result_text("hall", timestamp, frame))
            producer.poll(0)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        producer.purge()


@pytest.mark.slow
def test_brokers_that_go_and_come_are_seen_on_the_page_and_ctrl_c_ends_it_at_once(
    kafka: Kafka, browser: Browser
) -> None:
    frames, results = (make_topic(kafka.bootstrap_servers, 1) for _ in range(2))
    topics = ("--kafka-topic", frames, "--result-topic", results)
    with (
        sending(kafka, frames, results),
        live("--kafka-servers", kafka.bootstrap_servers, *topics) as (process, address),
    ):
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("#sign-job b")).to_have_text("sends results", timeout=30_000)
        expect(page.locator("#cameras .found li").first).to_contain_text("balloon 97%")
        kafka.broker.kill()
        try:
            away = page.locator("#alerts", has_text="Kafka is away since")
            expect(away).to_be_visible(timeout=SEEN_WITHIN_MS)
            expect(page.locator(".camera.silent")).to_be_visible(timeout=15_000)
        finally:
            kafka.broker.start()
        expect(page.locator("#sign-kafka b")).to_have_text("connected", timeout=SEEN_WITHIN_MS)
        expect(page.locator(".camera.live")).to_be_visible(timeout=SEEN_WITHIN_MS)
        expect(page.locator("#alerts p")).to_have_count(0)

        began_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)

        assert time.monotonic() - began_at < 3
        assert (process.returncode, errors) == (0, "")
        expect(page.locator("#sign-page b")).to_have_text("server away")
        page.close()


def test_a_job_that_ceases_to_send_is_said_within_five_seconds(
    kafka: Kafka, browser: Browser, producer: Producer
) -> None:
    frames, results = (make_topic(kafka.bootstrap_servers, 1) for _ in range(2))
    topics = ("--kafka-topic", frames, "--result-topic", results)
    elsewhere = make_topic(kafka.bootstrap_servers, 1)
    with live("--kafka-servers", kafka.bootstrap_servers, *topics) as (_, address):
        page = browser.new_page()
        page.goto(address)
        with sending(kafka, frames, results):
            expect(page.locator("#sign-job b")).to_have_text("sends results", timeout=30_000)
        with sending(kafka, frames, elsewhere):
            expect(page.locator("#sign-job b")).to_have_text("silent", timeout=SEEN_WITHIN_MS)
            expect(page.locator("#alerts")).to_contain_text("the job is silent")
        page.close()


@pytest.fixture
def reading(kafka: Kafka) -> Iterator[Callable[..., tuple[Feed, list[Record]]]]:
    """Starts a feed of topics; what it reads comes into a list."""
    feeds: list[Feed] = []

    def read(*topics: str) -> tuple[Feed, list[Record]]:
        records: list[Record] = []
        made = Feed(Brokers(kafka.bootstrap_servers), dict.fromkeys(topics, records.append))
        made.start()
        feeds.append(made)
        return made, records

    yield read
    for made in feeds:
        made.stop()


def test_the_last_hundred_that_were_there_are_past_and_what_comes_is_not(
    kafka: Kafka, producer: Producer, reading: Callable[..., tuple[Feed, list[Record]]]
) -> None:
    topic = make_topic(kafka.bootstrap_servers, 1)
    jobs.produce(producer, topic, *(b"%d" % n for n in range(300)))
    made, records = reading(topic)
    assert wait_until(lambda: len(records) == 100, timeout_s=20)
    jobs.produce(producer, topic, b"new")
    assert wait_until(lambda: len(records) == 101, timeout_s=10)

    assert [record.value for record in records] == [*(b"%d" % n for n in range(200, 300)), b"new"]
    assert [record.is_past for record in records] == [True] * 100 + [False]
    assert made.records_in(topic) in (300, 301)


@pytest.mark.slow
def test_a_topic_that_is_missing_is_named_and_read_when_it_is_there(
    kafka: Kafka, producer: Producer, reading: Callable[..., tuple[Feed, list[Record]]]
) -> None:
    there = make_topic(kafka.bootstrap_servers, 1)
    later = f"{there}-later"
    made, records = reading(there, later)
    assert wait_until(lambda: made.status.missing == (later,), timeout_s=20)

    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(later, 2, 1)])[later].result(timeout=30)
    assert wait_until(lambda: made.status.missing == (), timeout_s=20)
    jobs.produce(producer, later, b"a")
    jobs.produce(producer, there, b"b")

    assert wait_until(lambda: sorted(r.value or b"" for r in records) == [b"a", b"b"], timeout_s=20)


def test_a_reader_that_is_far_behind_goes_on_with_the_newest(
    kafka: Kafka, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_MOST_BEHIND", 500)
    topic = make_topic(kafka.bootstrap_servers, 1)
    records: list[Record] = []
    sleeps, wakes = threading.Event(), threading.Event()

    def sleep_first(record: Record) -> None:  # as a machine that slept
        sleeps.set()
        wakes.wait(20)
        records.append(record)

    slow = Feed(Brokers(kafka.bootstrap_servers), {topic: sleep_first})
    slow.start()
    try:
        jobs.produce(producer, topic, b"first")
        assert sleeps.wait(20)
        jobs.produce(producer, topic, *(b"%d" % n for n in range(3000)))
        wakes.set()
        assert wait_until(lambda: bool(records) and records[-1].value == b"2999", timeout_s=20)
    finally:
        slow.stop()

    assert slow.status.skipped > 0
    assert len(records) + slow.status.skipped == 3001


@pytest.mark.parametrize("number", [0, 1])
def test_live_md_the_commands_serve_the_page(kafka: Kafka, number: int) -> None:
    block = [block for block in guides.blocks() if block.guide == "live.md"][number]
    [command] = block.commands
    command = command.replace("127.0.0.1:9092", kafka.bootstrap_servers)

    with live(*shlex.split(command)[2:]) as (_, address), urllib.request.urlopen(address) as answer:
        assert b"<h1>Live</h1>" in answer.read()


@pytest.mark.slow
def test_the_button_puts_letters_back_by_a_real_replay(
    kafka: Kafka, browser: Browser, producer: Producer, consumer: Consumer, tmp_path: Path
) -> None:
    frames, results, dead = (make_topic(kafka.bootstrap_servers, 1) for _ in range(3))
    origin = {"origin": f"kafka:{frames}/0/0", "topic": frames, "partition": "0", "offset": "0"}
    fields = {**origin, "error_code": "bad_message", "error_message": "it is not JSON"}
    headers: dict[str, str | bytes | None] = {
        f"pyspark_vision.{name}": text for name, text in fields.items()
    }
    producer.produce(dead, b"no frame", headers=headers)
    producer.flush(10)
    flags = ("--dead-letters", f"kafka:{dead}", "--replay-checkpoint", tmp_path / "checkpoint")
    spark = ("--conf", f"spark.jars={','.join(map(str, jars.files('kafka')))}")
    topics = ("--kafka-topic", frames, "--result-topic", results)
    servers = ("--kafka-servers", kafka.bootstrap_servers)
    with live(*servers, *topics, *flags, *spark) as (_, address):
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Put back", exact=True).click(timeout=30_000)
        page.get_by_role("button", name="Put them back").click()
        note = page.locator("#put-back-note")
        expect(note).to_contain_text("1 letters put back (bad_message 1)", timeout=120_000)
        page.close()

    assert [message.value() for message in jobs.consume(consumer, frames, 1)] == [b"no frame"]
