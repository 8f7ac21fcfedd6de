"""What the kernel's files say of memory: a machine, containers of both versions, nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pyspark_vision.executor.models.machine_memory import Memory, memory, oom_kills

MEMINFO = "MemTotal:  16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\nHugePages_Total: 0\n"
TOTAL, AVAILABLE = 16_000_000 * 1024, 12_000_000 * 1024
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
NO_LIMIT_V1 = "9223372036854771712\n"


def machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Memory(TOTAL, AVAILABLE, is_container=False)),
        (
            {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "max\n"},
            Memory(TOTAL, AVAILABLE, is_container=False),
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                f"{V2}/memory.max": "4000\n",
                f"{V2}/memory.current": "3000\n",
                f"{V2}/memory.stat": "anon 1\ninactive_file 500\n",
            },
            Memory(4000, 1500, is_container=True),
        ),
        # The outer group has the smaller limit.
        (
            {
                "proc/self/cgroup": "0::/pod/worker\n",
                f"{V2}/pod/memory.max": "3000\n",
                f"{V2}/pod/memory.current": "2900\n",
                f"{V2}/pod/worker/memory.max": "4000\n",
                f"{V2}/pod/worker/memory.current": "100\n",
            },
            Memory(3000, 100, is_container=True),
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/a\n0::/\n",
                f"{V1}/memory.limit_in_bytes": NO_LIMIT_V1,
                f"{V1}/a/memory.limit_in_bytes": "5000\n",
                f"{V1}/a/memory.usage_in_bytes": "6000\n",
            },
            Memory(5000, 0, is_container=True),
        ),
        # In a container, whose own name of its group is not to be seen in it.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n",
                f"{V1}/memory.limit_in_bytes": "5000\n",
            },
            Memory(5000, AVAILABLE, is_container=True),
        ),
        (
            {"proc/self/cgroup": "4:memory:/\n", f"{V1}/memory.limit_in_bytes": NO_LIMIT_V1},
            Memory(TOTAL, AVAILABLE, is_container=False),
        ),
    ],
    ids=["machine", "v2-max", "v2", "v2-outer", "v1", "v1-container", "v1-none"],
)
def test_memory_is_that_of_the_least_limit(
    files: dict[str, str], expected: Memory, tmp_path: Path
) -> None:
    assert memory(machine(tmp_path, files)) == expected


def test_where_the_kernel_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert memory(tmp_path) is None
    assert oom_kills(tmp_path) is None


def test_this_machine_has_memory() -> None:
    found = memory()
    assert found is not None
    assert 0 <= found.available <= found.total


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/vmstat": "pgfault 1\noom_kill 3\n"}, 3),
        (
            {
                "proc/vmstat": "oom_kill 3\n",
                "proc/self/cgroup": "0::/\n",
                f"{V2}/memory.events": "oom 5\noom_kill 2\n",
            },
            2,
        ),
        (
            {
                "proc/vmstat": "oom_kill 3\n",
                "proc/self/cgroup": "4:memory:/\n",
                f"{V1}/memory.oom_control": "oom_kill_disable 0\noom_kill 1\n",
            },
            1,
        ),
    ],
    ids=["machine", "v2", "v1"],
)
def test_kills_are_counted_where_they_are(
    files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert oom_kills(machine(tmp_path, files)) == expected
