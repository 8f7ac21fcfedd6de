"""The offset of a time zone from UTC, as SQL over microseconds; no extension of DuckDB is needed.

The charts are of local time, as PyctureStream's are: an hour of autumn counts twice.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from pyspark_vision.messages.time_zones import UTC as UTC_NAME

US = 1_000_000
# Beyond these years a time is a broken clock's; zones have no rules of their own there.
FIRST_US = int(datetime(1970, 1, 1, tzinfo=UTC).timestamp()) * US
LAST_US = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * US

# Zones do not change their offset twice within it.
_STEP = timedelta(days=7)


def offset_us_sql(zone: str, us: str, low_us: int, high_us: int) -> str:
    """SQL: what is to be added to UTC's microseconds ``us`` (between the limits).

    >>> offset_us_sql("+02:00", "t", 0, 0)
    '7200000000'
    >>> offset_us_sql("Europe/Zurich", "t", 1774700000000000, 1774800000000000)
    'CASE WHEN t < 1774746000000000 THEN 3600000000 ELSE 7200000000 END'
    """
    fixed = re.fullmatch(r"([+-])(\d\d):(\d\d)", zone)
    if fixed:
        sign, hours, minutes = fixed.groups()
        seconds = (int(hours) * 60 + int(minutes)) * 60
        return str((-seconds if sign == "-" else seconds) * US)
    if zone == UTC_NAME:
        return "0"
    changes = _changes(ZoneInfo(zone), _moment(low_us), _moment(high_us))
    *earlier, (_, last) = changes
    if not earlier:
        return str(last)
    whens = []
    for (_, offset), (until, _) in pairwise(changes):
        whens.append(f"WHEN {us} < {until} THEN {offset}")
    return f"CASE {' '.join(whens)} ELSE {last} END"


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(min(max(us, FIRST_US), LAST_US) / US, UTC)


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * US


def _changes(zone: ZoneInfo, low: datetime, high: datetime) -> list[tuple[int, int]]:
    """(from which microsecond on, offset), the first from ``low`` on."""
    changes = [(round(low.timestamp() * US), _offset(zone, low))]
    while low < high:
        end = min(low + _STEP, high)
        if _offset(zone, end) != changes[-1][1]:
            before, after = low, end
            while after - before > timedelta(seconds=1):
                middle = before + (after - before) / 2
                if _offset(zone, middle) == changes[-1][1]:
                    before = middle
                else:
                    after = middle
            second = -(-round(before.timestamp() * US) // US)
            if _offset(zone, datetime.fromtimestamp(second, UTC)) == changes[-1][1]:
                second += 1
            changes.append((second * US, _offset(zone, end)))
        low = end
    return changes
