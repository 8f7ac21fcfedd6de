"""An Apache Kafka broker: one process, its own controller (KRaft), with and without a password."""

from __future__ import annotations

import base64
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.local_services.java import (
    LOG_WARNINGS,
    SMALL_JVM,
    java,
    write_properties,
)
from pyspark_vision.clients.local_services.process import Daemon, reserved_ports, run_once

# Frames are larger than Kafka's default of 1 MB.
MESSAGE_MAX_BYTES = 16 * 1024 * 1024
# Any 16 bytes; a broker meets no other here.
CLUSTER_ID = base64.urlsafe_b64encode(b"pyspark_vision_0").decode().rstrip("=")
USER = "spark"


@dataclass(frozen=True)
class Kafka:
    """A running broker: the address for all, the one that asks for user and password."""

    bootstrap_servers: str
    sasl_bootstrap_servers: str
    user: str
    password: str = field(repr=False)
    broker: Daemon

    def sasl_conf(self) -> dict[str, Any]:
        """What a confluent-kafka client needs for the address that asks for a password."""
        return {
            "bootstrap.servers": self.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": self.user,
            "sasl.password": self.password,
        }


@contextmanager
def running(
    folder: Path,
    *,
    message_max_bytes: int = MESSAGE_MAX_BYTES,
    auto_create_topics: bool = False,
    port: int | None = None,
    retention_bytes: int | None = None,
) -> Iterator[Kafka]:
    """A broker with its data in ``folder``, until the end of the block.

    ``port``: ``None``: any that is free. ``retention_bytes``: of each partition, beyond which its
    oldest records go; ``None``: all is kept.
    """
    password = secrets.token_urlsafe(16)
    with reserved_ports(3) as (free, sasl, controller):
        plain = port or free
        settings = {
            **_settings(folder, plain, sasl, controller, password),
            "message.max.bytes": str(message_max_bytes),
            "replica.fetch.max.bytes": str(message_max_bytes),
            # Kafka's default, or room for one message of this size.
            "socket.request.max.bytes": str(max(100 * 1024 * 1024, 2 * message_max_bytes)),
            "auto.create.topics.enable": str(auto_create_topics).lower(),
            **(_retention(retention_bytes) if retention_bytes else {}),
        }
        properties = folder / "server.properties"
        write_properties(properties, settings)
        run_java = [java(), *SMALL_JVM, LOG_WARNINGS, "-cp", f"{jars.folder('kafka-broker')}/*"]
        storage_tool = [*("kafka.tools.StorageTool", "format"), "-t", CLUSTER_ID]
        run_once("kafka-format", [*run_java, *storage_tool, "-c", str(properties)], folder)
        broker = Daemon(
            "kafka",
            [*run_java, "kafka.Kafka", str(properties)],
            folder,
            lambda: _answers(plain) and _answers(sasl) and _knows_itself(plain),
        )
        broker.start()
    # It has its ports now, and who kills it starts it again.
    try:
        yield Kafka(f"127.0.0.1:{plain}", f"127.0.0.1:{sasl}", USER, password, broker)
    finally:
        broker.stop()


def _settings(
    folder: Path, plain: int, sasl: int, controller: int, password: str
) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": (
            f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},"
            f"CONTROLLER://127.0.0.1:{controller}"
        ),
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{USER}="{password}";'
        ),
        "log.dirs": str(folder / "data"),
        # Messages that a test dates back must not be deleted for their age.
        "log.retention.ms": "-1",
        # One broker can hold one copy.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # 50 partitions each, the default, take seconds to make.
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        # A killed broker is taken in again only when its old session has ended (default: 9 s).
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
    }


def _retention(size_bytes: int) -> dict[str, str]:
    """A partition of a few large pictures a second stays below one and a half times that size.

    Whole segments go, looked for every ten seconds. The broker's own log of what it is has a
    record twice a second: by default it is cut for the first time after a gigabyte.
    """
    return {
        "log.retention.bytes": str(size_bytes),
        "log.segment.bytes": str(size_bytes // 8),
        "log.retention.check.interval.ms": "10000",
        "log.segment.delete.delay.ms": "1000",
        "offsets.topic.segment.bytes": str(8 * 1024 * 1024),
        "metadata.log.segment.bytes": str(8 * 1024 * 1024),
        "metadata.max.retention.bytes": str(32 * 1024 * 1024),
    }


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _knows_itself(port: int) -> bool:
    """Whether the metadata names a broker: its port is open some time before clients may use it."""
    try:
        metadata = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=5)
    except KafkaException:
        return False
    return bool(metadata.brokers)
