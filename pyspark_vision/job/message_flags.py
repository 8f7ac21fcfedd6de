"""Flags for messages that are not the seeds': where their fields are, and what is around them."""

from __future__ import annotations

import argparse
import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.messages import schema_registry
from pyspark_vision.executor.messages.avro_schemas import InvalidSchemaError, parsed
from pyspark_vision.executor.messages.form import (
    MICROSECONDS,
    Field,
    Kind,
    Layer,
    MessageForm,
)
from pyspark_vision.executor.messages.schema_registry import SchemaRegistry, SchemaRegistryError
from pyspark_vision.messages.field_paths import Origin, parsed_field, parsed_path
from pyspark_vision.messages.record_headers import refuse_same_columns
from pyspark_vision.sources.kafka_properties import read_properties

# How long a registry may be away before a batch fails: as long as Kafka's own clients wait for
# brokers (`default.api.timeout.ms`).
REGISTRY_PATIENCE_S = 60.0

# Confluent's names, with or without the prefix that its clients use in a file of Kafka's.
_PREFIX = "schema.registry."
_USER_INFO, _TOKEN, _CA_FILE = (
    "basic.auth.user.info",
    "bearer.auth.token",
    "ssl.ca.location",
)

_NAMES = (
    *("field", "unwrap", "unpack", "timestamp_unit", "coerce", "avro_schema", "schema_registry"),
    *("schema_registry_config", "header_columns"),
)

# What of a record itself is a field, where messages do not have it.
_OF_RECORD = {Kind.TEXT: "key", Kind.TIMESTAMP: "timestamp"}

_OF_AVRO = (Layer.CONFLUENT, Layer.GZIP, Layer.HEX, Layer.PYTHON_BYTES)


def add_message_form(group: argparse._ArgumentGroup, fields: Sequence[str]) -> None:
    """``--field``, ``--unwrap`` and the others; ``fields`` are those of the job."""
    group.add_argument(
        "--field",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help=f"where messages have {', '.join(fields)}: names with dots between them, as "
        "image=payload.frame.data (\\. is a dot in a name), header:NAME for a record's header, or "
        "record:key and record:timestamp for its own key and time",
    )
    group.add_argument(
        "--unwrap",
        metavar="PATH",
        help="read what lies there in a message, an object or JSON as text, instead of the whole",
    )
    group.add_argument(
        "--unpack",
        nargs="+",
        choices=[layer.value for layer in Layer],
        default=[],
        metavar="LAYER",
        help="what may be around messages: gzip, confluent (a zero byte and a schema's id), bom (a "
        "byte order mark), base64, json-text (JSON in JSON's quotes), python-bytes (b'…'); or "
        "around a picture's text: python-bytes, hex",
    )
    group.add_argument(
        "--timestamp-unit",
        choices=list(MICROSECONDS),
        help="take numbers as timestamps: seconds, milliseconds, microseconds or nanoseconds "
        "since 1970",
    )
    group.add_argument(
        "--coerce",
        action="store_true",
        help="take a number as an id, and digits in text as a number of --timestamp-unit",
    )
    group.add_argument(
        "--avro-schema", metavar="FILE", help="messages are Avro, written by this schema"
    )
    group.add_argument(
        "--schema-registry",
        metavar="URL",
        help="messages have Confluent's framing and are Avro, or JSON, by schemas of this registry",
    )
    group.add_argument(
        "--schema-registry-config",
        metavar="FILE",
        help=f"a properties file of the registry's client: {_USER_INFO}=USER:PASSWORD, {_TOKEN}, "
        f"{_CA_FILE}",
    )
    group.add_argument(
        "--header-columns",
        nargs="+",
        default=[],
        metavar="HEADER",
        help="add a column header_NAME to results for each of these record headers",
    )


def message_form(
    options: argparse.Namespace,
    known: Sequence[Field],
    *,
    aliases: Mapping[str, str] | None = None,
    documents: bool = True,
) -> MessageForm | None:
    """How messages are read by the flags of :func:`add_message_form`; ``None``: as the seeds' are.

    ``known``: the job's fields, where the seed's messages have them; ``aliases``: other names for
    them. Without ``documents`` a record's value is the picture, and fields come from headers alone.
    Raises :class:`InvalidOptionError` for what does not go together or is not there, before Spark
    starts: a schema is read, a registry is asked.
    """
    refuse_same_columns(options.header_columns)
    moved, of_record = _moved(options.field, known, aliases or {})
    if not documents:
        _refuse_of_documents(options, moved)
        if not moved:
            return None
        fields = tuple(moved.values())
        return MessageForm(fields, options.max_message_bytes, timestamp_unit=options.timestamp_unit)
    layers = {Layer(name) for name in options.unpack}
    schema, registry = _avro(options, layers)
    if registry is not None:
        layers.add(Layer.CONFLUENT)
        if not options.dry_run:
            _check(registry)
    unwrap = _path("--unwrap", options.unwrap) if options.unwrap is not None else ()
    is_other = moved or of_record or layers or unwrap or schema or registry
    if not is_other and options.timestamp_unit is None and not options.coerce:
        return None
    # What a form does not have, jobs take from the record.
    fields = tuple(moved.get(field.name, field) for field in known if field.name not in of_record)
    return MessageForm(
        fields,
        options.max_message_bytes,
        frozenset(layers),
        unwrap,
        options.timestamp_unit,
        options.coerce,
        schema,
        registry,
    )


def refuse_for_files(options: argparse.Namespace) -> None:
    """Raise :class:`InvalidOptionError` for a flag of messages where files are read."""
    for name in _NAMES:
        if getattr(options, name):
            flag = f"--{name.replace('_', '-')}"
            raise InvalidOptionError(f"{flag} is for messages of Kafka, and --source is files")


