"""The memory of the machine or container that this process runs in, as Linux' kernel tells it.

What is not told (another system, a ``/proc`` that is hidden) is ``None``, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True)
class Memory:
    """In bytes.

    - ``total``: what all processes here may take together: that of the machine, or the least limit
      of the control groups that this process is in (``is_container``).
    - ``available``: what is left of it now, with what the kernel can give back at once.
    """

    total: int
    available: int
    is_container: bool


def memory(root: Path = Path("/")) -> Memory | None:
    """Of this process; ``root``: where ``proc`` and ``sys`` are mounted."""
    meminfo = _fields(root / "proc" / "meminfo")
    if "MemTotal" not in meminfo or "MemAvailable" not in meminfo:
        return None
    least = Memory(meminfo["MemTotal"] * _KIB, meminfo["MemAvailable"] * _KIB, is_container=False)
    for folder in _groups(root):
        limit, used = _limit_and_use(folder)
        if limit is None or limit >= least.total:  # also: a number that stands for "none"
            continue
        left = least.available if used is None else min(least.available, max(0, limit - used))
        least = Memory(limit, left, is_container=True)
    return least


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has ended on this machine for want of memory, since it started.

    Of this process's control group where it counts them, else of the machine.
    """
    for folder in _groups(root):
        for name in ("memory.events", "memory.oom_control"):  # of version 2, of version 1
            count = _fields(folder / name).get("oom_kill")
            if count:
                return count
    return _fields(root / "proc" / "vmstat").get("oom_kill")


def _groups(root: Path) -> list[Path]:
    """The folders of the memory control groups of this process, from its own to the outermost."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys" / "fs" / "cgroup" / ("memory" if controllers else "")
        # A container sees its own group as the root, whatever its name says.
        group = mount / path.lstrip("/")
        folders += [folder for folder in (group, *group.parents) if folder.is_relative_to(mount)]
    return folders


def _limit_and_use(group: Path) -> tuple[int | None, int | None]:
    """Of one group; what can be given back at once (files that lie idle) is not in use."""
    for limit_name, use_name, idle_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _number(group / limit_name)
        if limit is not None:
            used = _number(group / use_name)
            idle = _fields(group / "memory.stat").get(idle_name, 0)
            return limit, None if used is None else max(0, used - idle)
    return None, None


def _number(path: Path) -> int | None:
    """``None`` for ``max``, and where there is no such file."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as ``/proc/meminfo`` and a group's files have them."""
    fields: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return fields
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            fields[words[0].rstrip(":")] = int(words[1])
    return fields
