"""One daemon process: start and wait until it answers, stop, kill, start again on the same port."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 60.0
# Daemons that flush to disk at SIGTERM take a second or two; one that hangs is killed after this.
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1

# A proxy of the environment would be asked for 127.0.0.1, too.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Asks Linux for SIGKILL when the parent dies, then becomes the daemon: neither an atexit hook nor a
# fixture runs in a process that was killed itself. A program of its own and no preexec_fn, which
# can deadlock (and warns, from Python 3.12) in a process with threads. Other systems have no such
# call.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):  # the parent died before Linux was asked
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServiceError(RuntimeError):
    """A daemon that did not come up, or went away; the message ends with what it last logged."""


class Daemon:
    """A process in a process group of its own, with a log file; it may be started many times.

    Linux ties its life to the thread that started it: start it from one that outlives it.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.command = command
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._ready = ready
        self._stop_timeout_s = stop_timeout_s
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process.pid

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start, and return when it answers. A second start after a kill finds port and data."""
        self.launch()
        try:
            if not wait_until(self.is_ready, timeout_s):
                raise ServiceError(
                    f"{self.name} gave no answer in {timeout_s} s; {self._last_words()}"
                )
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start, and return at once."""
        if self._process is not None:
            raise ServiceError(f"{self.name} runs already, as process {self._process.pid}")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                # Of its own, so that Ctrl-C reaches only the parent, which then stops the services
                # in order, and so that what a daemon forks can be ended with it.
                start_new_session=True,
            )

    def ask_to_stop(self) -> None:
        """SIGTERM to it alone, which ends what it has started in its own order."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left; nothing if it does not run."""
        if self._process is None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        wait_until(self.has_exited, self._stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the daemon and what it forked, as a machine that loses power."""
        if self._process is None:
            return
        # Not waited for yet, so its number cannot have become another's.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def is_ready(self) -> bool:
        """Whether it answers; raises :class:`ServiceError` if it has ended."""
        if self.has_exited():
            raise ServiceError(f"{self.name} ended while it started; {self._last_words()}")
        return self._ready()

    def has_exited(self) -> bool:
        """Look without waiting for it, which would free its number while its group may live on."""
        options = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"the end of {self.log}:", *lines[-20:]])


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look again and again; whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def run_once(
    name: str, command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a preparing command, such as the formatting of a data folder, to its end."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        timeout=START_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError(f"{name} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def is_free(port: int) -> bool:
    """Whether nothing has this port of 127.0.0.1, or of all addresses."""
    with socket.socket() as probe:
        # As servers do: a connection that has just ended keeps its port for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nothing listens on, each another."""
    with reserved_ports(count) as ports:
        return ports


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Ports on 127.0.0.1 for servers that are started in the block; nobody else is given them here.

    They are bound without being listened on, by sockets that share their port with servers that
    set SO_REUSEADDR, as Java's, uvicorn's and Python's do; another call cannot bind them.

    They lie below the range from which Linux takes the ports of outgoing connections: while a
    killed daemon is away, no client can be given its port by chance.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            probe = socket.socket()
            held.append(probe)
            try:
                probe.bind(
                    ("127.0.0.1", random.randrange(_first_outgoing() // 2, _first_outgoing()))
                )
            except OSError:
                held.pop().close()
            else:
                # Only now: with it, what another call holds could be bound as well.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()


def _first_outgoing() -> int:
    try:
        said = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:  # not Linux; the same range as its default
        return 32768
    return int(said.split()[0])


def answers_http(url: str) -> bool:
    """Whether an HTTP server answers there, be it with a refusal."""
    try:
        _DIRECT.open(url, timeout=2).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False
    return True


def json_from(url: str) -> Any:
    """What an HTTP server answers, parsed, or None while there is no server or no sense in it."""
    try:
        with _DIRECT.open(url, timeout=2) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None
