"""`pyspark-vision up`: all of it starts, shows boxes, and leaves nothing behind however it ends."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import fake_cameras
import pytest
from confluent_kafka import Consumer, Producer
from local_services import proc
from local_services.process import wait_until

from pyspark_vision.clients.pycturestream import read_result
from pyspark_vision.clients.up.commands import JOB, PAGE, PRODUCER
from pyspark_vision.messages.topics import LETTER_HEADER_PREFIX

BROKER = "kafka"
# In the command line of each part.
_COMMANDS = {
    PAGE: "main live ",
    PRODUCER: "main produce ",
    JOB: "stream_detect.py ",
    BROKER: "kafka.Kafka ",
}

# On a machine with other work; `up` itself is asked for 60 s on two cores of its own.
BOXES_S = 240.0
# The job's ten seconds for its batch, and the broker's.
ENDED_S = 45.0


@dataclass
class Up:
    """A running command. ``lines``: what it has said so far."""

    process: subprocess.Popen[str]
    said: IO[str]
    lines: list[str] = field(default_factory=list)

    def says(self, words: str, timeout_s: float = 90.0) -> str:
        """The line that holds these words, once it is there."""

        def line() -> str | None:
            self.said.seek(0)
            self.lines = self.said.read().splitlines()
            return next((line for line in self.lines if words in line), None)

        ended = wait_until(lambda: line() is not None or self.process.poll() is not None, timeout_s)
        found = line()
        assert found is not None, (ended, self.lines, self.logs())
        return found

    @property
    def folder(self) -> Path:
        return Path(self.says("data and logs: ").partition("logs: ")[2])

    @property
    def page(self) -> str:
        return self.says("page: ").split()[-1]

    @property
    def servers(self) -> str:
        return self.says("Kafka: ").split()[-1]

    @property
    def ports(self) -> set[int]:
        """The broker's three, the page's and the job's."""
        properties = (self.folder / "kafka" / "server.properties").read_text()
        texts = [properties, *self.lines, *(proc.command_line(pid) for pid in self.pids())]
        return {int(port) for text in texts for port in re.findall(r"127\.0\.0\.1:(\d+)", text)}

    def pids(self) -> list[int]:
        """Of the processes that name this run's folder, or that those started."""
        named = {pid for pid, _ in proc.stats() if str(self.folder) in proc.command_line(pid)} - {
            self.process.pid
        }
        sessions = {os.getsid(pid) for pid in named}
        return [pid for session in sessions for pid in proc.members(session)]

    def part(self, name: str) -> int:
        """The process of a part."""
        of_part = _COMMANDS[name]
        [pid] = [pid for pid in self.pids() if of_part in proc.command_line(pid)]
        return pid

    def logs(self) -> str:
        """The ends of the parts' logs."""
        base = Path(self.said.name).parent
        logs = [*base.glob("*/*.log"), *base.glob("*/kafka/kafka.log")]
        return "\n".join(f"{log.name}: {log.read_text()[-800:]}" for log in logs)


@contextmanager
def running_up(base: Path, *flags: str) -> Iterator[Up]:
    """The command in a process group of its own, as a shell starts it from a terminal."""
    base.mkdir(exist_ok=True)
    with open(base / f"said-{time.monotonic_ns()}", "w+", encoding="utf-8") as said:
        command = [sys.executable, "-m", "pyspark_vision.cli.main", "up", "--no-open", "--drawn"]
        process = subprocess.Popen(
            [*command, "--data", str(base), *flags],
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield Up(process, said)
        finally:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def has_left_nothing(up: Up, ports: set[int]) -> bool:
    return wait_until(lambda: not up.pids() and not any(map(listens, ports)), 20.0)


def test_boxes_come_to_the_page_beside_a_second_run_and_ctrl_c_leaves_nothing(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path) as up:
        up.says("first boxes", BOXES_S)
        results = Consumer(
            {
                "bootstrap.servers": up.servers,
                "group.id": "test",
                "auto.offset.reset": "earliest",
            }
        )
        results.subscribe(["resultstream"])
        messages = [results.poll(30) for _ in range(3)]
        results.close()
        values = [message.value() or b"" for message in messages if message]
        cameras = {read_result(value).camera_id for value in values}
        assert cameras == {"camera-0"}
        with urllib.request.urlopen(up.page, timeout=10) as answer:
            assert answer.status == 200
        assert (up.folder / "input" / "camera-0" / "input.jpg").is_file()
        with running_up(tmp_path) as second:
            second.says("page: ")
            of_second = second.ports
            assert second.folder != up.folder
            assert not of_second & up.ports
            # SIGTERM to the command alone, as kill and a service's stop send it.
            second.process.terminate()
            assert second.process.wait(ENDED_S) == 0
            assert has_left_nothing(second, of_second)
        assert up.process.poll() is None
        ports = up.ports
        assert len(ports) == 5

        os.killpg(up.process.pid, signal.SIGINT)

        assert up.process.wait(ENDED_S) == 0, up.lines
        assert has_left_nothing(up, ports)
        assert up.says("all has ended").endswith(str(up.folder))
        assert "Traceback" not in up.said.read() + up.logs()
        assert not (up.folder / "tmp").exists()


@pytest.mark.slow
def test_a_frame_that_fails_is_a_dead_letter_on_the_page_with_its_reason_and_picture(
    tmp_path: Path,
) -> None:
    # Its job runs without generated code (up/commands.py), so on paths that no other job takes.
    frame = fake_cameras.drawn(2, 0, (320, 240))
    cut = base64.b64encode(base64.b64decode(frame.image)[:2000]).decode()
    with running_up(tmp_path) as up:
        up.says("first boxes", BOXES_S)
        # An older one would be dropped as stale.
        message = {"image": cut, "timestamp": fake_cameras.timestamp_now(), "camera_id": "hall"}
        producer = Producer({"bootstrap.servers": up.servers})
        producer.produce("pycturestream", json.dumps(message).encode())
        assert producer.flush(30) == 0
        consumer = {"bootstrap.servers": up.servers, "group.id": "test"}
        letters = Consumer({**consumer, "auto.offset.reset": "earliest"})
        letters.subscribe(["deadletters"])
        letter = letters.poll(60)
        letters.close()

        assert letter is not None, up.logs()
        headers = dict(letter.headers() or [])
        assert headers[f"{LETTER_HEADER_PREFIX}error_code"] == b"truncated"
        assert json.loads(letter.value() or b"") == message

        def picture() -> bytes | None:
            try:
                with urllib.request.urlopen(f"{up.page}letters/0/picture", timeout=10) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError:
                return None

        assert wait_until(lambda: picture() is not None, 15.0)
        assert picture() == base64.b64decode(cut)
        os.killpg(up.process.pid, signal.SIGINT)
        assert up.process.wait(ENDED_S) == 0, up.lines


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in (JOB, PRODUCER, PAGE, BROKER)],
)
def test_a_part_that_dies_ends_all_with_its_name(name: str, tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        up.says("page: ")
        ports = up.ports

        os.kill(up.part(name), signal.SIGKILL)

        assert up.process.wait(ENDED_S) == 1
        assert up.says("has ended by itself").startswith(f"up: {name} has ended by itself. ")
        assert has_left_nothing(up, ports)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_run_that_is_killed_or_loses_its_terminal_takes_its_parts_with_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    with running_up(tmp_path) as up:
        up.says("page: ")
        ports = up.ports
        assert len(up.pids()) >= 4

        up.process.send_signal(number)

        assert up.process.wait(ENDED_S) == (0 if number == signal.SIGHUP else -number)
        assert has_left_nothing(up, ports)
