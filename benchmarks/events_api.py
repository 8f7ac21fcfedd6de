"""How many requests a second `pyspark-vision events-api` takes, beside the broker on one machine.

    python -m benchmarks.events_api [--connections 64] [--seconds 10] [--rate 1000]

A broker, the API and this generator of load share the cores. Each connection sends a request when
the one before has its answer; with --rate, all of them together no more than so many a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services import kafka as local_kafka

_TOPIC = "events"
# As curl sends it.
_REQUEST = (
    b"GET /purchase_a_sword HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n\r\n"
)
_WARM_UP_S = 2.0


@dataclass
class Load:
    """What came back: answers by status, and the seconds of each."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


async def _connection(port: int, load: Load, pace: asyncio.Queue[None] | None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        if pace is not None:
            await pace.get()
        begun = time.perf_counter()
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
        load.seconds.append(time.perf_counter() - begun)
        load.statuses[int(head[9:12])] += 1


async def _paced(pace: asyncio.Queue[None], rate: float) -> None:
    begun, given = time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - begun) * rate)
        for _ in range(due - given):
            pace.put_nowait(None)
        given = due
        await asyncio.sleep(0.005)


async def measure(port: int, connections: int, seconds: float, rate: float | None) -> Load:
    """Load for so long, after a warm-up that does not count."""
    load = Load()
    pace: asyncio.Queue[None] | None = asyncio.Queue() if rate else None
    tasks = [asyncio.create_task(_connection(port, load, pace)) for _ in range(connections)]
    if pace is not None and rate is not None:
        tasks.append(asyncio.create_task(_paced(pace, rate)))
    await asyncio.sleep(_WARM_UP_S)
    load.statuses.clear()
    load.seconds.clear()
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return load


def _report(load: Load, seconds: float, cpu_s: float) -> str:
    cuts = statistics.quantiles(load.seconds, n=100)
    statuses = ", ".join(f"{status}: {n:,}" for status, n in sorted(load.statuses.items()))
    return (
        f"{len(load.seconds) / seconds:,.0f} requests/s ({statuses}); answers after p50 "
        f"{cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms; "
        f"the API used {cpu_s / seconds:.2f} cores"
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, help="requests a second (default: as many as go)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, local_kafka.running(Path(folder)) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        [made] = admin.create_topics([NewTopic(_TOPIC, 1, 1)]).values()
        made.result(timeout=30)
        command = [sys.executable, "-m", "pyspark_vision.cli.main", "events-api", "--port", "0"]
        api = subprocess.Popen(
            [*command, "--kafka-servers", kafka.bootstrap_servers, "--journal", f"{folder}/j"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert api.stdout is not None
            started = re.search(r"http://127.0.0.1:(\d+)", api.stdout.readline())
            assert started is not None
            before = _cpu_s(api.pid)
            load = asyncio.run(
                measure(int(started[1]), options.connections, options.seconds, options.rate)
            )
            cpu_s = _cpu_s(api.pid) - before
            cpu_s *= options.seconds / (options.seconds + _WARM_UP_S)
        finally:
            api.terminate()
            ended = api.stdout.read() if api.stdout else ""
            api.wait()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(_report(load, options.seconds, cpu_s))
    print(ended.strip())


if __name__ == "__main__":
    main()
