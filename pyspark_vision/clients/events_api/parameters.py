"""A request's query and body -> what its event says beyond its type: description and metadata."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from pyspark_vision.clients.events_api.refusals import bad_input, other_media_type

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
DESCRIPTION = "description"

# extract_events reads far deeper ones; a purchase is not.
MAX_DEPTH = 32
MAX_DESCRIPTION_CHARS = 1000


@dataclass(frozen=True)
class Parameters:
    """``metadata``: every parameter but ``description``; texts of a query, any JSON of a body."""

    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.description is not None or bool(self.metadata)


def read_parameters(query: bytes, content_type: str, body: bytes) -> Parameters:
    """Query and body together. Raises :class:`Refusal` (400, 415) for what is neither.

    >>> read_parameters(b"guild=thieves", "application/json", b'{"members": 12}')
    Parameters(description=None, metadata={'guild': 'thieves', 'members': 12})
    """
    given: dict[str, Any] = {}
    _add(given, _pairs(query, "the query"), "the query")
    if body:
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == JSON:
            _add(given, list(_json_object(body).items()), "the body")
        elif media_type == FORM:
            _add(given, _form(body), "the body")
        else:
            raise other_media_type(media_type)
    if DESCRIPTION not in given:
        return Parameters(None, given)
    description = given.pop(DESCRIPTION)
    if not isinstance(description, str):
        raise bad_input(f"{DESCRIPTION} must be a text, not {_shown(description)}")
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise bad_input(
            f"{DESCRIPTION} has {len(description)} characters; at most {MAX_DESCRIPTION_CHARS} do"
        )
    return Parameters(description, given)


def _add(given: dict[str, Any], pairs: list[tuple[str, Any]], where: str) -> None:
    for name, value in pairs:
        if not name:
            raise bad_input(f"a parameter of {where} has no name")
        if name in given:
            raise bad_input(f"{_shown(name)} is given twice")
        given[name] = value


def _form(body: bytes) -> list[tuple[str, str]]:
    # What curl -d sends without a header of its own.
    if body.lstrip().startswith(b"{"):
        raise bad_input(f"the body looks like JSON: send it with the header Content-Type: {JSON}")
    return _pairs(body, "the body")


def _pairs(encoded: bytes, where: str) -> list[tuple[str, str]]:
    try:
        # Without a limit parse_qsl is slow for many; 64 KB have at most 32,768.
        return parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict"
        )
    except UnicodeDecodeError:
        raise bad_input(f"{where} is not percent-encoded UTF-8") from None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise bad_input(_too_deep()) from None
    except UnicodeDecodeError:
        raise bad_input("the body is not UTF-8") from None
    except ValueError as error:
        raise bad_input(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise bad_input(f"the body must be a JSON object, not {_shown(given)}")
    _check(given)
    return given


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise bad_input(f"{_shown(twice)} is given twice in one object")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {_shown(text)} is too large")
    return number


def _check(value: Any, depth: int = 1) -> None:
    """Refuse what the readers of the topic could not read: half a letter, a tower of lists."""
    if depth > MAX_DEPTH:
        raise bad_input(_too_deep())
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise bad_input(f"{json.dumps(value)[:40]} has half of a surrogate pair") from None
    elif isinstance(value, list):
        for entry in value:
            _check(entry, depth + 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            _check(name, depth + 1)
            _check(entry, depth + 1)


def _too_deep() -> str:
    return f"the body has lists or objects in one another, more than {MAX_DEPTH} deep"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