def needs_headers(options: argparse.Namespace, form: MessageForm | None) -> bool:
    """Whether records are to be read with their headers."""
    return bool(options.header_columns or (form is not None and form.headers))


def _moved(
    texts: Sequence[str], known: Sequence[Field], aliases: Mapping[str, str]
) -> tuple[dict[str, Field], set[str]]:
    """The fields that ``--field`` names, where it says that they are; names of the record's own."""
    by_name = {field.name: field for field in known}
    moved: dict[str, Field] = {}
    of_record: set[str] = set()
    for text in texts:
        given, path, origin = parsed_field(text, (*by_name, *aliases))
        name = aliases.get(given, given)
        field = by_name[name]
        if name in moved or name in of_record:
            raise InvalidOptionError(f"--field {text}: {name} stands there twice")
        if origin is Origin.RECORD:
            _check_of_record(text, field, path[0], known)
            of_record.add(name)
            continue
        if origin is Origin.HEADER and field.kind not in (Kind.TEXT, Kind.TIMESTAMP):
            raise InvalidOptionError(
                f"--field {text}: a header holds ids and times; {name} comes from the message"
            )
        moved[name] = dataclasses.replace(field, path=path, is_header=origin is Origin.HEADER)
    return moved, of_record


def _check_of_record(text: str, field: Field, part: str, known: Sequence[Field]) -> None:
    if _OF_RECORD.get(field.kind) != part:
        parts = [
            f"{other.name}=record:{_OF_RECORD[other.kind]}"
            for other in known
            if other.kind in _OF_RECORD
        ]
        raise InvalidOptionError(
            f"--field {text}: of a record itself a job takes {' and '.join(parts)}"
        )


def _refuse_of_documents(options: argparse.Namespace, moved: Mapping[str, Field]) -> None:
    given = {
        "--unwrap": options.unwrap,
        "--unpack": options.unpack,
        "--coerce": options.coerce,
        "--avro-schema": options.avro_schema,
        "--schema-registry": options.schema_registry,
    }
    named = [flag for flag, value in given.items() if value]
    named += [f"--field {field.name}" for field in moved.values() if not field.is_header]
    if named:
        raise InvalidOptionError(
            f"{named[0]} is for messages that hold a document, and here a message is the picture "
            "itself: leave it out, or choose another --payload"
            + (", or name a header (header:NAME)" if named[0].startswith("--field") else "")
        )
    if options.timestamp_unit and "timestamp" not in moved:
        raise InvalidOptionError(
            "--timestamp-unit needs --field timestamp=header:NAME where a message is the picture"
        )


def _avro(
    options: argparse.Namespace, layers: set[Layer]
) -> tuple[str | None, SchemaRegistry | None]:
    if options.avro_schema is not None and options.schema_registry is not None:
        raise InvalidOptionError("choose --avro-schema or --schema-registry, not both")
    if options.schema_registry is None and options.schema_registry_config is not None:
        raise InvalidOptionError("--schema-registry-config is of --schema-registry URL")
    if options.avro_schema is None and options.schema_registry is None:
        return None, None
    if of_text := sorted(layers - set(_OF_AVRO)):
        raise InvalidOptionError(
            f"--unpack {of_text[0]} is for text, and --avro-schema and --schema-registry are for "
            f"Avro; choose from {', '.join(_OF_AVRO)}"
        )
    _require_fastavro()
    if options.avro_schema is not None:
        return _schema_text(options.avro_schema), None
    return None, _registry(options.schema_registry, options.schema_registry_config)


def _schema_text(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        parsed(text)
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidOptionError(f"--avro-schema {path}: {said}") from None
    except InvalidSchemaError as error:
        raise InvalidOptionError(f"--avro-schema {path}: {error}") from None
    return text


def _registry(url: str, config: str | None) -> SchemaRegistry:
    if "@" in url:
        raise InvalidOptionError(
            "--schema-registry: credentials never stand on a command line; give them in "
            f"--schema-registry-config FILE, as {_USER_INFO}=USER:PASSWORD"
        )
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment:
        raise InvalidOptionError(f"--schema-registry {url}: give http://HOST:PORT or https://HOST")
    known = {
        key.removeprefix(_PREFIX): value
        for key, value in (read_properties(config) if config is not None else ())
    }
    user_info, token = known.get(_USER_INFO), known.get(_TOKEN)
    if user_info is not None and token is not None:
        raise InvalidOptionError(
            f"--schema-registry-config {config}: choose {_USER_INFO} or {_TOKEN}, not both"
        )
    authorization = None
    if user_info is not None:
        authorization = f"Basic {base64.b64encode(user_info.encode()).decode()}"
    elif token is not None:
        authorization = f"Bearer {token}"
    if authorization is not None and not (authorization.isascii() and authorization.isprintable()):
        raise InvalidOptionError(
            f"--schema-registry-config {config}: {_TOKEN} has letters that no HTTP header holds"
        )
    ca_file = known.get(_CA_FILE)
    if ca_file is not None and not Path(ca_file).is_file():
        raise InvalidOptionError(f"--schema-registry-config {config}: no file {ca_file}")
    return SchemaRegistry(url.rstrip("/"), authorization, ca_file, REGISTRY_PATIENCE_S)


def _check(registry: SchemaRegistry) -> None:
    try:
        schema_registry.check(registry)
    except SchemaRegistryError as error:
        raise InvalidOptionError(f"--schema-registry: {error}") from None


def _require_fastavro() -> None:
    try:
        import fastavro  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingDependencyError(
            "Avro needs fastavro: pip install 'pyspark_vision[avro]', on executors too"
        ) from None


def _path(flag: str, text: str) -> tuple[str, ...]:
    try:
        return parsed_path(text)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{flag} {error}") from None
