"""What a job needs of Kafka, looked at before it starts: in seconds, in one line, with a way on.

Spark finds out later, in its own words and after minutes: it tries to reach brokers for three of
them, and waits as long for a topic to be made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sources import kafka_cluster
from pyspark_vision.sources.kafka import connector
from pyspark_vision.sources.kafka_cluster import Admin, Topic
from pyspark_vision.sources.kafka_offsets import EARLIEST_OFFSET, LATEST_OFFSET, offsets_of
from pyspark_vision.spark.java_errors import Problem
from pyspark_vision.spark.network import refusal
from pyspark_vision.spark.secrets import secrets_of
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sources.kafka import KafkaConnection, KafkaSource

_log = logging.getLogger(__name__)


class UnreachableError(StreamError):
    """No broker takes connections: a wrong address, or an outage, which who starts jobs tries again
    after (exit code 1)."""


def refuse_unreachable(servers: str) -> None:
    """Raise :class:`UnreachableError` if none of the brokers takes connections from here.

    A broker that is down among others that answer is no error. A plain socket asks, so that no JVM
    has to run.
    """
    said = {}
    for address in servers.split(","):
        # Kafka's clients pass over a protocol in front of the host.
        why = refusal(address.strip().rpartition("://")[2])
        if why is None:
            return
        said[address.strip()] = why
    reasons = set(said.values())
    why = reasons.pop() if len(reasons) == 1 else "; ".join(f"{a}: {w}" for a, w in said.items())
    raise UnreachableError(
        f"no broker of `kafka_servers` {servers} answers: {why}. Start the brokers, or correct "
        "`kafka_servers` (in a container, 127.0.0.1 is itself)"
    )


def check_read(
    session: SparkSession,
    source: KafkaSource,
    *,
    uses_starting: bool = True,
    flag: str = "`kafka_topic`",
) -> None:
    """Raise if a topic to be read is not there, or if offsets given as JSON do not fit it.

    ``uses_starting``: not of a stream that goes on, which begins where its checkpoint stands.
    ``flag`` named the topics.
    """
    if is_connect(session):  # no JVM on this side to ask with
        return
    with asking(session, source.connection) as admin:
        known = known_topics(admin, source)
        if source.pattern:
            names = ", ".join(known) or "none yet: the stream waits for one"
            _log.info("topic pattern %s fits the topics %s", source.pattern, names)
        missing = [name for name in source.topics if name not in known]
        if missing:
            raise StreamError(
                f"{flag} {' '.join(source.topics)}: {', '.join(missing)} does not exist on the "
                "brokers. Create the topic, or correct its name"
            )
        bounds = {"ending": source.ending}
        if uses_starting:
            bounds["starting"] = source.starting
        for end, text in bounds.items():
            if text.lstrip().startswith("{"):
                _check_offsets(admin, source, known, end, text)


def topic_limit(session: SparkSession, connection: KafkaConnection, flag: str, topic: str) -> int:
    """``max.message.bytes`` of a topic that is written; 0 where it may not, or cannot, be asked.

    Raises :class:`InvalidOptionError` for a topic that is missing, unless brokers make those.
    """
    if is_connect(session):
        return 0
    with asking(session, connection) as admin:
        if topic in kafka_cluster.topics(admin, [topic]):
            return kafka_cluster.max_message_bytes(admin, topic) or 0
        if kafka_cluster.makes_topics(admin) is not False:
            _log.info("%s %s: the brokers have no such topic yet", flag, topic)
            return 0
    raise InvalidOptionError(
        f"{flag} {topic}: the brokers of `kafka_servers` {connection.servers} have no such topic "
        "and do not create it. Create it, or correct the name"
    )


@contextmanager
def asking(session: SparkSession, connection: KafkaConnection) -> Iterator[Admin]:
    """Kafka's admin client; brokers that do not answer it as they should are a StreamError."""
    connector(session)
    try:
        refuse_unreachable(connection.servers)
        with kafka_cluster.admin(session, connection) as admin:
            yield admin
    except UnreachableError as error:
        # A job looks for that before it starts Spark: they have gone since.
        raise StreamError(f"failed: {error}") from None
    except Problem as problem:
        said = f"failed: `kafka_servers` {problem}"
        raise StreamError(secrets_of(connection.properties, []).masked(said)) from None


def known_topics(admin: Admin, source: KafkaSource) -> dict[str, Topic]:
    """Those of the topics to be read that are there."""
    names = kafka_cluster.matching(admin, source.pattern) if source.pattern else source.topics
    return kafka_cluster.topics(admin, names)


def _check_offsets(
    admin: Admin, source: KafkaSource, known: Mapping[str, Topic], end: str, text: str
) -> None:
    given = offsets_of(text)
    for name in sorted({*given, *known}):
        if name not in known:
            raise _wrong_offsets(
                end, f"the topic {name} is not one that is read ({', '.join(known) or 'none'})"
            )
        there = set(known[name].partitions)
        if set(given.get(name, {})) != there:
            listed = ", ".join(map(str, sorted(given.get(name, {})))) or "none"
            raise _wrong_offsets(
                end,
                f"{name} has the partitions {', '.join(map(str, sorted(there)))}, and offsets are "
                f"given for {listed}: give one for each ({EARLIEST_OFFSET}: its beginning, "
                f"{LATEST_OFFSET}: its end)",
            )
    earliest = kafka_cluster.earliest_offsets(admin, known)
    ends = kafka_cluster.end_offsets(admin, known)
    for (name, partition), last in ends.items():
        offset, first = given[name][partition], earliest[name, partition]
        # What retention has deleted may be skipped where that was said.
        is_gone = 0 <= offset < first and not source.skip_lost
        no_end = end == "ending" and offset == EARLIEST_OFFSET
        if is_gone or no_end or offset > last:
            raise _wrong_offsets(
                end, f"{name}-{partition} has the offsets {first} to {last}, and {offset} is given"
            )


def _wrong_offsets(end: str, what: str) -> InvalidOptionError:
    return InvalidOptionError(f"--{end}-offsets: {what}")
