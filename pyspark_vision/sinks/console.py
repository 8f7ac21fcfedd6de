"""A few rows of each batch on the terminal, one line each, for a person to follow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark_vision.sinks import terminal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from pyspark_vision.sinks import Sink

ROWS_SHOWN = 5
# What is found, one after the other in a row.
_LISTS = ("detections", "segments", "poses", "lines", "predictions")
_NAME_CHARS = 40
_EVENT_CHARS = 200


def console_sink(rows: int = ROWS_SHOWN) -> Sink:
    """Prints ``rows`` results of each batch, by ``origin``: what was found, or why not.

    A letter that the terminal lacks is an escape; a reader that has gone (``| head``) is no error.
    """

    def write(results: DataFrame, batch_id: int) -> None:
        columns = ("origin", *_LISTS, "embedding", "event", "error")
        shown = [name for name in columns if name in results.columns]
        for row in results.select(*shown).orderBy("origin").limit(rows).collect():
            if not terminal.say(f"batch {batch_id}: {line_of(row)}", sys.stdout):
                break

    return write


def line_of(row: Row) -> str:
    """A row of results as a line: what it is of, and what was found or why not."""
    fields: dict[str, Any] = row.asDict()
    origin = str(fields.get("origin") or "-")
    # A record is known by topic/partition/offset, a file by its name.
    record = origin.removeprefix("kafka:")
    name = _printable(record if record != origin else origin.rsplit("/", 1)[-1])
    error = fields.get("error")
    if error is not None:
        return f"{name:<{_NAME_CHARS}} ! {error['code']}: {_printable(error['message'])}"
    if "embedding" in fields:
        return f"{name:<{_NAME_CHARS}} {len(fields['embedding'] or [])} numbers"
    if "event" in fields:
        return f"{name:<{_NAME_CHARS}} {_event(fields['event'])}"
    items: Sequence[Row] = next((fields[column] for column in _LISTS if fields.get(column)), [])
    listing = ", ".join(_item(item.asDict()) for item in items)
    return f"{name:<{_NAME_CHARS}} {listing or 'nothing detected'}"


def _item(item: dict[str, Any]) -> str:
    named = item["text"] if "text" in item else item["label"]
    label = named or ("no text" if "text" in item else f"#{item['class_id']}")
    score = "" if item["score"] is None else f" {item['score']:.2f}"
    return f"{_printable(label)}{score}"


def _event(event: Row) -> str:
    raw = _printable(event["raw_event"])
    shown = raw if len(raw) <= _EVENT_CHARS else raw[: _EVENT_CHARS - 1] + "…"
    return f"{_printable(event['event_type'] or '-')}: {shown}"


def _printable(text: str) -> str:
    """Names and messages come from data: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
