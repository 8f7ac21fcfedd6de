"""Names of time zones: which ones Java and Python both understand, and which one is this machine's.

A name of the IANA database (``Europe/Zurich``, ``UTC``), or a fixed offset (``+02:00``).
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import zoneinfo
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyspark_vision.errors import InvalidOptionError

UTC = "UTC"

# Java's offsets end at 18 hours.
_OFFSET = re.compile(r"[+-](?:(?:0\d|1[0-7]):[0-5]\d|18:00)")

# POSIX text of a zone without summer time: <+03>-3, JST-9. It counts hours to the west.
_POSIX_OFFSET = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)([+-]?)(\d{1,2})(?::(\d\d))?")

# Files beside the zones, which Java does not know; and one that Spark does not read behind a time.
_NO_ZONES = {"Factory", "localtime", "ROC"}

_NEAR_NAMES = 3


# The files and folder that say which zone is a machine's.
_LINK, _TEXT = "/etc/localtime", "/etc/timezone"


@dataclass(frozen=True)
class LocalTimeZone:
    """This machine's zone; if ``not_understood`` says what is set, ``name`` is UTC instead."""

    name: str
    not_understood: str | None = None


def check_time_zone(name: str) -> str:
    """``name``, if Java and Python both know it; else :class:`InvalidOptionError`, near names."""
    known = _known()
    # Without a database (a bare image) Python knows no name, but Java has its own.
    if name in known or _OFFSET.fullmatch(name) or (known == {UTC} and "/" in name):
        return name
    near = _near(name)
    meant = f"; did you mean {', '.join(near)}?" if near else "."
    raise InvalidOptionError(
        f"{name!r} is no time zone{meant} Choose a name as Europe/Zurich (capitals count), UTC, or "
        "a fixed offset as +02:00"
    )


def time_zone(text: str) -> str:
    """An argparse type: :func:`check_time_zone`."""
    try:
        return check_time_zone(text)
    except InvalidOptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def local_time_zone() -> LocalTimeZone:
    """This machine's zone: of ``TZ``, else of /etc/localtime (a link or a copy), /etc/timezone."""
    setting = os.environ.get("TZ", "")
    value = setting.removeprefix(":")
    if not value:
        return _of_machine()
    name = _of_file(Path(value)) if value.startswith("/") else _plain(value) or _fixed(value)
    return LocalTimeZone(name) if name else LocalTimeZone(UTC, f"TZ={setting}")


def _of_machine() -> LocalTimeZone:
    link, text = Path(_LINK), Path(_TEXT)
    said = ""
    try:
        said = text.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # only Debian and its kin have it
        pass
    exists = link.exists()
    # What C and Java go by; the text may be left from before.
    name = _of_file(link, likely=said) if exists else None
    name = name or _plain(said)
    if name:
        return LocalTimeZone(name)
    if exists or said:
        return LocalTimeZone(UTC, _LINK if exists else f"{_TEXT}, which says {said[:40]!r}")
    return LocalTimeZone(UTC)  # as everywhere where nothing is set


def _of_file(path: Path, likely: str = "") -> str | None:
    """The zone of a file: of its place below a folder ``zoneinfo``, or else of its content."""
    if name := _plain(os.path.realpath(path).partition("/zoneinfo/")[2]):
        return name
    try:
        content = path.read_bytes()
    except OSError:
        return None
    # Zones of the same content are the same; the likely names first.
    for name in (likely, UTC, *sorted(_known())):
        if _plain(name) and _content(name) == content:
            return _plain(name)
    return None


def _content(name: str) -> bytes | None:
    for folder in zoneinfo.TZPATH:
        try:
            return (Path(folder) / name).read_bytes()
        except OSError:
            continue
    return None


def _plain(name: str) -> str | None:
    """A known name as people write it (``UTC`` for ``Etc/UTC``), or ``None``."""
    name = name.removeprefix("posix/")
    if name not in _known():
        return None
    return UTC if name == "Etc/UTC" else name


def _fixed(posix: str) -> str | None:
    """The offset of a zone in POSIX text that has no summer time, or ``None``."""
    match = _POSIX_OFFSET.fullmatch(posix)
    if match is None:
        return None
    west, hours, minutes = match.groups()
    offset = f"{'+' if west == '-' else '-'}{int(hours):02}:{minutes or '00'}"
    if offset == "-00:00":
        return UTC
    return offset if _OFFSET.fullmatch(offset) else None


@cache
def _known() -> frozenset[str]:
    return frozenset({UTC, *zoneinfo.available_timezones()} - _NO_ZONES)


def _near(name: str) -> list[str]:
    """Names that differ in capitals or a few letters, of the whole or of the city alone."""
    by_spelling: dict[str, str] = {}
    for known in sorted(_known(), reverse=True):
        by_spelling[known.rpartition("/")[2].lower()] = known
    by_spelling |= {known.lower(): known for known in _known()}
    wanted = name.strip().lower().replace(" ", "_")
    close = difflib.get_close_matches(wanted, sorted(by_spelling), 2 * _NEAR_NAMES, cutoff=0.75)
    return list(dict.fromkeys(by_spelling[spelling] for spelling in close))[:_NEAR_NAMES]
