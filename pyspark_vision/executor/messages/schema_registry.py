"""A schema registry's REST API (Confluent's, and others' that speak it): schemas by their ids.

**A registry that is away is not a bad message.** Its messages may be good, and as dead letters they
would be taken out of the stream for an outage that ends by itself. So a request that fails is made
again, with growing pauses, for ``patience_s``; after that :class:`SchemaRegistryError` fails the
task, Spark's retries ask again, and then the batch fails: it is not committed, no sink has it, and
the next start reads it again. Only the registry's own word that it has no such schema is the
message's error.

Schemas never change under an id, so a worker asks for each once; it keeps the last ``_MOST_KEPT``.
Ids that are not known are asked for again after a while: the schema may be registered later.
"""

from __future__ import annotations

import functools
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

# A topic has a handful of schemas; a hostile producer may name as many ids as it likes.
_MOST_KEPT = 256
_MOST_UNKNOWN = 10_000
UNKNOWN_FOR_S = 5.0

# First pause before a registry is asked again, doubled each time.
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0

# Confluent's numbers for a subject, a version, a schema that is not there. A 404 of another kind is
# of a path that the server does not have: another program's, or the registry's with a prefix.
_NOT_THERE = (40401, 40402, 40403)

_TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_MEDIA_TYPES = "application/vnd.schemaregistry.v1+json, application/json"

# Schemas that name others, which name others; Confluent's own clients have no bound.
_DEEPEST_REFERENCE = 16


@dataclass(frozen=True)
class SchemaRegistry:
    """Where a registry is, and how long it may be away.

    ``authorization``: the value of that header, a secret; ``ca_file``: certificates to trust, a
    file on each executor, instead of the system's.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    patience_s: float = 60.0


@dataclass(frozen=True)
class RegisteredSchema:
    """``kind``: ``AVRO``, ``JSON`` or ``PROTOBUF``; ``named``: the schemas it refers to, in order
    in which they may be read."""

    kind: str
    text: str
    named: tuple[str, ...] = ()


class SchemaRegistryError(RuntimeError):
    """The registry does not answer, or not as one: no word on any message."""


class UnknownSchemaError(LookupError):
    """The registry has no such schema."""


def schema_of(registry: SchemaRegistry, schema_id: int) -> RegisteredSchema:
    """The schema of an id, from this worker's memory or from the registry.

    Raises :class:`UnknownSchemaError`, or :class:`SchemaRegistryError` after ``patience_s``.
    """
    key = (registry, schema_id)
    if time.monotonic() - _unknown.get(key, -UNKNOWN_FOR_S) < UNKNOWN_FOR_S:
        raise UnknownSchemaError
    try:
        return _known(registry, schema_id)
    except UnknownSchemaError:
        if len(_unknown) >= _MOST_UNKNOWN:
            _unknown.clear()
        _unknown[key] = time.monotonic()
        raise


def check(registry: SchemaRegistry) -> None:
    """Raise :class:`SchemaRegistryError` if there is no registry, or it refuses the credentials."""
    try:
        _asked(registry, "/schemas/ids/1")
    except UnknownSchemaError:
        pass


_unknown: dict[tuple[SchemaRegistry, int], float] = {}


@functools.lru_cache(maxsize=_MOST_KEPT)
def _known(registry: SchemaRegistry, schema_id: int) -> RegisteredSchema:
    answer = _patiently_asked(registry, f"/schemas/ids/{schema_id}")
    named: dict[tuple[str, int], str] = {}
    _add_references(registry, answer, named, 0)
    return RegisteredSchema(
        str(answer.get("schemaType") or "AVRO"), str(answer["schema"]), tuple(named.values())
    )


def _add_references(
    registry: SchemaRegistry, answer: Mapping[str, Any], named: dict[tuple[str, int], str], at: int
) -> None:
    if at > _DEEPEST_REFERENCE:
        raise SchemaRegistryError(f"{registry.url}: schemas refer to each other without end")
    for reference in answer.get("references") or ():
        place = (str(reference["subject"]), int(reference["version"]))
        if place not in named:
            path = f"/subjects/{quote(place[0], safe='')}/versions/{place[1]}"
            other = _patiently_asked(registry, path)
            _add_references(registry, other, named, at + 1)  # what it needs is read before it
            named[place] = str(other["schema"])


def _patiently_asked(registry: SchemaRegistry, path: str) -> Mapping[str, Any]:
    until, pause_s = time.monotonic() + registry.patience_s, _FIRST_PAUSE_S
    while True:
        try:
            return _asked(registry, path)
        except _AwayError as error:
            if time.monotonic() + pause_s > until:
                raise SchemaRegistryError(
                    f"{error}, for {registry.patience_s:g} s; no message is lost by it: the batch "
                    "is not committed, and the next start reads it again"
                ) from None
        time.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)


class _AwayError(SchemaRegistryError):
    """What another request may change."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credentials to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@functools.lru_cache(maxsize=8)
def _opener(ca_file: str | None) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=ca_file)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())


def _asked(registry: SchemaRegistry, path: str) -> Mapping[str, Any]:
    where = f"the schema registry at {registry.url}"
    request = urllib.request.Request(registry.url + path, headers={"Accept": _MEDIA_TYPES})
    if registry.authorization is not None:
        request.add_unredirected_header("Authorization", registry.authorization)
    try:
        with _opener(registry.ca_file).open(request, timeout=_TIMEOUT_S) as answer:
            body = answer.read(_MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            _raise_refused(where, error)
    except ssl.SSLError as error:
        raise SchemaRegistryError(f"{where} is not trusted: {error.reason}") from None
    except OSError as error:  # URLError among them
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLError):
            raise SchemaRegistryError(f"{where} is not trusted: {reason.reason}") from None
        raise _AwayError(f"{where} does not answer: {reason}") from None
    except http.client.HTTPException as error:
        raise _AwayError(f"{where} does not answer: {type(error).__name__}") from None
    reply = _json_object(body)
    if reply is None or not isinstance(reply.get("schema"), str):
        raise SchemaRegistryError(f"{where} answers {path} with something else than a schema")
    return reply


def _raise_refused(where: str, error: urllib.error.HTTPError) -> None:
    status = error.code
    try:
        said = _json_object(error.read(_MAX_ANSWER_BYTES)) or {}
    except (OSError, http.client.HTTPException):
        said = {}
    if status == 404 and said.get("error_code") in _NOT_THERE:
        raise UnknownSchemaError
    if status in (401, 403):
        raise SchemaRegistryError(
            f"{where} refuses the credentials (HTTP {status}); `schema_registry_config` has them"
        )
    if status in (408, 429) or status >= 500:
        raise _AwayError(f"{where} answers HTTP {status}")
    raise SchemaRegistryError(f"{where} answers HTTP {status}: is it the registry's address?")


def _json_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
