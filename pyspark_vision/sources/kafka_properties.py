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


def read_properties(path: str) -> tuple[tuple[str, str], ...]:
    """Kafka client properties of a file: ``key=value`` lines, ``#`` comments.

    Credentials stay in that file: they are never flags, which every process list shows. Raises
    :class:`InvalidOptionError`, which names the line's number and never its text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptionError(f"cannot read Kafka properties {path}: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InvalidOptionError(f"{path}, line {number}: it is not key=value")
        key = key.strip().removeprefix("kafka.")
        if key in _RESERVED_PROPERTIES:
            raise InvalidOptionError(f"{path}, line {number}: {key} is set by the job")
        found.append((key, value.strip()))
    return tuple(found)
