"""What processes have cost, as the benchmarks and the fault suite read it."""

from __future__ import annotations

import shlex
import subprocess
import sys

from local_services import proc


def test_processor_time_counts_workers_that_have_ended() -> None:
    # As Spark's daemon: it works through a child, waits for it, and lives on.
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    daemon = f"{shlex.join([sys.executable, '-c', busy])}; echo ended; read -r"
    with subprocess.Popen(
        ["bash", "-c", daemon],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"

        assert 0.45 < proc.cpu_s(process.pid) < 5

        process.communicate(b"\n")
