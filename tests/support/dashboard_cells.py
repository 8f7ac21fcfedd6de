"""The data cells of PyctureStream's dashboard notebook, re-created from what its pages show.

It reads `events.json` with pandas, counts events over time in buckets of 15 minutes, and offers
minute, weekday and hour as the axis of a histogram. Its own code is not here; the format is that of
its README and messages.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

AXES = ("minute", "weekday", "hour")


def read_events(path: Path) -> pd.DataFrame:
    """One row per event: ``event_type``, ``timestamp``, ``camera_id`` and a column per axis."""
    events = pd.read_json(path)
    events["timestamp"] = pd.to_datetime(events["timestamp"])
    events["minute"] = events["timestamp"].dt.minute
    events["weekday"] = events["timestamp"].dt.day_name()
    events["hour"] = events["timestamp"].dt.hour
    return events


def counts_over_time(events: pd.DataFrame) -> dict[tuple[str, str], int]:
    """How many of each event in each quarter of an hour that has some, by its beginning."""
    counted = events.groupby([pd.Grouper(key="timestamp", freq="15min"), "event_type"]).size()
    table = counted.reset_index(name="count")
    begins = table["timestamp"].dt.strftime("%Y-%m-%d %H:%M")
    return dict(zip(zip(begins, table["event_type"], strict=True), table["count"], strict=True))


def histogram(events: pd.DataFrame, axis: str) -> dict[object, int]:
    """How many events at each value of an axis."""
    return events[axis].value_counts().to_dict()
