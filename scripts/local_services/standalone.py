"""Spark's own cluster, a master and workers, from the pip package PySpark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.local_services.process import Daemon, free_ports, json_from


@dataclass(frozen=True)
class Standalone:
    """A running cluster."""

    master_url: str
    master: Daemon
    workers: tuple[Daemon, ...]


@contextmanager
def running(
    folder: Path, *, workers: int = 2, cores: int = 1, memory_mb: int = 1024
) -> Iterator[Standalone]:
    """A master and ``workers`` with so many cores and so much memory each."""
    home = jars.pyspark_home()
    environment = {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_PUBLIC_DNS": "127.0.0.1",
        # A developer's own settings for Spark are for another cluster.
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
        "SPARK_DAEMON_MEMORY": "384m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }

    def daemon(name: str, main_class: str, status_url: str, *arguments: str) -> Daemon:
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{main_class}"]
        return Daemon(
            name,
            [*command, "--host", "127.0.0.1", *arguments],
            folder,
            lambda: _is_alive(status_url),
            environment,
        )

    port, page, *worker_ports = free_ports(2 + 2 * workers)
    master_url = f"spark://127.0.0.1:{port}"
    master = daemon(
        "master",
        "master.Master",
        f"http://127.0.0.1:{page}/json/",
        *("--port", str(port), "--webui-port", str(page)),
    )
    nodes = tuple(
        daemon(
            f"worker-{index}",
            "worker.Worker",
            f"http://127.0.0.1:{worker_page}/json/",
            *("--port", str(worker_port), "--webui-port", str(worker_page)),
            *("--cores", str(cores), "--memory", f"{memory_mb}m"),
            *("--work-dir", str(folder / f"worker-{index}"), master_url),
        )
        for index, (worker_port, worker_page) in enumerate(
            zip(worker_ports[::2], worker_ports[1::2], strict=True)
        )
    )
    with ExitStack() as stack:
        for process in (master, *nodes):
            stack.enter_context(process)
        yield Standalone(master_url, master, nodes)


def _is_alive(status_url: str) -> bool:
    """A master says ALIVE; a worker names its master as soon as that has taken it in."""
    answer = json_from(status_url)
    return bool(answer and (answer.get("status") == "ALIVE" or answer.get("masterurl")))
