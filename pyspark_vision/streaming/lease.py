"""One job at a time on a checkpoint, and at an output; a job that was killed blocks nobody.

A checkpoint that was copied has the same id as its original, so the marks of outputs
(:mod:`pyspark_vision.sinks.owner`) do not tell the two apart: only the lease of the output does.

On this machine's disks it is a lock of the kernel's, which goes with the process. On HDFS or in an
object store it is a small file that its holder writes anew every few seconds. A job that finds
one waits for as long as four renewals take and watches whether it changes, so that no two clocks
are ever compared; a holder on this machine is looked up among the processes instead, at once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pyspark_vision.errors import CheckpointInUseError
from pyspark_vision.sinks.owner import not_written
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.internals import GatewayError, JavaError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RENEWED_EVERY_S = 5.0
STALE_AFTER_S = 4 * RENEWED_EVERY_S

# The Python of a spark-submit that was killed lives until it misses its JVM.
PATIENCE_S = 3.0

# How long a lease file may be empty while it is written; one write and its round trip.
_WRITTEN_WITHIN_S = 1.0

# Disks of this machine, or that it shares with others that see each other's locks (NFS).
LOCAL_SCHEMES: tuple[str, ...] = ("file",)

# What a disk says that has no locks: NFS without its daemon, some of FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

# Of the leases that this process holds. A file of an earlier one of its own may have stayed, if the
# store was away when that one ended.
_own_tokens: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """Who holds a lease. ``machine`` is empty where processes cannot be told apart."""

    token: str
    name: str
    host: str
    machine: str
    pid: int
    process_started: str
    since: str
    application_id: str

    def __str__(self) -> str:
        return f"{self.name} ({self.application_id}), process {self.pid} on {self.host}"

    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine, so that its process can be looked up."""
        return bool(self.machine) and self.machine == _machine()

    def is_alive(self) -> bool:
        """Whether that process is there; its number may be another's by now."""
        if self.pid == os.getpid():
            return self.token in _own_tokens
        return _process_started(self.pid) == self.process_started


def output_lease(output: str) -> str:
    """Where the lease of an output folder is: readers, and the guard of used folders, ignore it."""
    return f"{output}/_lease"


@contextmanager
def held(
    session: SparkSession,
    checkpoint: str,
    name: str,
    lost: Callable[[str], None],
    shown: str = "",
) -> Iterator[None]:
    """:func:`all_held` for one folder; ``shown`` is the checkpoint unless it is given."""
    folders = {shown or f"`checkpoint` {checkpoint}": checkpoint}
    with all_held(session, folders, name, lost):
        yield


@contextmanager
def all_held(
    session: SparkSession, folders: Mapping[str, str], name: str, lost: Callable[[str], None]
) -> Iterator[None]:
    """Hold the leases of ``folders`` (any Hadoop URIs) for the job ``name``, for the block.

    ``folders`` are given by what the user knows them by, for the error, and are taken in this
    order: where two jobs want the same ones in the same instant, one gets all.

    Raises :class:`CheckpointInUseError` while another job holds one. ``lost`` is called, in another
    thread and with the reason, if another job took one because this one did not renew it.
    """
    owner = _this_process(session, name)
    # All are looked at before the first one is waited for: what has not changed since is not
    # waited for again.
    leases = [_lease(session, folder, shown, owner, lost) for shown, folder in folders.items()]
    with ExitStack() as stack:
        _own_tokens.add(owner.token)
        stack.callback(_own_tokens.discard, owner.token)
        for lease in leases:
            stack.enter_context(lease)
        yield


def _lease(
    session: SparkSession,
    uri: str,
    shown: str,
    owner: Owner,
    lost: Callable[[str], None],
) -> AbstractContextManager[None]:
    file_system, path = hadoop.hadoop_path(session, uri)
    folder = file_system.makeQualified(path)

    def by_files() -> AbstractContextManager[None]:
        try:
            leases = _Leases(session, f"{folder}/lease", owner)
        except JavaError as error:
            raise not_written(shown, error) from None
        return _renewed(leases, shown, owner, lost)

    if folder.toUri().getScheme() in LOCAL_SCHEMES:
        return _locked(Path(folder.toUri().getPath()), shown, owner, by_files)
    return by_files()


@contextmanager
def _renewed(
    leases: _Leases,
    shown: str,
    owner: Owner,
    lost: Callable[[str], None],
) -> Iterator[None]:
    try:
        number = _taken(leases, shown, owner)
    except JavaError as error:
        raise not_written(shown, error) from None
    ended = threading.Event()
    renewer = threading.Thread(
        target=_renew,
        args=(leases, number, shown, ended, lost),
        name="lease",
        daemon=True,
    )
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join(RENEWED_EVERY_S)
        try:
            leases.remove(number)
        # The file system, the JVM or its Spark is gone: the next job waits a little.
        except (GatewayError, AttributeError):
            pass


