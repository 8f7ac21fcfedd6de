"""What the live page costs: its server's share of a core, and memory of server and browser.

python -m benchmarks.live_page --seconds 600

Four drawn cameras of 20 frames a second and their results go through a broker on this machine to
the page's server and to a Chromium that shows them. Memory of the browser is that of its processes
together (pages that they share counted once: PSS).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services import kafka, proc
from playwright.sync_api import Page, sync_playwright

from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC

ROOT = Path(__file__).resolve().parents[1]

# Until pictures come, and caches are what they will be.
_WARM_UP_S = 20.0
_EVERY_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line each half minute and the summary."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.live_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="(default: %(default)g)")
    parser.add_argument("--cameras", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="of each (default: %(default)g)")
    options = parser.parse_args(argv)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="live-page-")))
        broker = running.enter_context(kafka.running(folder))
        _make_topics(broker.bootstrap_servers)
        servers = ["--kafka-servers", broker.bootstrap_servers]
        command = ["-m", "pyspark_vision.cli.main", "live", "--no-open", "--port", "0", *servers]
        server = running.enter_context(_process(command))
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        duration = options.seconds + 2 * _WARM_UP_S
        flags = ["--cameras", str(options.cameras), "--rate", str(options.rate)]
        script = [str(ROOT / "scripts" / "fake_cameras.py"), *servers, *flags]
        cameras = running.enter_context(_process([*script, "--duration", str(duration)]))
        assert cameras.stdout is not None
        cameras.stdout.readline()  # they are drawn
        profile = folder / "profile"
        page = running.enter_context(_page(profile, address.group()))
        _measure(server.pid, profile, page, options.seconds)
    return 0


def _measure(server: int, profile: Path, page: Page, seconds: float) -> None:
    page.wait_for_timeout(_WARM_UP_S * 1000)
    began_at, cpu_before = time.monotonic(), _cpu_s(server)
    first = last = (_pss_mb([server]), _pss_mb(_browser(profile)))
    print(f"   0 s: server {first[0]:.0f} MB, browser {first[1]:.0f} MB", flush=True)
    while (left_s := began_at + seconds - time.monotonic()) > 0:
        page.wait_for_timeout(1000 * min(_EVERY_S, left_s))
        took_s = time.monotonic() - began_at
        last = (_pss_mb([server]), _pss_mb(_browser(profile)))
        share = (_cpu_s(server) - cpu_before) / took_s
        rates = page.locator('[data-figure="results"]').all_inner_texts()
        latencies = page.locator('[data-figure="latency"]').all_inner_texts()
        print(
            f"{took_s:4.0f} s: server {share:.3f} of a core, {last[0]:.0f} MB, browser "
            f"{last[1]:.0f} MB; results {', '.join(rates)}; to the page {', '.join(latencies)}",
            flush=True,
        )
    print(
        f"live page, {seconds:g} s: server {share:.3f} of a core; memory from start to end: server "
        f"{first[0]:.0f} -> {last[0]:.0f} MB, browser {first[1]:.0f} -> {last[1]:.0f} MB"
    )


@contextlib.contextmanager
def _page(profile: Path, address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"],
            viewport={"width": 1400, "height": 1300},
        )
        page = context.pages[0]
        page.goto(address)
        yield page
        context.close()


@contextlib.contextmanager
def _process(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _make_topics(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic(name, 1, 1) for name in (FRAME_TOPIC, RESULT_TOPIC)]
    for made in admin.create_topics(topics).values():
        made.result(timeout=30)


def _cpu_s(pid: int) -> float:
    """User and system time, as ``proc_pid_stat(5)`` has it."""
    fields = dict(proc.stats())[pid]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _browser(profile: Path) -> set[int]:
    """Chromium's processes: they name the profile, or descend from one that does."""
    parents = {pid: int(fields[1]) for pid, fields in proc.stats()}
    found = {pid for pid in parents if f"--user-data-dir={profile}" in proc.command_line(pid)}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _pss_mb(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0])
    return total / 1024


if __name__ == "__main__":
    sys.exit(main())
