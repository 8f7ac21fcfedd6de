"""Where a journal's files are: this machine's disks, or any file system of Hadoop's.

Spark runs a Python data source in a process of its own, which has no way into the JVM. What is not
on this machine's disks it reaches through the driver's Python, over a socket in a folder that is
this user's alone (:mod:`~pyspark_vision.sources.pubsub.hadoop_door`). So the checkpoint may be
wherever Spark's may be, with the credentials that Spark has.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client
from pathlib import Path
from typing import Protocol

from pyspark_vision.errors import StreamError

# Of a request through the door, and of its answer: one line of JSON, then bytes.
END_OF_HEADER = b"\n"


class Store(Protocol):
    """Small files by their names below one folder, such as ``segments/7``."""

    def names(self, folder: str) -> list[str]:
        """The files in a folder, in no order; none if there is no folder."""

    def read(self, name: str) -> bytes | None:
        """What is in a file; ``None`` if there is none."""

    def create(self, name: str, content: bytes) -> bool:
        """Make a file: it is there as a whole or not. ``False``: one is there, and stays as it is.

        Of two processes that do this at once one succeeds, on disks and HDFS; in an object store
        both may.
        """

    def write(self, name: str, content: bytes) -> None:
        """Make a file: it is there as a whole or not. One that is there is replaced."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""


class LocalStore:
    """A folder of this machine's disks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, folder: str) -> list[str]:
        """As :class:`Store`."""
        try:
            listed = os.listdir(self._folder / folder)
        except FileNotFoundError:
            return []
        return [name for name in listed if not name.startswith(("_", "."))]

    def read(self, name: str) -> bytes | None:
        """As :class:`Store`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> bool:
        """As :class:`Store`; on the disk when this returns."""
        target = self._folder / name
        with self._staged(target, content) as staged:
            try:
                os.link(staged, target)  # a rename replaces what is there
            except FileExistsError:
                return False
            except OSError:  # a disk without links: some shared folders, FAT
                if target.exists():
                    return False
                os.replace(staged, target)
        return True

    def write(self, name: str, content: bytes) -> None:
        """As :class:`Store`; on the disk when this returns."""
        target = self._folder / name
        with self._staged(target, content) as staged:
            os.replace(staged, target)

    @contextmanager
    def _staged(self, target: Path, content: bytes) -> Iterator[Path]:
        """Beside it, under a name that :meth:`names` leaves out, until the block ends."""
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f"_{target.name}.{uuid.uuid4().hex}")
        try:
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """As :class:`Store`."""
        (self._folder / name).unlink(missing_ok=True)


class DoorStore:
    """A folder that the driver's Python reads and writes for this process."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._connection = Client(socket, family="AF_UNIX")

    def names(self, folder: str) -> list[str]:
        """As :class:`Store`."""
        return list(json.loads(self._ask("names", folder) or b"[]"))

    def read(self, name: str) -> bytes | None:
        """As :class:`Store`."""
        return self._ask("read", name)

    def create(self, name: str, content: bytes) -> bool:
        """As :class:`Store`."""
        return self._ask("create", name, content) is not None

    def write(self, name: str, content: bytes) -> None:
        """As :class:`Store`."""
        self._ask("write", name, content)

    def delete(self, name: str) -> None:
        """As :class:`Store`."""
        self._ask("delete", name)

    def _ask(self, verb: str, name: str, content: bytes = b"") -> bytes | None:
        request = json.dumps([verb, name]).encode() + END_OF_HEADER + content
        try:
            with self._lock:
                self._connection.send_bytes(request)
                answer = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise StreamError(
                f"Pub/Sub: the journal's {name} could not be reached: the driver's Python has ended"
            ) from None
        header, _, body = answer.partition(END_OF_HEADER)
        outcome, said = json.loads(header)
        if outcome == "failed":
            raise StreamError(f"Pub/Sub: the journal's {name} could not be reached: {said}")
        return None if outcome == "missing" else body
