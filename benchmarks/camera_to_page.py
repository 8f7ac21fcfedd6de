"""How old a frame is when a person sees its boxes: a clock drawn into it, read back from the page.

python -m benchmarks.camera_to_page --seconds 120

Broker, job and page run as `pyspark-vision up` runs them; the camera is benchmarks/clock_camera.py.
At each of the browser's paints the clock is read from the canvas that shows the camera's result. A
frame counts when it is first on the page with boxes over it. Beside them, by a consumer: when the
frame, and its result, were in Kafka. All of it shares the machine, the browser without a GPU too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from playwright.sync_api import Page, sync_playwright

from benchmarks.clock_camera import CLOCK_BITS, SQUARE_PX, SUM_BITS
from pyspark_vision.clients.local_services import kafka, proc
from pyspark_vision.clients.local_services.process import reserved_ports, wait_until
from pyspark_vision.clients.submitting import fast_start
from pyspark_vision.clients.submitting.surroundings import surroundings
from pyspark_vision.clients.up import commands
from pyspark_vision.clients.up.commands import JOB, PAGE, PRODUCER, TOPICS, Run
from pyspark_vision.clients.up.parts import Parts
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC

ROOT = Path(__file__).resolve().parents[1]

_START_TIMEOUT_S = 180.0

# Reads the squares; a square counts as white from the middle on. `seen` has a row for each clock
# that is new on the page: its value, the browser's time, whether boxes are over it. `ages` has the
# age of what is on the screen at each paint.
_READER = """
([bits, sums, square]) => {
  window.seen = [];
  window.ages = [];
  let last = -1;
  const small = new OffscreenCanvas(64, 48).getContext("2d", { willReadFrequently: true });
  const read = () => {
    requestAnimationFrame(read);
    const canvases = document.querySelectorAll('[data-place="result"] canvas');
    if (canvases.length !== 2 || canvases[0].width !== (bits + sums) * square) return;
    const [picture, boxes] = canvases;
    const row = picture.getContext("2d").getImageData(0, square >> 1, picture.width, 1).data;
    let clock = 0, sum = 0, wanted = 0;
    for (let i = 0; i < bits + sums; i++) {
      const bit = row[4 * (i * square + (square >> 1)) + 1] > 127 ? 1 : 0;
      if (i < bits) clock = clock * 2 + bit;
      else wanted = wanted * 2 + bit;
    }
    for (let rest = clock; rest; rest = Math.floor(rest / 256)) sum += rest % 256;
    if (sum % 256 !== wanted) return;
    const now = Date.now();
    window.ages.push((now - clock) % 2 ** bits);
    if (clock === last) return;
    last = clock;
    small.clearRect(0, 0, 64, 48);
    small.drawImage(boxes, 0, 0, 64, 48);
    const has = small.getImageData(0, 0, 64, 48).data.some((value, at) => at % 4 === 3 && value);
    window.seen.push([clock, now, has]);
  };
  read();
}
"""


@dataclass
class Arrivals:
    """Milliseconds from a frame's timestamp to its record, by topic."""

    ages_ms: dict[str, list[float]] = field(default_factory=dict)

    def add(self, topic: str, value: bytes, now_ms: float) -> None:
        taken = datetime.fromisoformat(json.loads(value)["timestamp"]).timestamp() * 1000
        self.ages_ms.setdefault(topic, []).append(now_ms - taken)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the figures; 1 if no frame was seen."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.camera_to_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="(default: %(default)g)")
    parser.add_argument(
        "--warm-up-seconds", type=float, default=60.0, help="after the first box (%(default)g)"
    )
    parser.add_argument("--rate", type=float, default=5.0, help="(default: %(default)g)")
    parser.add_argument("--job-flags", default="", help="added to the job's, to compare them")
    options = parser.parse_args(argv)
    variables = fast_start.with_archive(surroundings(os.environ).variables)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="camera-to-page-")))
        for name in ("kafka", "tmp"):
            (folder / name).mkdir()
        broker = running.enter_context(kafka.running(folder / "kafka"))
        _make_topics(broker.bootstrap_servers)
        (metrics_port,) = running.enter_context(reserved_ports(1))
        run = Run(folder, broker.bootstrap_servers, metrics_port, None, opens=False)
        page, parts = running.enter_context(_started(run, options, variables))
        parts["Kafka"] = broker.broker.pid
        return _measured(page, parts, run, options)


