"""Files that are still being written wait until they have not changed for a while.

A file's time alone does not say: it may be of a clock that goes ahead. So a file has settled when
its time is longer ago than that, by this machine's clock, or when two looks that far apart have
shown the same size and time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from pyspark_vision.sources.file_names import LeftOut
from pyspark_vision.sources.listed_files import ListedFile, Tally

DEFAULT_SETTLE_S = 2.0

# How many looks a file gets before the job ends without it.
_LOOKS = 30

# Files that wait: above this they are looked at again before the listing goes on.
_MOST_WAITING = 10_000

Look = Callable[[ListedFile], tuple[int, int] | None]


@dataclass(frozen=True)
class Waiting:
    """A file that may still change, as it was seen last, by ``time.monotonic()``."""

    file: ListedFile
    seen_at: float
    looks: int = 1


def has_settled(file: ListedFile, settle_s: float) -> bool:
    """Whether one look is enough: its time is past, and long enough ago."""
    if file.modified_ms is None or settle_s <= 0:
        return True
    return 0 <= file.modified_ms / 1000 <= time.time() - settle_s


def settled(
    files: Iterator[ListedFile], settle_s: float, look: Look, tally: Tally
) -> Iterator[ListedFile]:
    """The files as they settle; those that do not in some thirty looks are left out."""
    waiting: list[Waiting] = []
    for file in files:
        if has_settled(file, settle_s):
            yield file
            continue
        waiting.append(Waiting(file, time.monotonic()))
        if len(waiting) >= _MOST_WAITING:
            waiting = yield from _look_again(waiting, settle_s, look, tally)
    while waiting:
        waiting = yield from _look_again(waiting, settle_s, look, tally)


def _look_again(
    waiting: list[Waiting], settle_s: float, look: Look, tally: Tally
) -> Generator[ListedFile, None, list[Waiting]]:
    """One more look at each; returns those that have changed since the last one."""
    still: list[Waiting] = []
    for entry in waiting:
        time.sleep(max(0.0, entry.seen_at + settle_s - time.monotonic()))
        changed = looked_at(entry, look)
        if changed is None:
            yield entry.file
        elif changed.looks > _LOOKS:
            tally.leave_out(LeftOut.NOT_SETTLED)
        else:
            still.append(changed)
    return still


def looked_at(waiting: Waiting, look: Look) -> Waiting | None:
    """The file as it is now, to wait on; ``None`` if it has not changed, or is gone."""
    now = look(waiting.file)
    # What is gone is for its row to say.
    if now is None or now == (waiting.file.size, waiting.file.modified_ms):
        return None
    size, modified_ms = now
    file = replace(waiting.file, size=size, modified_ms=modified_ms)
    return Waiting(file, time.monotonic(), waiting.looks + 1)
