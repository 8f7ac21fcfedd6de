"""Moments as local text, the same in every session: none goes through the session's own zone.

There an hour of autumn stands twice, and an hour of spring never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

FRACTION_DIGITS = 6


def local_text(moment: Column, time_zone: str) -> Column:
    """``2026-11-21T08:00:00.250000``: the local time in ``time_zone``, without an offset."""
    # from_utc_timestamp moves the moment by the zone's offset: its time in UTC is the local one.
    # Text in UTC, whatever the session's zone, have only timestamps without a zone.
    local_us = F.unix_micros(F.from_utc_timestamp(moment, time_zone))
    since_1970 = F.make_dt_interval(secs=(local_us.cast("decimal(19,0)") / 1_000_000))
    text = (F.lit("1970-01-01").cast("timestamp_ntz") + since_1970).cast("string")
    return with_all_digits(F.translate(text, " ", "T"))


def with_seconds(text: Column) -> Column:
    """ISO-8601 text with seconds, whether it had them or not: ``2026-11-21T08:00:00Z``."""
    return F.regexp_replace(text, r"^([\d-]{10}[T ]\d\d:\d\d)(?!:)", "$1:00")


def with_all_digits(text: Column) -> Column:
    """Local text with six digits of its fraction, whatever it had."""
    text = with_seconds(text)
    whole = F.regexp_extract(text, r"^([^.,]*)", 1)
    fraction = F.rpad(F.regexp_extract(text, r"[.,](\d+)$", 1), FRACTION_DIGITS, "0")
    return F.concat(whole, F.lit("."), fraction)
