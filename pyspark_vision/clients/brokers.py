"""Kafka as clients outside Spark reach it, by confluent-kafka: flags, settings, errors."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from pyspark_vision.errors import InvalidOptionError, PysparkVisionError
from pyspark_vision.sources.kafka_properties import read_properties
from pyspark_vision.spark.network import refusal

DEFAULT_SERVERS = "127.0.0.1:9092"

# For one answer of the brokers, as the jobs wait.
TIMEOUT_S = 10.0

# librdkafka logs what it meets to standard error, line after line; what counts comes as an error.
_log = logging.getLogger("pyspark_vision.clients.librdkafka")
_log.addHandler(logging.NullHandler())
_log.propagate = False

# Java's clients say how to log in by one line of JAAS; librdkafka by two settings of its own.
_JAVA_ONLY = {
    "sasl.jaas.config": "sasl.username and sasl.password",
    "ssl.truststore.location": "ssl.ca.location (a PEM file)",
    "ssl.keystore.location": "ssl.certificate.location and ssl.key.location (PEM files)",
}


class BrokersError(PysparkVisionError, RuntimeError):
    """Brokers or a topic that a client cannot use; the message says what to do."""


@dataclass(frozen=True)
class Brokers:
    """``servers``: ``host:port,host:port``. ``properties``: librdkafka's own, never printed."""

    servers: str = DEFAULT_SERVERS
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def config(self, **settings: Any) -> dict[str, Any]:
        """A configuration for a confluent-kafka client; ``_`` in a name stands for ``.``."""
        own = {name.replace("_", "."): value for name, value in settings.items()}
        return {"bootstrap.servers": self.servers, "logger": _log, **self.properties, **own}


def add_flags(parser: argparse._ActionsContainer) -> None:
    """``--kafka-servers`` and ``--kafka-config``, named as those of the jobs."""
    parser.add_argument(
        "--kafka-servers", default=DEFAULT_SERVERS, metavar="HOST:PORT,…", help="the brokers"
    )
    parser.add_argument(
        "--kafka-config",
        metavar="FILE",
        help="a properties file of librdkafka: security.protocol, sasl.username, …",
    )


def from_flags(options: argparse.Namespace) -> Brokers:
    """The brokers that :func:`add_flags`'s flags describe.

    Raises :class:`InvalidOptionError` for a file that cannot be read, or is one of Java's clients.
    """
    properties = dict(read_properties(options.kafka_config)) if options.kafka_config else {}
    for name, instead in _JAVA_ONLY.items():
        if name in properties:
            raise InvalidOptionError(
                f"--kafka-config {options.kafka_config}: {name} is for Java's clients; "
                f"this command needs {instead}"
            )
    return Brokers(options.kafka_servers, properties)


def check_topics(brokers: Brokers, topics: Iterable[str]) -> None:
    """Raise :class:`BrokersError` if no broker answers, or if one of ``topics`` does not exist."""
    refuse_unreachable(brokers)
    try:
        known = AdminClient(brokers.config()).list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise BrokersError(explained(brokers, error.args[0])) from None
    missing = [name for name in topics if name not in known]
    if missing:
        raise BrokersError(
            f"topic {', '.join(missing)} does not exist on {brokers.servers}. Create it, or "
            "correct its name"
        )


def refuse_unreachable(brokers: Brokers) -> None:
    """Raise :class:`BrokersError` if none of the brokers takes connections; by a plain socket."""
    said = {server.strip(): refusal(server.strip()) for server in brokers.servers.split(",")}
    if all(said.values()):
        why = "; ".join(dict.fromkeys(str(reason) for reason in said.values()))
        raise BrokersError(
            f"no broker of --kafka-servers {brokers.servers} answers: {why}. Start the brokers, or "
            "correct --kafka-servers"
        )


def explained(brokers: Brokers, error: KafkaError) -> str:
    """What a librdkafka error means to a person, in one line, and what to do."""
    said = f"Kafka at {brokers.servers}: {error.str()}"
    if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
        return (
            f"{said}. Is this listener one that wants security.protocol (SSL, SASL_SSL, "
            "SASL_PLAINTEXT) in the file of --kafka-config?"
        )
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return f"{said}. Correct user and password in the file of --kafka-config"
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return (
            f"{said}. Raise max.message.bytes of the topic and message.max.bytes in the file of "
            "--kafka-config, or send smaller pictures"
        )
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return f"{said}. Create the topic, or correct its name"
    return said
