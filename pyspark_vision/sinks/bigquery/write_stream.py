"""Streams of the Storage Write API: one for each batch, pending until it is committed, once.

A batch's rows are appended to a stream of their own, each request at its offset: what was taken
before its answer was lost is not taken again. Nobody sees them. The stream's name is then noted in
the checkpoint, and the stream is committed. A batch that is replayed commits the stream that is
noted for it, whatever its rows would be by now: the service commits a stream once, and says so if
that has been done.

One stream for all batches, on which a replay goes on at an offset that was noted, would not do: a
batch of several requests can be half appended, and a replay's rows are not the same to the letter
(they were timed anew, or another model is there), so that the other half would not fit.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import StreamError
from pyspark_vision.sinks.bigquery.proto_rows import RowFormat
from pyspark_vision.sinks.bigquery.service import TIMEOUT_S, first_line
from pyspark_vision.spark.hadoop import create_text, delete, list_names, read_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sinks.bigquery.columns import TableColumn
    from pyspark_vision.sinks.bigquery.load_jobs import Patience
    from pyspark_vision.sinks.bigquery.table_name import TableName

# The service takes requests of less than 10 MB; a row may be as large as one.
REQUEST_BYTES = 4_000_000
LARGEST_ROW_BYTES = 9_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Appended:
    """Rows in a stream, and of those that the service refused each one's line and reason."""

    rows: int
    refused: tuple[tuple[bytes, str], ...] = ()


@dataclass(frozen=True)
class StreamNotes:
    """The names of streams to a table by batch, in ``folder``, which is in the checkpoint."""

    session: SparkSession
    folder: str
    table: TableName

    def read(self, batch_id: int) -> str | None:
        """The stream that is noted for a batch."""
        text = read_text(self.session, self._file(batch_id))
        return None if text is None else str(json.loads(text)["stream"])

    def note(self, batch_id: int, stream: str) -> str:
        """Note a batch's stream, unless one is noted; the one that is noted then."""
        create_text(self.session, self._file(batch_id), json.dumps({"stream": stream}))
        return self.read(batch_id) or stream

    def forget_before(self, batch_id: int) -> None:
        """Remove the notes of earlier batches, which Spark does not replay any more."""
        for name in list_names(self.session, self.folder) or ():
            number = name.removeprefix(self._prefix)
            if number.isdigit() and int(number) < batch_id:
                delete(self.session, f"{self.folder}/{name}")

    @property
    def _prefix(self) -> str:
        return f"stream-{self.table.digest}-"

    def _file(self, batch_id: int) -> str:
        return f"{self.folder}/{self._prefix}{batch_id}"


