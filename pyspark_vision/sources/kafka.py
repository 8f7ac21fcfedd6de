"""Kafka topics, as a stream or from one offset to another.

Rows: ``origin`` (``kafka:topic/partition/offset``), ``key``, ``value`` (bytes), ``topic``,
``partition``, ``offset``, ``received`` (the record's timestamp).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.sources.kafka_offsets import offsets_of
from pyspark_vision.spark.internals import KAFKA_SOURCE
from pyspark_vision.spark.java_errors import has_class

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EARLIEST, LATEST = "earliest", "latest"

# How long a broker keeps a request for records that are not there yet; Kafka's own is 500. Spark
# asks for what is there, but behind its back the consumer asks for more; what Spark asks next, for
# the ends of the partition, waits in the broker until that is answered.
_FETCH_WAIT_MS = 10


@dataclass(frozen=True)
class KafkaConnection:
    """``servers``: ``host:port,host:port``. ``properties``: Kafka's own, from a file.

    Secrets live in ``properties`` only, which are never printed.
    """

    servers: str
    properties: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def options(self) -> dict[str, str]:
        """The connection as options of Spark's Kafka source and sink."""
        prefixed = {f"kafka.{key}": value for key, value in self.properties}
        return {"kafka.bootstrap.servers": self.servers, **prefixed}


@dataclass(frozen=True)
class KafkaSource:
    """Which records are read.

    - ``topics``, or a ``pattern`` (a Java regular expression of topic names).
    - ``starting`` (a stream's first run, or a batch), ``ending`` (batches only): ``"earliest"``,
      ``"latest"``, an ISO-8601 time, or JSON as ``{"topic": {"0": 23, "1": -2}}``.
    - ``max_offsets_per_trigger`` bounds each micro-batch, always. Between two batches the cores
      wait some 0.2 s: a backlog goes faster in larger ones (benchmarks/NOTES.md).
    - ``skip_lost``: topics (or the pattern) whose records may have gone by retention before they
      were read; without it that is an error.
    - ``headers``: give them too, as a column ``headers`` of ``array<struct<key, value>>``.
    """

    connection: KafkaConnection
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    starting: str = LATEST
    ending: str = LATEST
    max_offsets_per_trigger: int = 1000
    skip_lost: tuple[str, ...] = ()
    headers: bool = False

    def __post_init__(self) -> None:
        if bool(self.topics) == bool(self.pattern):
            raise InvalidOptionError("Kafka: give topics, or a pattern of topic names, not both")
        read = {self.pattern} if self.pattern else set(self.topics)
        if self.skip_lost and set(self.skip_lost) != read:
            raise InvalidOptionError(
                f"skip_lost={', '.join(self.skip_lost)} must name what is read: "
                f"{', '.join(sorted(read))}"
            )
        for end, value in (("starting", self.starting), ("ending", self.ending)):
            _bounds(end, value)


def read_kafka(session: SparkSession, source: KafkaSource) -> DataFrame:
    """The records from ``starting`` to ``ending``, once."""
    options = {**_options(session, source), **_bounds("starting", source.starting)}
    options |= _bounds("ending", source.ending)
    return _load(session.read.format("kafka").options(**options), session)


def stream_kafka(session: SparkSession, source: KafkaSource) -> DataFrame:
    """The records from ``starting`` (or from where the checkpoint stands) on."""
    options = {
        **_options(session, source),
        **_bounds("starting", source.starting),
        "maxOffsetsPerTrigger": str(source.max_offsets_per_trigger),
    }
    return _load(session.readStream.format("kafka").options(**options), session)


def _options(session: SparkSession, source: KafkaSource) -> dict[str, str]:
    chosen = (
        {"subscribePattern": source.pattern}
        if source.pattern
        else {"subscribe": ",".join(source.topics)}
    )
    return {
        "kafka.fetch.max.wait.ms": str(_FETCH_WAIT_MS),
        # What a transaction has taken back was never sent; Kafka's own default reads that, too.
        "kafka.isolation.level": "read_committed",
        **source.connection.options(),
        **chosen,
        "includeHeaders": str(source.headers).lower(),
        "failOnDataLoss": str(not source.skip_lost).lower(),
        # A topic with fewer partitions than there are cores would leave cores idle.
        "minPartitions": str(session.sparkContext.defaultParallelism),
    }


def _bounds(end: str, value: str) -> dict[str, str]:
    if value in (EARLIEST, LATEST):
        return {f"{end}Offsets": value}
    if value.lstrip().startswith("{"):
        _check_json(end, value)
        return {f"{end}Offsets": value}
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidOptionError(
            f"{end} offsets {value!r}: choose {EARLIEST}, {LATEST}, an ISO-8601 time (local "
            'without a zone) or JSON as {"topic": {"0": 23}}'
        ) from None
    bounds = {f"{end}Timestamp": str(int(moment.timestamp() * 1000))}
    # No record is that young yet: begin with the next one.
    return {**bounds, "startingOffsetsByTimestampStrategy": "latest"}


def _check_json(end: str, text: str) -> None:
    try:
        offsets_of(text)
    except ValueError as error:
        raise InvalidOptionError(
            f'--{end}-offsets {text}: {error}; give JSON as {{"topic": {{"0": 23}}}}'
        ) from None


def _load(reader: Any, session: SparkSession) -> DataFrame:
    try:
        records: DataFrame = reader.load()
    except AnalysisException:
        connector(session)
        raise
    place = F.concat_ws("/", "topic", "partition", "offset")
    return records.select(
        F.concat(F.lit("kafka:"), place).alias("origin"),
        "key",
        "value",
        "topic",
        "partition",
        "offset",
        F.col("timestamp").alias("received"),
        *(["headers"] if "headers" in records.columns else []),
    )


def connector(session: SparkSession) -> str:
    """The class of Spark's Kafka source; :class:`MissingDependencyError` where it is not there."""
    if not has_class(session, KAFKA_SOURCE):
        raise missing_connector(session)
    return KAFKA_SOURCE


def missing_connector(session: SparkSession) -> MissingDependencyError:
    """The error of a session without Spark's Kafka connector, with the flags that bring it."""
    # PySpark 3.5 brings the Spark that is built with Scala 2.12.
    scala = "2.12" if session.version.startswith("3.") else "2.13"
    connector = f"org.apache.spark:spark-sql-kafka-0-10_{scala}:{session.version}"
    return MissingDependencyError(
        f"this Spark has no Kafka connector: submit with --packages {connector}, or through "
        f"scripts/submit; for a command of pyspark-vision: --conf spark.jars.packages={connector}"
    )
