"""A result as a line on the console."""

from __future__ import annotations

from datetime import datetime

from pyspark_vision.clients.pycturestream import DetectedObject, Result
from pyspark_vision.messages.topics import NOTHING_DETECTED


def result_line(result: Result, taken_at: datetime) -> str:
    """Local time, camera, and each object with its score and sector; without control characters.

    >>> door = DetectedObject("door", 0.931, ("top", "left"))
    >>> result_line(Result("hall", "", (door,), None), datetime(2026, 11, 21, 8, 0, 0, 250_000))
    '2026-11-21 08:00:00.250 hall: door 0.93 (top left)'
    """
    shown = ", ".join(map(_object, result.objects)) or NOTHING_DETECTED
    when = taken_at.isoformat(" ", "milliseconds")
    return f"{when} {printable(result.camera_id)}: {shown}"


def printable(text: str) -> str:
    """Escapes for what could steer a terminal, or turn the order of a line's letters.

    >>> printable("café \\x1b[2J")
    'café \\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _object(item: DetectedObject) -> str:
    sector = f" ({printable(' '.join(item.sector))})" if item.sector else ""
    score = "" if item.score is None else f" {item.score:.2f}"
    return f"{printable(item.label)}{score}{sector}"
