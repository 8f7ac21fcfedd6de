"""Kafka's own properties, from a file that only its user may read. Free of Spark."""

from __future__ import annotations

from pathlib import Path

from pyspark_vision.errors import InvalidOptionError

# What Spark sets itself, or refuses.
_RESERVED_PROPERTIES = (
    "bootstrap.servers",
    "key.deserializer",
    "value.deserializer",
    "key.serializer",
    "value.serializer",
    "enable.auto.commit",
    "auto.offset.reset",
    "interceptor.classes",
)

# What librdkafka calls otherwise, which the commands of clients take; Java's clients pass over it.
_LIBRDKAFKA_ONLY = {
    "sasl.mechanisms": "sasl.mechanism",
    "sasl.username": "sasl.jaas.config",
    "sasl.password": "sasl.jaas.config",
    "ssl.ca.location": "ssl.truststore.location",
    "ssl.certificate.location": "ssl.keystore.location",
    "ssl.key.location": "ssl.keystore.location",
}
_FILES = ("ssl.truststore.location", "ssl.keystore.location")
_ISOLATION, _ISOLATIONS = "isolation.level", ("read_committed", "read_uncommitted")


def read_java_properties(path: str) -> tuple[tuple[str, str], ...]:
    """What :func:`read_properties` reads, for Java's clients, which jobs use.

    Raises :class:`InvalidOptionError` also for what these would pass over or end by a stack trace.
    """
    properties = read_properties(path)
    given = dict(properties)
    for name, instead in _LIBRDKAFKA_ONLY.items():
        if name in given and instead not in given:
            raise InvalidOptionError(
                f"{path}: {name} is librdkafka's, for commands of pyspark-vision; a job needs "
                f"{instead}, as Java's clients have it"
            )
    for name in _FILES:
        if name in given and not Path(given[name]).is_file():
            raise InvalidOptionError(f"{path}: there is no file at {name}")
    if (level := given.get(_ISOLATION)) is not None and level not in _ISOLATIONS:
        raise InvalidOptionError(f"{path}: {_ISOLATION} must be one of {', '.join(_ISOLATIONS)}")
    return properties


def read_properties(path: str) -> tuple[tuple[str, str], ...]:
    """Kafka client properties of a file: ``key=value`` lines, ``#`` comments.

    Credentials stay in that file: they are never flags, which every process list shows. Raises
    :class:`InvalidOptionError`, which names the line's number and never its text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptionError(f"cannot read Kafka properties {path}: {error}") from None
    properties = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidOptionError(f"{path}, line {number}: it is not key=value")
        key = key.strip().removeprefix("kafka.")
        if key in _RESERVED_PROPERTIES:
            raise InvalidOptionError(f"{path}, line {number}: {key} is set by the job")
        properties.append((key, value.strip()))
    return tuple(properties)
