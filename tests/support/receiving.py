"""`pyspark-vision receive` as a process, and results as PyctureStream itself sends them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_services.process import wait_until

# What ends each key of stream_detect's results.
MODEL = "demo-detector@0123456789ab"


@dataclass(frozen=True)
class Receiving:
    """A running receiver; ``printed`` and ``said``: files of its standard output and error."""

    process: subprocess.Popen[bytes]
    printed: Path
    said: Path

    def wait_for(self, words: str, timeout_s: float = 60) -> None:
        """Until it has printed or said these words."""
        files = (self.printed, self.said)
        came = wait_until(
            lambda: any(words in file.read_text(encoding="utf-8") for file in files), timeout_s
        )
        assert came, (words, *(file.read_text(encoding="utf-8") for file in files))

    def stop(self) -> str:
        """SIGTERM; what its last line says. It must end well."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.said.read_text()
        return self.said.read_text(encoding="utf-8").splitlines()[-1]


def command(servers: str, topic: str, *flags: object) -> list[str]:
    """The command line, run by this Python."""
    main = [sys.executable, "-m", "pyspark_vision.cli.main", "receive"]
    return [*main, "--kafka-servers", servers, "--kafka-topic", topic, *map(str, flags)]


@contextmanager
def receiving(
    folder: Path, servers: str, topic: str, *flags: object, launcher: Sequence[str] = ()
) -> Iterator[Receiving]:
    """A receiver until the end of the block, where it is killed if it still runs."""
    printed, said = folder / "printed", folder / "said"
    with printed.open("wb") as out, said.open("wb") as err:
        process = subprocess.Popen(
            [*launcher, *command(servers, topic, *flags)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        yield Receiving(process, printed, said)
    finally:
        process.kill()
        process.wait()


def refused(servers: str, topic: str, *flags: object) -> tuple[int, str]:
    """Exit code and error of a receiver that does not start, with nothing on standard output."""
    done = subprocess.run(
        command(servers, topic, *flags), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def pycturestream_result(camera_id: str, timestamp: str, *labels: str, jpeg: bytes = b"") -> bytes:
    """As PyctureStream's own processing sends it: no key, no boxes, no model."""
    fields: dict[str, Any] = {
        "timestamp": timestamp,
        "camera_id": camera_id,
        "objects": [{"label": x, "score": 0.93, "sector": ["top", "left"]} for x in labels],
        "image": base64.b64encode(jpeg).decode("utf-8"),
    }
    return json.dumps(fields).encode("utf8")


def keyed_result(number: int, *labels: str) -> tuple[bytes, bytes]:
    """Key and value as stream_detect sends them, with a time of its own for each number."""
    timestamp = f"2026-11-21T08:{number // 60 % 60:02}:{number % 60:02}.{number:06}"
    key = f"pycturestream-0-{number}-{MODEL}".encode()
    return key, pycturestream_result(f"camera-{number % 3}", timestamp, *labels)


def events_in(path: Path) -> list[dict[str, str]]:
    """What a reader of events.json has."""
    events: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return events
