"""When a stream takes its next batch: words that Spark knows, checked before it starts."""

from __future__ import annotations

import re

from pyspark_vision.errors import InvalidOptionError

AVAILABLE_NOW = "available-now"

# Spark's own units (IntervalUtils) without months and years, whose length is not fixed. It takes
# parts of a second, and of nothing else.
_WHOLE = r"\d{1,8}\s+(?:microsecond|millisecond|second|minute|hour|day|week)s?"
_PARTS_OF_A_SECOND = r"\d{1,8}\.\d{1,9}\s+seconds?"
_INTERVAL = re.compile(
    rf"(?:interval\s+)?(?:{_WHOLE}|{_PARTS_OF_A_SECOND})"
    rf"(?:\s+(?:{_WHOLE}|{_PARTS_OF_A_SECOND}))*",
    re.IGNORECASE,
)


def checked_trigger(text: str) -> str:
    """The interval as it is, or ``available-now`` for each way to spell that.

    Raises :class:`InvalidOptionError` for what Spark would refuse when it has started.
    """
    if is_available_now(text):
        return AVAILABLE_NOW
    if not _INTERVAL.fullmatch(text.strip()):
        raise InvalidOptionError(
            f"{text!r} is no trigger: give an interval as '3 seconds', '500 milliseconds' or "
            "'1 minute 30 seconds' (units: microseconds to weeks; '0 seconds': without a pause), "
            f"or {AVAILABLE_NOW}: read what is there, then stop"
        )
    return text.strip()


def is_available_now(text: str) -> bool:
    """Whether the text means ``available-now``, as Spark's own ``availableNow`` does."""
    return re.sub(r"[\s_-]", "", text).lower() == "availablenow"