def _measured(page: Page, parts: Mapping[str, int], run: Run, options: argparse.Namespace) -> int:
    page.evaluate(_READER, [CLOCK_BITS, SUM_BITS, SQUARE_PX])
    if not wait_until(lambda: _has_boxes(page), _START_TIMEOUT_S):
        print(f"no boxes in {_START_TIMEOUT_S:g} s", file=sys.stderr)
        return 1
    page.wait_for_timeout(options.warm_up_seconds * 1000)
    batches_before = len(_batches(run))
    with _arrivals(run.servers) as arrivals:
        cpu_before = {name: _cpu_s(session) for name, session in parts.items()}
        page.evaluate("window.seen = []; window.ages = []")
        page.wait_for_timeout(options.seconds * 1000)
        seen, ages = page.evaluate("[window.seen, window.ages]")
        cpu = {name: _cpu_s(session) - cpu_before[name] for name, session in parts.items()}
    batches = _batches(run)[batches_before:]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    boxed = [(now - clock) % 2**CLOCK_BITS for clock, now, has in seen if has]
    frames = arrivals.ages_ms.get(FRAME_TOPIC, [])
    results = arrivals.ages_ms.get(RESULT_TOPIC, [])
    print(f"{options.rate:g} frames/s for {options.seconds:g} s; load average {load}")
    _tell("frame in Kafka", frames)
    _tell("result in Kafka", results)
    _tell("boxes on the page", boxed)
    _tell("age of what is on the screen, at each paint", ages)
    shown = f"shown {len(seen)}, with boxes {len(boxed)}"
    print(f"  frames {len(frames)}, results {len(results)}, {shown}")
    _tell("a batch of the job", [1000 * batch["took_s"] for batch in batches])
    shares = ", ".join(f"{name} {used / options.seconds:.2f}" for name, used in cpu.items())
    each = cpu[JOB] / len(batches) if batches else 0.0
    print(f"  of a core: {shares}; a batch {each:.2f} s of processor time")
    return 0 if boxed else 1


def _tell(what: str, ages_ms: Sequence[float]) -> None:
    if len(ages_ms) < 2:
        print(f"  {what}: {len(ages_ms)} of them")
        return
    cuts = statistics.quantiles(ages_ms, n=100, method="inclusive")
    p50, p95, most = (value / 1000 for value in (cuts[49], cuts[94], max(ages_ms)))
    print(f"  {what}: p50 {p50:.2f} s, p95 {p95:.2f} s, max {most:.2f} s ({len(ages_ms)})")


def _cpu_s(session: int) -> float:
    """Processor time of a session's processes."""
    return sum(proc.cpu_s_by_process(session).values())


def _has_boxes(page: Page) -> bool:
    page.wait_for_timeout(500)
    return bool(page.evaluate("window.seen.some((row) => row[2])"))


def _batches(run: Run) -> list[dict[str, Any]]:
    """The job's own line of each batch."""
    found = []
    for line in (run.folder / f"{JOB}.log").read_text().splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line[line.index("{") :])
            if "took_s" in said:
                found.append(said)
    return found


@contextlib.contextmanager
def _started(
    run: Run, options: argparse.Namespace, variables: Mapping[str, str]
) -> Iterator[tuple[Page, dict[str, int]]]:
    parts = Parts()
    environment = commands.environment(run, variables)
    camera = [sys.executable, "-m", "benchmarks.clock_camera", "--kafka-servers", run.servers]
    of_camera = {**environment, "PYTHONPATH": str(ROOT)}
    try:
        job = [*commands.job(run), *shlex.split(options.job_flags)]
        started = [parts.start(JOB, job, run.folder, environment)]
        page = parts.start(PAGE, commands.page(run), run.folder, environment)
        started.append(page)
        words = [*camera, "--rate", str(options.rate)]
        started.append(parts.start(PRODUCER, words, run.folder, of_camera))
        if not wait_until(lambda: "http://" in page.log.read_text(), _START_TIMEOUT_S):
            raise SystemExit(f"the page did not start: {page.log.read_text()}")
        address = next(word for word in page.log.read_text().split() if word.startswith("http://"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            shown = browser.new_page(viewport={"width": 1280, "height": 800})
            shown.goto(address)
            parts.check()
            yield shown, {part.name: part.pid for part in started}
            parts.check()
            browser.close()
    finally:
        parts.stop()


@contextlib.contextmanager
def _arrivals(servers: str) -> Iterator[Arrivals]:
    """What comes into both topics while the block runs."""
    arrivals, ended = Arrivals(), threading.Event()
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "camera-to-page",
            "auto.offset.reset": "latest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([FRAME_TOPIC, RESULT_TOPIC])

    def read() -> None:
        while not ended.is_set():
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                now_ms = time.time() * 1000
                arrivals.add(str(message.topic()), message.value() or b"", now_ms)
        consumer.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield arrivals
    finally:
        ended.set()
        thread.join()


def _make_topics(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    for made in admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]).values():
        made.result(timeout=30)


if __name__ == "__main__":
    sys.exit(main())
