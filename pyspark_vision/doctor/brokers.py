"""Kafka: brokers, seen from here and from executors, and topics, by the JVM's own client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark_vision.doctor.findings import Problem
from pyspark_vision.doctor.jvm import Remedies, explained, has_class
from pyspark_vision.doctor.network import refusal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SOURCE = "org.apache.spark.sql.kafka010.KafkaSourceProvider"
# Of the client, for one answer.
_TIMEOUT_MS = 10_000

_REMEDIES: Remedies = (
    (("SaslAuthentication",), "Correct user and password in the file of --kafka-config"),
    (("SslAuthentication",), "Correct ssl.truststore.* and ssl.keystore.* in --kafka-config"),
    (("TopicAuthorization",), "Give this user the right to the topic"),
    (("UnknownTopicOrPartition",), "Create the topic, or correct its name"),
    (
        ("Timeout",),
        "Does this listener want security.protocol (SSL, SASL_SSL, SASL_PLAINTEXT) in the file of "
        "--kafka-config? A client that does not match it gets no answer",
    ),
)


@dataclass(frozen=True)
class Client:
    """``servers``: ``host:port,host:port``; ``properties`` are never shown.

    As :class:`~pyspark_vision.sources.kafka.KafkaConnection`, without PySpark, which may be what
    is missing.
    """

    servers: str
    properties: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def connector(session: SparkSession) -> str:
    """Spark's Kafka source is on the class path."""
    from pyspark_vision.sources.kafka import missing_connector

    if not has_class(session, _SOURCE):
        raise missing_connector(session)
    return _SOURCE


def ports(servers: str) -> str:
    """At least one of ``host:port,host:port`` takes connections from here."""
    refusals = {address: refusal(address) for address in servers.split(",")}
    said = [f"{address}: {why}" for address, why in refusals.items() if why]
    if len(said) == len(refusals):
        raise Problem(
            ", ".join(said),
            "Start the brokers, or correct --kafka-servers (in a container, 127.0.0.1 is itself)",
        )
    return ", ".join(said) or f"{servers} take connections"


def brokers(session: SparkSession, client: Client) -> str:
    """They answer a client with these properties; their addresses as they announce them."""
    addresses = announced(session, client)
    return f"{len(addresses)} answer, announced as {', '.join(addresses)}"


def announced(session: SparkSession, client: Client) -> list[str]:
    """``host:port`` of each broker (``advertised.listeners``), which clients use from then on."""
    jvm: Any = session.sparkContext._jvm
    with _admin(session, client) as admin:
        nodes = jvm.java.util.ArrayList(_answer(session, admin.describeCluster().nodes()))
    return sorted(f"{node.host()}:{node.port()}" for node in nodes)


def from_executors(session: SparkSession, client: Client) -> str:
    """Executors reach each broker under the address that it announces."""
    addresses = announced(session, client)
    context = session.sparkContext
    tasks = context.defaultParallelism

    def ask(_: Iterable[int]) -> Iterator[tuple[str, str, str | None]]:
        import socket

        from pyspark_vision.doctor.network import refusal

        for address in addresses:
            yield socket.gethostname(), address, refusal(address)

    said = set(context.parallelize(range(tasks), tasks).mapPartitions(ask).collect())
    failed = sorted(f"{host} cannot reach {address}: {why}" for host, address, why in said if why)
    if failed:
        raise Problem(
            "; ".join(failed),
            "Let advertised.listeners of the brokers name addresses that executors reach",
        )
    return f"{', '.join(sorted({host for host, _, _ in said}))} reach {', '.join(addresses)}"


def topic(session: SparkSession, client: Client, name: str, max_message_bytes: int) -> str:
    """The topic exists, and takes messages as large as the job."""
    jvm: Any = session.sparkContext._jvm
    names = jvm.java.util.ArrayList()
    names.add(name)
    resources = jvm.java.util.ArrayList()
    kind = getattr(jvm.org.apache.kafka.common.config, "ConfigResource$Type").TOPIC
    resources.add(jvm.org.apache.kafka.common.config.ConfigResource(kind, name))
    with _admin(session, client) as admin:
        described = _answer(session, admin.describeTopics(names).allTopicNames()).get(name)
        configs = _answer(session, admin.describeConfigs(resources).all())
    [config] = configs.values()
    limit = int(config.get("max.message.bytes").value())
    if limit < max_message_bytes:
        raise Problem(
            f"{name} takes messages of up to {limit} bytes, the job of up to {max_message_bytes}",
            f"Raise the topic's max.message.bytes, or say --max-message-bytes {limit} if yours are "
            "smaller",
        )
    partitions = described.partitions().size()
    more = (
        f"; those above {max_message_bytes} would be too_many_bytes"
        if limit > max_message_bytes
        else ""
    )
    return f"{name}: {partitions} partitions, messages of up to {limit} bytes{more}"


@contextmanager
def _admin(session: SparkSession, client: Client) -> Iterator[Any]:
    """Kafka's admin client; its refusals come out as one line with what to do."""
    jvm: Any = session.sparkContext._jvm
    properties = jvm.java.util.Properties()
    for key, value in client.properties:
        properties.put(key, value)
    properties.put("bootstrap.servers", client.servers)
    for key in ("request.timeout.ms", "default.api.timeout.ms"):
        properties.put(key, str(_TIMEOUT_MS))
    with explained(client.servers, _REMEDIES):
        admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(properties)
        try:
            yield admin
        finally:
            admin.close(jvm.java.time.Duration.ZERO)


def _answer(session: SparkSession, future: Any) -> Any:
    jvm: Any = session.sparkContext._jvm
    return future.get(2 * _TIMEOUT_MS, jvm.java.util.concurrent.TimeUnit.MILLISECONDS)
