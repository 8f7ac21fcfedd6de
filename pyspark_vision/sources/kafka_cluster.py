"""What brokers say of themselves and their topics, by Kafka's admin client in the session's JVM.

Public API of ``kafka-clients``, which Spark's connector brings. PySpark is imported by nobody here:
`pyspark-vision doctor` looks whether it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyspark_vision.spark.hadoop import is_java_error
from pyspark_vision.spark.internals import JavaError, java_class
from pyspark_vision.spark.java_errors import Remedies, explained

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Of the client, for one answer.
_TIMEOUT_MS = 10_000

_ADMIN = "org.apache.kafka.clients.admin"

# By names of Kafka's public exceptions.
_REMEDIES: Remedies = (
    (("SaslAuthentication",), "Correct user and password in the file of `kafka_config`"),
    (
        ("JAAS", "LoginModule", "serviceName"),
        "Correct sasl.mechanism and sasl.jaas.config in the file of `kafka_config` (as "
        "PlainLoginModule required username=… password=…;)",
    ),
    (("SslAuthentication",), "Correct ssl.truststore.* and ssl.keystore.* in `kafka_config`"),
    (("TopicAuthorization",), "Give this user the right to the topic"),
    (("UnknownTopicOrPartition",), "Create the topic, or correct its name"),
    (
        ("Timeout",),
        "Does this listener want security.protocol (SSL, SASL_SSL, SASL_PLAINTEXT) or another "
        "sasl.mechanism in the file of `kafka_config`? A client that does not match it gets no "
        "answer",
    ),
)

# Brokers before 2.8 give their topics no ids; the client then has this one.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"

Place = tuple[str, int]  # topic and partition


class Connection(Protocol):
    """``host:port,host:port``, and Kafka's own properties, which are never shown."""

    @property
    def servers(self) -> str: ...

    @property
    def properties(self) -> tuple[tuple[str, str], ...]: ...


@dataclass(frozen=True)
class Admin:
    """Kafka's admin client, and the session whose JVM it lives in."""

    session: SparkSession
    client: Any

    def java_class(self, name: str) -> Any:
        """A class of Java or Kafka, by its whole name."""
        return java_class(self.session, name)


@dataclass(frozen=True)
class Topic:
    """``topic_id`` is another when a topic is made anew; ``None``: the brokers have no ids."""

    topic_id: str | None
    partitions: tuple[int, ...]


@contextmanager
def admin(session: SparkSession, connection: Connection) -> Iterator[Admin]:
    """An admin client; what it refuses comes out as one ``Problem`` with what to do."""
    with (
        explained(connection.servers, _REMEDIES),
        connected(session, connection) as client,
    ):
        yield client


@contextmanager
def connected(session: SparkSession, connection: Connection) -> Iterator[Admin]:
    """An admin client, and the JVM's own exceptions."""
    properties = java_class(session, "java.util.Properties")()
    for key, value in connection.properties:
        properties.put(key, value)
    properties.put("bootstrap.servers", connection.servers)
    for key in ("request.timeout.ms", "default.api.timeout.ms"):
        properties.put(key, str(_TIMEOUT_MS))
    client = java_class(session, f"{_ADMIN}.AdminClient").create(properties)
    try:
        yield Admin(session, client)
    finally:
        client.close(java_class(session, "java.time.Duration").ZERO)


def announced(admin: Admin) -> list[str]:
    """``host:port`` of each broker (``advertised.listeners``), which clients use from then on."""
    return sorted(f"{node.host()}:{node.port()}" for node in _nodes(admin))


def cluster_id(admin: Admin) -> str:
    """The id that a cluster gave itself when it was made."""
    return str(_answer(admin, admin.client.describeCluster().clusterId()))


def matching(admin: Admin, pattern: str) -> list[str]:
    """The topics whose whole names a Java regular expression fits, as Spark's source takes them."""
    listed = _answer(admin, admin.client.listTopics().names())
    names = admin.java_class("java.util.ArrayList")(listed)
    fits = admin.java_class("java.util.regex.Pattern").compile(pattern).asMatchPredicate()
    names.removeIf(fits.negate())
    return sorted(str(name) for name in names)


