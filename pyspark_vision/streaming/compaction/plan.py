"""Which batches are worth merging, by what was listed; no session, no files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """A folder ``batch_id=N`` of an output, as it is listed.

    - ``folder``: its URI; ``files``: the URIs of its Parquet files.
    - ``size_bytes``: of the files together.
    - ``newest_ms``: when the newest of them was written, in milliseconds since 1970.
    """

    batch_id: int
    folder: str
    files: tuple[str, ...]
    size_bytes: int
    newest_ms: int


@dataclass(frozen=True)
class Group:
    """Batches, one after the other, whose rows fit into ``files`` files of about the target."""

    batches: tuple[Batch, ...]
    files: int

    @property
    def up_to(self) -> int:
        """The highest batch: the merged folder has its name."""
        return self.batches[-1].batch_id


def runs(batches: Iterable[Batch], target_bytes: int) -> list[list[Batch]]:
    """Small batches that stand side by side, where merging may leave fewer files.

    A batch whose files have half of ``target_bytes`` on average is done: it stays, so that a run
    after many others writes only what came since, and rows never change their order.
    """
    found: list[list[Batch]] = [[]]
    for batch in batches:
        if 2 * batch.size_bytes >= target_bytes * max(1, len(batch.files)):
            found.append([])
        else:
            found[-1].append(batch)
    return [run for run in found if sum(len(batch.files) for batch in run) > 1]


def groups(run: Iterable[Batch], schemas: Mapping[int, str], target_bytes: int) -> list[Group]:
    """Split a run where the target is full or the columns change, and keep what saves files.

    ``schemas`` has the columns of each batch, by its number; of a batch without files it has none,
    and such a batch goes with any other.
    """
    found: list[list[Batch]] = [[]]
    size_bytes, schema = 0, None
    for batch in run:
        own = schemas.get(batch.batch_id, schema)
        if found[-1] and (size_bytes + batch.size_bytes > target_bytes or own != (schema or own)):
            found.append([])
            size_bytes, schema = 0, None
        found[-1].append(batch)
        size_bytes, schema = size_bytes + batch.size_bytes, own
    return [group for batches in found if (group := _group(batches, target_bytes)) is not None]


def _group(batches: list[Batch], target_bytes: int) -> Group | None:
    size_bytes = sum(batch.size_bytes for batch in batches)
    files = max(1, math.ceil(size_bytes / target_bytes))
    saves = sum(len(batch.files) for batch in batches) > files
    return Group(tuple(batches), files) if saves else None