@contextmanager
def _locked(
    folder: Path,
    shown: str,
    owner: Owner,
    without_locks: Callable[[], AbstractContextManager[None]],
) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lease.lock", "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise not_written(shown, error) from None
    with file:
        deadline = time.monotonic() + PATIENCE_S
        try:
            is_locked = _lock(file)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise not_written(shown, error) from None
            with without_locks():
                yield
            return
        while not is_locked:
            if time.monotonic() > deadline:
                file.seek(0)
                raise _in_use(shown, _owner(file.read()))
            time.sleep(0.1)
            is_locked = _lock(file)
        file.truncate(0)
        file.write(json.dumps(asdict(owner)))
        file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Leases:
    """The files ``1``, ``2``, … of a folder: who made the last one holds the lease.

    ``first_look``: the last one when this began, and when that was, by :func:`time.monotonic`.
    """

    def __init__(self, session: SparkSession, folder: str, owner: Owner) -> None:
        self._session = session
        self._folder = folder
        self._text = json.dumps(asdict(owner))
        began_at = time.monotonic()
        self.first_look = self.last(), began_at

    def last(self) -> tuple[int, int]:
        """(number of the newest file, when it was written); (0, 0) for none."""
        try:
            files = hadoop.statuses(self._session, self._folder)
        except JavaError as error:
            if hadoop.is_java_error(error, "FileNotFoundException"):
                return 0, 0
            raise
        written = [(int(file.name), file.modified_ms) for file in files if file.name.isdigit()]
        return max(written, default=(0, 0))

    def owner(self, number: int) -> Owner | None:
        """Who made it; ``None`` if it is gone, or if its maker ended before it was written.

        A file that is renewed is empty for a moment, so an empty one is read again.
        """
        deadline = time.monotonic() + _WRITTEN_WITHIN_S
        while True:
            text = hadoop.read_text(self._session, f"{self._folder}/{number}")
            owner = _owner(text or "")
            if owner is not None or text is None or time.monotonic() > deadline:
                return owner
            time.sleep(_WRITTEN_WITHIN_S / 20)

    def make(self, number: int) -> bool:
        """Make the file; ``False`` if another was faster."""
        try:
            self.renew(number, overwrites=False)
        except JavaError as error:
            if hadoop.is_made_by_another(error):
                return False
            raise
        return True

    def renew(self, number: int, *, overwrites: bool = True) -> None:
        """Write it anew, with the same text and another time."""
        file = f"{self._folder}/{number}"
        hadoop.write_text(self._session, file, self._text, overwrites=overwrites)

    def settle(self) -> None:
        """Wait until the file that was just made shows whose it is."""
        hadoop.settle(hadoop.hadoop_path(self._session, self._folder)[0])

    def remove(self, up_to: int) -> None:
        """Remove the files up to this number."""
        for file in hadoop.statuses(self._session, self._folder):
            if file.name.isdigit() and int(file.name) <= up_to:
                hadoop.delete(self._session, file.uri)


def _taken(leases: _Leases, shown: str, owner: Owner) -> int:
    """The number of the file that this process has made after the last one was given up."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        number, written_at = leases.last()
        holder = leases.owner(number) if number else None
        if holder is not None and holder.is_here():
            if holder.is_alive():
                if time.monotonic() > deadline:
                    raise _in_use(shown, holder)
                time.sleep(0.1)
                continue
        elif number and _is_renewed(leases, number, written_at):
            raise _in_use(shown, leases.owner(number))
        if not leases.make(number + 1):
            continue
        leases.settle()
        if leases.owner(number + 1) != owner:
            continue
        if number:
            leases.remove(number)
        return number + 1


def _is_renewed(leases: _Leases, number: int, written_at: int) -> bool:
    """Whether the file changes within the time of four renewals; it may also go meanwhile."""
    looked, looked_at = leases.first_look
    since = looked_at if looked == (number, written_at) else time.monotonic()
    while True:
        now = leases.last()
        if now != (number, written_at):
            return now[0] >= number
        if time.monotonic() > since + STALE_AFTER_S:
            return False
        time.sleep(RENEWED_EVERY_S / 5)


def _renew(
    leases: _Leases,
    number: int,
    shown: str,
    ended: threading.Event,
    lost: Callable[[str], None],
) -> None:
    while not ended.wait(RENEWED_EVERY_S):
        try:
            last, _ = leases.last()
            if last != number:
                lost(f"another job took {shown}, which this one had not renewed in time")
                return
            leases.renew(number)
        except GatewayError:  # while the file system is away nobody else can take it either
            continue


def _this_process(session: SparkSession, name: str) -> Owner:
    return Owner(
        token=uuid.uuid4().hex,
        name=name,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process_started=_process_started(os.getpid()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        application_id=str(session.sparkContext.applicationId),
    )


def _machine() -> str:
    """This boot of this machine, and the container: where a process number means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process_started(pid: int) -> str:
    """When a process began, in the kernel's own count; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    # The 22nd field; the second is a name, which may hold spaces and brackets.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def _owner(text: str) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (TypeError, ValueError):
        return None


def _in_use(shown: str, owner: Owner | None) -> CheckpointInUseError:
    holder = f"{owner}, since {owner.since}" if owner else "a job that is just starting"
    other = "another output"
    if "checkpoint" in shown.split()[0]:
        other = f"another checkpoint and {other}"
    return CheckpointInUseError(
        f"{shown} is in use by {holder}. Stop that job first, or choose {other}"
    )
