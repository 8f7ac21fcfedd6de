"""An emulator of BigQuery, bqemulator: its REST API and the Storage Write API, on DuckDB.

It differs from the service (``docs/bigquery.md`` has the list): among others it takes a job's id
twice. ``tests/support/bigquery_proxy.py`` stands in front of it where that matters.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.local_services.jars import PAUSES_S, cache_folder
from pyspark_vision.clients.local_services.process import (
    Daemon,
    ServiceError,
    answers_http,
    reserved_ports,
)

REQUIREMENTS = Path(__file__).resolve().parents[2] / "conf" / "bqemulator.txt"
PROJECT = "local-project"
_INSTALL_TIMEOUT_S = 900
# It compiles 45,000 lines of Python at its first start.
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class BigQuery:
    """A running emulator.

    ``grpc_address``: of the Storage Write API, ``host:port``. ``buckets``: the folder with a folder
    for each bucket, where it reads what ``gs://`` names.
    """

    rest_url: str
    grpc_address: str
    project: str
    server: Daemon
    buckets: Path

    def environment(self, rest_url: str = "", grpc_address: str = "") -> dict[str, str]:
        """Where jobs look for it; a proxy in front of it has addresses of its own."""
        return {
            "BIGQUERY_EMULATOR_HOST": rest_url or self.rest_url,
            "BIGQUERY_STORAGE_GRPC_ENDPOINT": grpc_address or self.grpc_address,
        }

    def make_dataset(self, dataset: str) -> None:
        """A dataset of the project, without a table."""
        reference = {"projectId": self.project, "datasetId": dataset}
        request = urllib.request.Request(
            f"{self.rest_url}/bigquery/v2/projects/{self.project}/datasets",
            json.dumps({"datasetReference": reference}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


@contextmanager
def running(folder: Path, rest_port: int | None = None) -> Iterator[BigQuery]:
    """An emulator with its data below ``folder``, which outlives a kill, until the block ends.

    ``rest_port`` ``None``: any that is free.
    """
    python = environment() / "bin" / "python"
    data, buckets = folder / "data", folder / "buckets"
    data.mkdir(exist_ok=True)
    buckets.mkdir(exist_ok=True)
    with reserved_ports(2) as ports:
        rest, grpc = rest_port or ports[0], ports[1]
        url = f"http://127.0.0.1:{rest}"
        command = [
            *(str(python), "-m", "bqemulator", "start", "--rest-port", str(rest)),
            *("--grpc-port", str(grpc), "--persistent", "--data-dir", str(data)),
            *("--project", PROJECT, "--log-level", "warning"),
        ]
        variables = {
            "HOME": str(python.parents[1] / "home"),  # where DuckDB finds its extensions
            "PYTHONPATH": "",
            "TMPDIR": str(folder),
            "BQEMU_GCS_LOCAL_ROOT": str(buckets),
        }
        server = Daemon("bigquery", command, folder, lambda: answers_http(url), variables)
        server.start(_START_TIMEOUT_S)
    try:
        yield BigQuery(url, f"127.0.0.1:{grpc}", PROJECT, server, buckets)
    finally:
        server.stop()


def environment() -> Path:
    """The virtual environment with the emulator, made now if this machine has none yet.

    For each content of ``conf/bqemulator.txt`` there is another, so that versions do not mix.
    """
    known_by = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    ready = cache_folder() / "bqemulator" / known_by
    if not ready.is_dir():
        ready.parent.mkdir(parents=True, exist_ok=True)
        with (ready.parent / "making.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes it, others wait
            if not ready.is_dir():
                _make(ready)
    return ready


def _make(ready: Path) -> None:
    """Make it beside and rename: a folder that is there is complete."""
    print("== bigquery: installing the emulator (a minute the first time)", file=sys.stderr)
    unfinished = Path(tempfile.mkdtemp(prefix=".making-", dir=ready.parent))
    try:
        _run([sys.executable, "-m", "venv", "--without-pip", str(unfinished)])
        python = str(unfinished / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        install = [*pip, "install", "--quiet", "--no-deps", "--no-compile", "-r", str(REQUIREMENTS)]
        for pause_s in (*PAUSES_S, None):  # registries hiccup
            try:
                _run(install)
                break
            except ServiceError:
                if pause_s is None:
                    raise
                time.sleep(pause_s)
        (unfinished / "home").mkdir()
        importing = "import duckdb_extensions; duckdb_extensions.import_extension('spatial')"
        _run([python, "-c", importing], {"HOME": str(unfinished / "home")})
        os.rename(unfinished, ready)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _run(command: list[str], variables: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIMEOUT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": "", **(variables or {})},
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise ServiceError(f"the emulator of BigQuery could not be installed:\n{said[-2000:]}")
