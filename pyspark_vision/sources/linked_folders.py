"""Folders outside of a tree to which its links lead, and the names that their files keep.

Such a file is named by the link by which its folder was first entered. Links that come later, or in
place of the first one, may lead to the same folder, to one above it or below it: its files keep
their names, over all runs of a job, and so each has one row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pyspark_vision.spark.hadoop import create_text, list_names, read_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class LinkedFolders:
    """``names``: by a folder's own place (links resolved), the path by which it was entered.

    ``keep`` is given what has come to them, before any file of it is listed.
    """

    names: dict[bytes, bytes] = field(default_factory=dict)
    keep: Callable[[Mapping[bytes, bytes]], None] = lambda names: None

    def name(self, place: bytes) -> bytes | None:
        """The path that names a folder; ``None`` if no link to it, or above it, was entered yet."""
        entered = place
        while entered not in self.names:
            above = os.path.dirname(entered)
            if above == entered:
                return None
            entered = above
        name = self.names[entered]
        if os.path.isdir(name) and not os.path.islink(name):
            return place  # another folder now has that name for its own
        return name + place[len(entered) :]

    def enter(self, links: Iterable[tuple[bytes, bytes]]) -> None:
        """Name folders, given by their places, by the paths of the links to them."""
        new: dict[bytes, bytes] = {}
        taken = set(self.names.values())
        for place, link in links:
            if self.name(place) is None:
                # A link that leads to another folder than it did.
                new[place] = self.names[place] = place if link in taken else link
                taken.add(link)
        if new:
            self.keep(new)


def kept(session: SparkSession, folder: str) -> LinkedFolders:
    """What earlier runs have entered, by the files in ``folder`` (any Hadoop URI); it grows."""
    linked = LinkedFolders()
    files = sorted(name for name in list_names(session, folder) or [] if name[:1].isdigit())
    for name in files:
        record: dict[str, str] = json.loads(read_text(session, f"{folder}/{name}") or "{}")
        for place, entered_as in record.items():
            linked.names[unquote_to_bytes(place)] = unquote_to_bytes(entered_as)
    following = int(files[-1].partition(".")[0]) + 1 if files else 0

    def keep(names: Mapping[bytes, bytes]) -> None:
        nonlocal following
        record = {quote_from_bytes(place): quote_from_bytes(name) for place, name in names.items()}
        create_text(session, f"{folder}/{following:09d}.json", json.dumps(record))
        following += 1

    linked.keep = keep
    return linked