def fits(admin: Admin, pattern: str, topic: str) -> bool:
    """Whether :func:`matching` would give this topic, if it is there."""
    return bool(admin.java_class("java.util.regex.Pattern").matches(pattern, topic))


def topics(admin: Admin, names: Iterable[str]) -> dict[str, Topic]:
    """Those of the topics that are there."""
    listed = admin.java_class("java.util.ArrayList")()
    for name in names:
        listed.add(name)
    existing = {}
    for name, future in dict(admin.client.describeTopics(listed).topicNameValues()).items():
        described = _answer_or_none(admin, future, "UnknownTopicOrPartitionException")
        if described is not None:
            topic_id = str(described.topicId().toString())
            partitions = sorted(int(partition.partition()) for partition in described.partitions())
            existing[name] = Topic(None if topic_id == _NO_ID else topic_id, tuple(partitions))
    return existing


def max_message_bytes(admin: Admin, topic: str) -> int | None:
    """The largest batch of records that a topic takes; ``None`` if it may not be asked."""
    configs = _configs(admin, "TOPIC", topic)
    return None if configs is None else int(configs.get("max.message.bytes").value())


def makes_topics(admin: Admin) -> bool | None:
    """Whether brokers make a topic that somebody writes to; ``None`` if they may not be asked."""
    nodes = _nodes(admin)
    configs = _configs(admin, "BROKER", str(nodes[0].id())) if len(nodes) else None
    entry = None if configs is None else configs.get("auto.create.topics.enable")
    return None if entry is None else str(entry.value()) == "true"


def earliest_offsets(admin: Admin, known: Mapping[str, Topic]) -> dict[Place, int]:
    """Where each partition begins."""
    return _offsets(admin, known, admin.java_class(f"{_ADMIN}.OffsetSpec").earliest())


def end_offsets(admin: Admin, known: Mapping[str, Topic]) -> dict[Place, int]:
    """The offset that each partition's next record will have."""
    return _offsets(admin, known, admin.java_class(f"{_ADMIN}.OffsetSpec").latest())


def _nodes(admin: Admin) -> Any:
    nodes = _answer(admin, admin.client.describeCluster().nodes())
    return admin.java_class("java.util.ArrayList")(nodes)


def _offsets(admin: Admin, known: Mapping[str, Topic], spec: Any) -> dict[Place, int]:
    new_place = admin.java_class("org.apache.kafka.common.TopicPartition")
    asked = admin.java_class("java.util.HashMap")()
    places = {}
    for name, topic in known.items():
        for partition in topic.partitions:
            place = new_place(name, partition)
            places[name, partition] = place
            asked.put(place, spec)
    if not places:
        return {}
    answered = _answer(admin, admin.client.listOffsets(asked).all())
    return {place: int(answered.get(asked_of).offset()) for place, asked_of in places.items()}


def _configs(admin: Admin, kind: str, name: str) -> Any:
    resource = "org.apache.kafka.common.config.ConfigResource"
    kinds = admin.java_class(f"{resource}$Type")
    resources = admin.java_class("java.util.ArrayList")()
    resources.add(admin.java_class(resource)(getattr(kinds, kind), name))
    future = admin.client.describeConfigs(resources).all()
    refused = ("TopicAuthorizationException", "ClusterAuthorizationException")
    configs = _answer_or_none(admin, future, *refused, "UnsupportedVersionException")
    if configs is None:
        return None
    [config] = configs.values()
    return config


def _answer_or_none(admin: Admin, future: Any, *errors: str) -> Any:
    """``None`` where the answer is one of these exceptions."""
    try:
        return _answer(admin, future)
    except JavaError as error:
        if is_java_error(error, *errors):
            return None
        raise


def _answer(admin: Admin, future: Any) -> Any:
    units = admin.java_class("java.util.concurrent.TimeUnit")
    return future.get(2 * _TIMEOUT_MS, units.MILLISECONDS)