class WriteStreams:
    """Writes to one table."""

    def __init__(
        self, client: Any, table: TableName, columns: Sequence[TableColumn], patience: Patience
    ) -> None:
        self._client = client
        self._table = table
        self._rows = RowFormat(columns)
        self._patience = patience
        self._parent = f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"

    def filled(self, lines: Iterable[bytes], batch_id: int) -> tuple[str, Appended]:
        """A new stream with these rows, which can be committed: its name, and what is in it."""
        from google.cloud.bigquery_storage_v1 import types

        stream = self._asked(
            batch_id,
            lambda: self._client.create_write_stream(
                parent=self._parent,
                write_stream=types.WriteStream(type_=types.WriteStream.Type.PENDING),
                retry=None,
                timeout=TIMEOUT_S,
            ),
        )
        offset = 0
        refused: list[tuple[bytes, str]] = []
        for part in _parts(lines):
            offset += self._append(stream.name, offset, part, batch_id, refused)
        self._asked(
            batch_id,
            lambda: self._client.finalize_write_stream(
                name=stream.name, retry=None, timeout=TIMEOUT_S
            ),
        )
        return stream.name, Appended(offset, tuple(refused))

    def commit(self, stream: str, batch_id: int) -> None:
        """Commit a stream that :meth:`filled` has filled, unless that has been done.

        Raises :class:`StreamError` if the service does not know the stream any more.
        """
        from google.cloud.bigquery_storage_v1 import types

        codes = types.StorageError.StorageErrorCode

        def commit() -> Any:
            request = types.BatchCommitWriteStreamsRequest(
                parent=self._parent, write_streams=[stream]
            )
            return self._client.batch_commit_write_streams(request, retry=None, timeout=TIMEOUT_S)

        if self._is_committed(stream, batch_id):
            return
        answer = self._asked(batch_id, commit)
        errors = list(answer.stream_errors)
        if any(error.code == codes.STREAM_ALREADY_COMMITTED for error in errors):
            return
        if errors or not answer.commit_time:
            said = errors[0].error_message if errors else "no time of a commit was given"
            raise StreamError(
                f"BigQuery does not commit batch {batch_id} for {self._table} ({said})"
            )

    def _is_committed(self, stream: str, batch_id: int) -> bool:
        from google.api_core import exceptions

        def get() -> Any:
            return self._client.get_write_stream(name=stream, retry=None, timeout=TIMEOUT_S)

        try:
            return bool(self._asked(batch_id, get, passes=(exceptions.NotFound,)).commit_time)
        except exceptions.NotFound:
            raise StreamError(
                f"BigQuery does not know the stream {stream} any more, in which batch {batch_id} "
                f"went to {self._table}, so it cannot be told whether that batch is there. Look "
                "for its rows: if they are missing, remove its file from _bigquery in the "
                "checkpoint; else go on with a new checkpoint"
            ) from None

    def _append(
        self,
        stream: str,
        offset: int,
        lines: list[bytes],
        batch_id: int,
        refused: list[tuple[bytes, str]],
    ) -> int:
        """Append rows at their offset; how many were taken."""
        while lines:
            request = functools.partial(self._appended_once, stream, offset, lines)
            errors = self._asked(batch_id, request)
            if not errors:
                break
            # A request with a row that is refused is refused whole.
            refused += [(lines[index], said) for index, said in errors.items()]
            lines = [line for index, line in enumerate(lines) if index not in errors]
        return len(lines)

    def _appended_once(self, stream: str, offset: int, lines: list[bytes]) -> dict[int, str]:
        """Send one request; the errors of rows by their place."""
        from google.api_core import exceptions
        from google.api_core.gapic_v1 import routing_header
        from google.cloud.bigquery_storage_v1 import types
        from google.rpc import code_pb2

        rows = types.ProtoRows(serialized_rows=[self._rows.encoded(line) for line in lines])
        schema = types.ProtoSchema(proto_descriptor=self._rows.description)
        request = types.AppendRowsRequest(
            write_stream=stream,
            offset=offset,
            proto_rows=types.AppendRowsRequest.ProtoData(writer_schema=schema, rows=rows),
        )
        # By which the service finds the stream's region; the client does not add it.
        routing = routing_header.to_grpc_metadata(  # type: ignore[no-untyped-call]
            {"write_stream": stream}
        )
        try:
            answers = self._client.append_rows(
                iter([request]),
                retry=None,
                timeout=TIMEOUT_S,
                metadata=(routing,),
            )
            answer = next(iter(answers), None)
        except exceptions.AlreadyExists:
            return {}
        if answer is None:
            raise _error(code_pb2.UNAVAILABLE, "the connection ended without an answer")
        if answer.row_errors:
            return {error.index: error.message for error in answer.row_errors}
        if answer.error.code == code_pb2.ALREADY_EXISTS:  # its answer was lost the first time
            return {}
        if answer.error.code:
            raise _error(answer.error.code, answer.error.message)
        return {}

    def _asked(self, batch_id: int, call: Any, passes: tuple[type[Exception], ...] = ()) -> Any:
        from google.api_core import exceptions, retry
        from google.auth.exceptions import GoogleAuthError

        passing = (
            exceptions.ServiceUnavailable,
            exceptions.InternalServerError,
            exceptions.TooManyRequests,
            exceptions.DeadlineExceeded,
            exceptions.Aborted,
            exceptions.Cancelled,
        )
        asked = retry.Retry(
            predicate=retry.if_exception_type(*passing),
            initial=self._patience.first_s,
            maximum=self._patience.longest_s,
            timeout=self._patience.timeout_s,
            on_error=_say,
        )
        try:
            return asked(call)()
        except passes:
            raise
        except exceptions.RetryError as error:
            raise StreamError(
                f"BigQuery did not take batch {batch_id} for {self._table} within "
                f"{self._patience.timeout_s:g} s ({first_line(error.cause or error)}); the next "
                "start sends it again"
            ) from None
        except (exceptions.GoogleAPICallError, GoogleAuthError) as error:
            raise StreamError(
                f"BigQuery refuses batch {batch_id} for {self._table} ({first_line(error)}); the "
                "next start sends it again"
            ) from None


def _parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines in requests of about ``REQUEST_BYTES``; a message is smaller than its JSON."""
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


def _error(code: int, message: str) -> Exception:
    """Google's exception for a code of gRPC that came within an answer."""
    from google.api_core import exceptions

    error: Exception = exceptions.from_grpc_status(  # type: ignore[no-untyped-call]
        code, message
    )
    return error


def _say(error: Exception) -> None:
    _log.warning("BigQuery: %s; asking again", first_line(error))
