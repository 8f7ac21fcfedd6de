"""How a message is built that is not one of the seeds': what a job is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from pyspark_vision.executor.messages.schema_registry import SchemaRegistry


class Kind(StrEnum):
    """What a field is read as."""

    PICTURE = "picture"
    URI = "uri"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    MAP = "map"


class Layer(StrEnum):
    """What can be around a document, or around the text of a picture."""

    BASE64 = "base64"
    BOM = "bom"
    CONFLUENT = "confluent"
    GZIP = "gzip"
    HEX = "hex"
    JSON_TEXT = "json-text"
    PYTHON_BYTES = "python-bytes"


# Of one unit of `timestamp_unit`.
MICROSECONDS = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}


@dataclass(frozen=True)
class Field:
    """One field that a job needs, and where a message has it.

    ``name``: as the job calls it; ``path``: names from the document's top on, or the name of a
    record header if ``is_header``. One that is ``required`` and missing is the row's error.
    """

    name: str
    kind: Kind
    path: tuple[str, ...]
    is_header: bool = False
    required: bool = True


@dataclass(frozen=True)
class MessageForm:
    """How messages are read.

    - ``fields``: at most one of each name, and one of the kind ``PICTURE`` or ``URI`` at most.
    - ``max_bytes``: of a message, as it came and unpacked.
    - ``layers``: what may be around a document or a picture's text. It need not be there.
    - ``unwrap``: the path of the document in its envelope.
    - ``timestamp_unit``: what numbers count since 1970: ``s``, ``ms``, ``us``, ``ns``;
      ``None``: numbers are no timestamps.
    - ``coerce``: a number is taken as an id, and digits in text as a timestamp's number.
    - ``avro_schema``: JSON; ``registry``: where schemas are by their ids. Neither: JSON messages.
    """

    fields: tuple[Field, ...]
    max_bytes: int
    layers: frozenset[Layer] = frozenset()
    unwrap: tuple[str, ...] = ()
    timestamp_unit: str | None = None
    coerce: bool = False
    avro_schema: str | None = None
    registry: SchemaRegistry | None = None

    @property
    def is_avro(self) -> bool:
        """Whether the document may be Avro."""
        return self.avro_schema is not None or self.registry is not None

    @property
    def headers(self) -> tuple[str, ...]:
        """The record headers that fields come from, in the order in which they are given."""
        return tuple(field.path[0] for field in self.fields if field.is_header)
