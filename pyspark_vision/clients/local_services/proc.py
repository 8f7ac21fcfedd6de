"""Processes as Linux shows them below /proc: who belongs to a session, and the memory they hold."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def members(session_id: int) -> list[int]:
    """The processes of a session: all that its first one started, whatever group they are in."""
    return [pid for pid, fields in stats() if int(fields[3]) == session_id]


def signal_all(session_id: int, number: signal.Signals) -> None:
    """To each process of a session, whatever group it is in."""
    for pid in members(session_id):
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # it ended meanwhile
            pass


def memory_mb(pid: int, field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (the most so far) of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def cpu_s_by_process(session_id: int) -> dict[tuple[int, int], float]:
    """Seconds of processor time that each living process of a session has had, by id and start."""
    return {
        (pid, int(fields[19])): sum(map(int, fields[11:13])) / _TICKS_PER_S
        for pid, fields in stats()
        if int(fields[3]) == session_id
    }


def machine_cpu_s() -> float:
    """Seconds of processor time that the whole machine has given, to kernel and programs."""
    with open("/proc/stat") as lines:
        user, nice, system, _idle, _waiting, interrupts, soft = next(lines).split()[1:8]
    return sum(map(int, (user, nice, system, interrupts, soft))) / _TICKS_PER_S


def command_line(pid: int) -> str:
    """The process's arguments; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def working_in(folder: Path) -> list[str]:
    """The commands that run in the folder: a service's daemons, and what they started."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True).is_relative_to(folder):
                commands.append((process / "cmdline").read_text().replace("\0", " ")[:200])
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return commands


def stats() -> list[tuple[int, list[str]]]:
    """The fields of /proc/PID/stat after the name, which may hold anything."""
    fields_by_pid = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = entry.joinpath("stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            fields_by_pid.append((int(entry.name), text.rpartition(")")[2].split()))
    return fields_by_pid
