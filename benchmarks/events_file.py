"""What a flush of `receive --events` costs at 10 MB and 100 MB, as it is and where it must copy.

python -m benchmarks.events_file [FOLDER]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from pyspark_vision.clients.receiver.events_file import EventsFile, open_events
from pyspark_vision.clients.receiver.record import Owner

SIZES_MB, FLUSHES, EVENTS_PER_FLUSH = (0, 10, 100), 20, 20
EVENT = {"event_type": "person", "timestamp": "2026-11-28 08:00:00.000000", "camera_id": "hall"}


def fill(events: EventsFile, size_mb: int) -> None:
    """In parts, as a receiver would."""
    while events.path.stat().st_size < size_mb << 20:
        add(events, 10_000)
        events.flush()


def add(events: EventsFile, count: int) -> None:
    """So many events, one to a message."""
    for _ in range(count):
        events.add([EVENT], None)
    events.advance(0, events.offsets[0] + count)


def flush_ms(events: EventsFile, *, is_read: bool) -> list[float]:
    """Of each flush; ``is_read``: somebody keeps each file open, so that none is a spare one."""
    taken, readers = [], []
    for _ in range(FLUSHES):
        if is_read:
            readers.append(events.path.open())
        add(events, EVENTS_PER_FLUSH)
        begun = time.perf_counter()
        events.flush()
        taken.append((time.perf_counter() - begun) * 1_000)
    for reader in readers:
        reader.close()
    return taken


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    for size_mb in SIZES_MB:
        with tempfile.TemporaryDirectory(dir=where) as folder:
            owner = Owner("cluster", "results", "id", "group", ())
            events = open_events(Path(folder) / "events.json", owner, lambda: {0: 0})
            fill(events, size_mb)
            for how, is_read in (("spare file", False), ("copy", True)):
                taken = flush_ms(events, is_read=is_read)
                median, worst = statistics.median(taken), max(taken)
                print(f"{size_mb:4} MB, {how}: median {median:.1f} ms, worst {worst:.1f} ms")
            events.close()


if __name__ == "__main__":
    main()
