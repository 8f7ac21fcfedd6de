"""Where a message has a job's fields, as people write it: ``image=payload.frame.data``."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum

from pyspark_vision.errors import InvalidOptionError

_HEADER, _RECORD = "header:", "record:"

# A name: no dot and no backslash but behind a backslash.
_NAME = re.compile(r"(?:[^.\\]|\\[.\\])+")


class Origin(StrEnum):
    """What a field is taken from."""

    DOCUMENT = "document"
    HEADER = "header"
    RECORD = "record"


def parsed_path(text: str) -> tuple[str, ...]:
    r"""Names from the document's top on; ``\.`` is a dot in a name, ``\\`` a backslash.

    Raises :class:`InvalidOptionError` for an empty name or a backslash before anything else.

    >>> parsed_path("payload.frame.data")
    ('payload', 'frame', 'data')
    >>> parsed_path(r"device\.id")
    ('device.id',)
    """
    names: list[str] = []
    end = 0
    while (match := _NAME.match(text, end)) is not None:
        names.append(re.sub(r"\\(.)", r"\1", match[0]))
        end = match.end()
        if end == len(text):
            return tuple(names)
        if text[end] != ".":
            break
        end += 1
    raise InvalidOptionError(
        rf"{text!r} is no path: names with dots between them, as payload.frame.data; "
        r"a dot in a name is \., a backslash \\"
    )


def parsed_field(text: str, known: Collection[str]) -> tuple[str, tuple[str, ...], Origin]:
    """``NAME=PATH``, ``NAME=header:HEADER`` or ``NAME=record:PART`` -> name, path, and of what.

    Raises :class:`InvalidOptionError` if it is none of them, or the job has no such field.
    """
    name, equals, where = text.partition("=")
    if not equals or not where:
        raise InvalidOptionError(
            f"`field` {text}: it must be NAME=PATH, as image=payload.frame.data, or "
            "NAME=header:HEADER"
        )
    if name not in known:
        raise InvalidOptionError(
            f"`field` {text}: this job has no field {name!r}; choose from {', '.join(known)}"
        )
    if where.startswith(_HEADER):
        header = where.removeprefix(_HEADER)
        if not header:
            raise InvalidOptionError(f"`field` {text}: the header's name is missing")
        return name, (header,), Origin.HEADER
    if where.startswith(_RECORD):
        return name, (where.removeprefix(_RECORD),), Origin.RECORD
    try:
        return name, parsed_path(where), Origin.DOCUMENT
    except InvalidOptionError as error:
        raise InvalidOptionError(f"`field` {text}: {error}") from None
