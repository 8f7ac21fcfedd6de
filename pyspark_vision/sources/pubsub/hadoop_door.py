"""The driver's Python reads and writes a journal's files for Spark's process of the data source.

Through a socket in a folder that is this user's alone; nothing is reached but one folder.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from multiprocessing.connection import Connection, Listener
from typing import TYPE_CHECKING, Any

from pyspark_vision.sources.pubsub.stores import END_OF_HEADER
from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)


class HadoopDoor:
    """Open from :meth:`start` to :meth:`close`; ``socket`` is its address."""

    def __init__(self, session: SparkSession, folder: str) -> None:
        self._session = session
        self._folder = folder
        # Below the system's own folder: the name of a socket has some hundred characters.
        self._own = tempfile.mkdtemp(prefix="pubsub-")
        self.socket = f"{self._own}/door"
        self._listener = Listener(self.socket, family="AF_UNIX")
        self._is_closed = False

    def start(self) -> HadoopDoor:
        """Answer, in threads of its own, until :meth:`close`."""
        threading.Thread(target=self._accept, name="pubsub-door", daemon=True).start()
        return self

    def close(self) -> None:
        """No more requests; safe to call twice."""
        self._is_closed = True
        self._listener.close()
        shutil.rmtree(self._own, ignore_errors=True)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection: Any = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(
                target=self._serve, args=(connection,), name="pubsub-door", daemon=True
            ).start()

    def _serve(self, connection: Connection) -> None:
        with connection:
            while not self._is_closed:
                try:
                    request = connection.recv_bytes()
                except (EOFError, OSError):
                    return
                answer = self._answer(request)
                try:
                    connection.send_bytes(answer)
                except OSError:  # who asked has ended
                    return

    def _answer(self, request: bytes) -> bytes:
        header, _, content = request.partition(END_OF_HEADER)
        verb, name = json.loads(header)
        try:
            body = self._do(verb, name, content)
        # Whatever Hadoop or the JVM raises ends the batch there, in words.
        except Exception as error:
            return json.dumps(["failed", " ".join(str(error).split())[:500]]).encode()
        return (
            json.dumps(["missing" if body is None else "ok", ""]).encode() + b"\n" + (body or b"")
        )

    def _do(self, verb: str, name: str, content: bytes) -> bytes | None:
        if ".." in name.split("/") or name.startswith("/"):
            raise ValueError(f"{name!r} is no file of the journal")
        uri = f"{self._folder}/{name}"
        if verb == "names":
            listed = hadoop.list_names(self._session, uri) or []
            return json.dumps([one for one in listed if not one.startswith(("_", "."))]).encode()
        if verb == "read":
            return hadoop.bytes_if_there(self._session, uri)
        if verb == "create":
            return b"" if hadoop.create_bytes(self._session, uri, content) else None
        if verb == "write":
            hadoop.replace_bytes(self._session, uri, content)
        elif verb == "delete":
            hadoop.delete(self._session, uri)
        return b""
