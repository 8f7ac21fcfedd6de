"""A window is closed while clients run in it: each ends by itself, and well."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import client_runs as clients
from local_services.kafka import Kafka


def test_clients_end_well_when_their_terminal_is_closed(
    kafka: Kafka, topic: str, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    at = ("--kafka-servers", kafka.bootstrap_servers)
    results, folder = new_topic(), tmp_path / "results"
    folder.mkdir()
    commands: dict[str, tuple[object, ...]] = {
        "produce": (*at, "--source", "drawn", "--size", "64x48", "--kafka-topic", topic),
        "receive": (*at, "--kafka-topic", results, "--events", tmp_path / "events.json"),
        "live": (*at, "--kafka-topic", topic, "--result-topic", results, "--port", 0, "--no-open"),
        "dashboard": (folder, "--port", 0, "--no-open"),
        "events-api": (*at, "--kafka-topic", topic, "--port", 0, "--journal", tmp_path / "journal"),
    }
    # What each says when it runs.
    says = {
        "produce": "produce: frames",
        "live": "http",
        "dashboard": "Ctrl-C",
        "receive": "Ctrl-C",
    }

    terminals = {name: Terminal(name, *words) for name, words in commands.items()}
    try:
        for name, terminal in terminals.items():
            terminal.wait_for(says.get(name, "http"))
        for terminal in terminals.values():
            terminal.close()

        codes = {name: terminal.process.wait(60) for name, terminal in terminals.items()}
    finally:
        for terminal in terminals.values():
            terminal.process.kill()
            terminal.process.wait()
    assert codes == dict.fromkeys(commands, 0)


class Terminal:
    """A window in which one client runs."""

    def __init__(self, *words: object) -> None:
        self.outside, inside = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *clients.command(*words)],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            # Of this test's own process it may be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        os.close(inside)
        self.said = ""

    def wait_for(self, words: str) -> None:
        """Until it has printed them."""
        while words not in self.said:
            self.said += os.read(self.outside, 4096).decode()

    def close(self) -> None:
        """The kernel tells who runs in it; what they print has nowhere to go."""
        os.close(self.outside)
