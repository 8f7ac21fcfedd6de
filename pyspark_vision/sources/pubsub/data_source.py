"""The Python data source ``pubsub`` of PySpark 4.0 and newer."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition

from pyspark_vision.executor.worker.idle import in_task, wait_quietly
from pyspark_vision.sources.pubsub.options import ReaderOptions, reader_options

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

try:  # PySpark 4.2 and newer
    from pyspark.sql.streaming.datasource import ReadMaxRows, SupportsTriggerAvailableNow
except ImportError:
    READS_ALL_AND_ENDS = False

    class SupportsTriggerAvailableNow:  # type: ignore[no-redef]
        """Before 4.2 a Python source has no word in it."""
else:
    READS_ALL_AND_ENDS = True

SCHEMA = (
    "subscription string, message_id string, publish_time timestamp, ordering_key string, "
    "attributes map<string,string>, data binary"
)
_SEGMENT = "segment"


class PubSubDataSource(DataSource):
    """``spark.readStream.format("pubsub")``; its options are those of :func:`reader_options`."""

    @classmethod
    def name(cls) -> str:
        """As :meth:`DataStreamReader.format` knows it."""
        return "pubsub"

    def schema(self) -> str:
        """The columns, in Spark's words."""
        wait_quietly()  # a worker that plans is asked for no more than this, and waits
        return SCHEMA

    def streamReader(self, schema: StructType) -> PubSubStreamReader:
        """Called in the process of the source, and where tasks are planned; the first pulls."""
        wait_quietly()
        return PubSubStreamReader(reader_options(self.options))


class _Slice(InputPartition):
    """Messages of a task, which are handed to it: it asks no service and reads no file."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class PubSubStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Offsets are ``{"segment": N}``: how many segments of the journal were planned."""

    def __init__(self, options: ReaderOptions) -> None:
        self._options = options
        self._reader: Any = None
        self._drains = False

    def initialOffset(self) -> dict[str, int]:
        """Of a new checkpoint."""
        return {_SEGMENT: 0}

    def latestOffset(
        self, start: dict[str, int] | None = None, limit: object = None
    ) -> dict[str, int]:
        """The next segment, as large as the options allow; PySpark 4.2 gives ``start``."""
        return {_SEGMENT: self._running().latest(None if start is None else start[_SEGMENT])}

    def getDefaultReadLimit(self) -> Any:
        """As the options say."""
        return ReadMaxRows(self._options.max_messages)

    def prepareForTriggerAvailableNow(self) -> None:
        """Read what is there, then end."""
        self._drains = True

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[_Slice]:
        """The messages of a batch, of which each task gets a part."""
        return [_Slice(part) for part in self._running().partitions(start[_SEGMENT], end[_SEGMENT])]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """In a task."""
        from pyspark_vision.sources.pubsub.messages import from_bytes

        assert isinstance(partition, _Slice)
        yield from in_task([from_bytes(partition.content)])

    def commit(self, end: dict[str, int]) -> None:
        """Spark's own word that a batch is committed; it comes with the next one."""
        self._running().commit(end[_SEGMENT])

    def stop(self) -> None:
        """End what was started. What is left is to tell the JVM why, which may be gone."""
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
            wait_quietly()

    def _running(self) -> Any:
        """The reader, started when Spark asks for the first time."""
        if self._reader is None:
            from pyspark_vision.sources.pubsub.reader import Reader, store_of
            from pyspark_vision.sources.pubsub.service import Service

            # Of a process of Spark's, whose stderr is the driver's.
            logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
            _leave_signals_to_the_driver()
            reader = Reader(self._options, store_of(self._options), Service(self._options.endpoint))
            if self._drains:
                reader.begin_to_drain()
            reader.start()
            self._reader = reader
        return self._reader


def _leave_signals_to_the_driver() -> None:
    """Ctrl-C and a service's stop reach all of a job's processes; the driver ends its stream when
    the batch in hand is committed, and then closes the connection to this one, after a SIGTERM.
    What waits here is given back then.
    """
    # A driver that is gone is an error here, as long as this process works.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
