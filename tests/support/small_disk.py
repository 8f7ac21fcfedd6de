"""A disk of a few megabytes that fills up, in a namespace where anyone may mount one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_services.process import DIE_WITH_PARENT, wait_until


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs at ``path``, which only processes started by ``launcher`` see."""

    path: Path
    keeper: int

    @property
    def launcher(self) -> Sequence[str]:
        """What stands before a command that is to see the disk."""
        entered = ("--user", "--mount", "--preserve-credentials", f"--wd={os.getcwd()}")
        return ("nsenter", f"--target={self.keeper}", *entered)

    def remount(self, options: str) -> None:
        """As ``size=100m``, ``ro`` or ``rw``."""
        self.run("mount", "-o", f"remount,{options}", str(self.path))

    def copy(self, name: str, target: Path) -> None:
        """What lies on it, to where everyone sees it; nothing if there is no such folder."""
        if Path(f"/proc/{self.keeper}/root{self.path}/{name}").exists():
            self.run("cp", "-r", f"{self.path}/{name}", str(target))

    def run(self, *command: str) -> None:
        """In the namespace."""
        subprocess.run([*self.launcher, *command], check=True, timeout=60)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    """A disk of ``size`` (as ``4m``) at ``path``, a new folder; skips where Linux forbids it."""
    path.mkdir()
    mounted = f"mount -t tmpfs -o size={size} none {path} && touch {path}/mounted && sleep infinity"
    tied = [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid())]
    with subprocess.Popen(
        [*tied, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted],
        start_new_session=True,
    ) as keeper:
        try:
            seen = Path(f"/proc/{keeper.pid}/root{path}/mounted")
            wait_until(lambda: seen.exists() or keeper.poll() is not None, timeout_s=10)
            if keeper.poll() is not None:
                pytest.skip("this machine lets nobody make namespaces and mount a disk in one")
            yield SmallDisk(path, keeper.pid)
        finally:
            keeper.kill()
