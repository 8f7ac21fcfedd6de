"""Kafka: brokers, seen from here and from executors, and topics, by the JVM's own client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark_vision.sources import kafka_cluster
from pyspark_vision.spark.java_errors import Problem
from pyspark_vision.spark.network import refusal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    from pyspark_vision.sources import kafka  # PySpark may be what is missing

    return kafka.connector(session)


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
    """``host:port`` of each broker, as it announces itself."""
    with kafka_cluster.admin(session, client) as admin:
        return kafka_cluster.announced(admin)


def from_executors(session: SparkSession, client: Client) -> str:
    """Executors reach each broker under the address that it announces."""
    addresses = announced(session, client)
    context = session.sparkContext
    tasks = context.defaultParallelism

    def ask(_: Iterable[int]) -> Iterator[tuple[str, str, str | None]]:
        import socket

        from pyspark_vision.spark.network import refusal

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
    with kafka_cluster.admin(session, client) as admin:
        described = kafka_cluster.topics(admin, [name]).get(name)
        if described is None:
            raise Problem(f"{name} is not there", "Create the topic, or correct its name")
        limit = kafka_cluster.max_message_bytes(admin, name)
    partitions = len(described.partitions)
    if limit is None:
        return f"{name}: {partitions} partitions; this user may not ask for its max.message.bytes"
    if limit < max_message_bytes:
        raise Problem(
            f"{name} takes messages of up to {limit} bytes, the job of up to {max_message_bytes}",
            f"Raise the topic's max.message.bytes, or say --max-message-bytes {limit} if yours are "
            "smaller",
        )
    more = (
        f"; those above {max_message_bytes} would be too_many_bytes"
        if limit > max_message_bytes
        else ""
    )
    return f"{name}: {partitions} partitions, messages of up to {limit} bytes{more}"
