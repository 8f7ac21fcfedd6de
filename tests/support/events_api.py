"""The command `events-api` as a process, a client that insists, and what reached the topic."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from local_services.process import free_ports

START_S = 30.0


@dataclass
class Api:
    """One journal's API; it may be started many times, always at the same port."""

    servers: str
    topic: str
    journal: Path
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start; what it says first."""
        command = [sys.executable, "-m", "pyspark_vision.cli.main", "events-api"]
        where = ["--kafka-servers", self.servers, "--kafka-topic", self.topic]
        place = ["--journal", str(self.journal), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *where, *place, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def kill(self) -> None:
        """SIGKILL, as a machine that loses its power."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """A signal; the exit code and the rest of what it says, to standard output and error."""
        assert self.process is not None
        self.process.send_signal(number)
        said, complained = self.process.communicate(timeout=60)
        return self.process.returncode, said, complained

    def __enter__(self) -> Api:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def request(
        self, method: str, path: str, body: Any = None, **headers: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with small letters, body. ``_`` in a header's name stands for ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read()
        finally:
            connection.close()


@dataclass
class Customers:
    """Threads that buy until they are told to stop, and try each purchase until it is answered."""

    api: Api
    count: int = 4
    answered: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Customers:
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._buy) for _ in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _buy(self) -> None:
        while not self._stopping.is_set():
            name = uuid.uuid4().hex
            deadline = time.monotonic() + 60
            while name not in self.answered:
                assert time.monotonic() < deadline, "no answer for a minute"
                try:
                    status, _, _ = self.api.request(
                        "POST",
                        "/join_guild",
                        json.dumps({"name": name}).encode(),
                        Content_Type="application/json",
                        Idempotency_Key=name,
                    )
                except (OSError, http.client.HTTPException):
                    time.sleep(0.05)  # killed; it comes again
                    continue
                assert status in (200, 503), status
                self.answered[name] = status


@dataclass(frozen=True)
class Sent:
    """A message of the topic: its event, and the number that the journal gave it."""

    event: dict[str, Any] | str
    number: int
    journal: str


def in_topic(servers: str, topic: str, count: int, timeout_s: float = 60) -> list[Sent]:
    """``count`` committed messages of the topic in order, and those of two seconds after them."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    sent: list[Sent] = []
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(2.0)
            if message is None:
                if len(sent) >= count:
                    break
                continue
            assert message.error() is None, message.error()
            sent.append(_sent(message))
    finally:
        consumer.close()
    return sent


def _sent(message: Any) -> Sent:
    text = message.value().decode()
    [(name, value)] = message.headers()
    assert name == "event_id"
    found = re.fullmatch(r"([0-9a-f]{12})-(\d+)", value.decode())
    assert found is not None
    return Sent(json.loads(text) if text.startswith("{") else text, int(found[2]), found[1])
