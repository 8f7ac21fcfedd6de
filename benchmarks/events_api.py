"""How many requests a second `pyspark-vision events-api` takes, beside the broker on one machine.

    python -m benchmarks.events_api [--connections 64 256 512] [--seconds 10] [--rate 1000]

A broker, the API and a generator of load (``benchmarks.http_load``, a process of its own) share the
cores; a line for each number of connections. An answer waits for the transactions that bring its
event to the topic, so few connections measure that wait, and many the API: where its processor time
or the machine's is used up, more of them bring no more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services import kafka as local_kafka

_TOPIC = "events"
_WARM_UP_S = 2.0


@dataclass(frozen=True)
class Load:
    """What came back: answers by status, and the seconds of each. ``*_cores``: used meanwhile."""

    statuses: dict[str, int]
    seconds: list[float]
    generator_cores: float
    api_cores: float
    broker_cores: float


def measure(
    port: int, connections: int, seconds: float, rate: float | None, api: int, broker: int
) -> Load:
    """Load for so long, after a warm-up; ``api`` and ``broker`` are processes."""
    words = [port, connections, seconds, _WARM_UP_S, *([rate] if rate else [])]
    command = [sys.executable, "-m", "benchmarks.http_load", *map(str, words)]
    before = _cpu_s(api), _cpu_s(broker)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    after = _cpu_s(api), _cpu_s(broker)
    came = json.loads(done.stdout)
    # Of the warm-up, too.
    api_cores, broker_cores = (
        (end - begin) / (seconds + _WARM_UP_S) for begin, end in zip(before, after, strict=True)
    )
    generator_cores = came["cpu_s"] / seconds
    return Load(came["statuses"], came["seconds"], generator_cores, api_cores, broker_cores)


def _report(connections: int, load: Load, seconds: float) -> str:
    cuts = statistics.quantiles(load.seconds, n=100)
    statuses = ", ".join(f"{status}: {n:,}" for status, n in sorted(load.statuses.items()))
    return (
        f"{connections} connections: {len(load.seconds) / seconds:,.0f} requests/s ({statuses}); "
        f"answers after p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms, p99 "
        f"{cuts[98] * 1000:.0f} ms; cores used: API {load.api_cores:.2f}, broker "
        f"{load.broker_cores:.2f}, generator {load.generator_cores:.2f}"
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256, 512])
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
            port = int(started[1])
            for connections in options.connections:
                load = measure(
                    port, connections, options.seconds, options.rate, api.pid, kafka.broker.pid
                )
                print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
                print(_report(connections, load, options.seconds), flush=True)
        finally:
            api.terminate()
            ended = api.stdout.read() if api.stdout else ""
            api.wait()
    print(ended.strip())


if __name__ == "__main__":
    main()
