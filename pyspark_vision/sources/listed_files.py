"""What a listing gives: files, and counts of what was left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.sources.file_names import LeftOut, Names

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file, or an object of a store.

    - ``origin``: what stands in its row: text, whatever the bytes of its name are.
    - ``uri``: by which executors fetch it.
    - ``size`` in bytes and ``modified_ms`` since 1970; ``None`` where only a list of keys says
      that it is there.
    - ``known_as``: the URI by which it was listed first, where links lead to it by another now.
    """

    origin: str
    uri: str
    size: int | None = None
    modified_ms: int | None = None
    known_as: str | None = None

    @property
    def identity(self) -> str:
        """The same whatever links lead to the file."""
        return self.known_as or self.uri


@dataclass
class Tally:
    """How many files a listing has seen, those with a row among them, and why others have none.

    ``seen`` counts each file once, left out or not, and each link to a folder that is not followed.
    """

    seen: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable_folders: list[str] = field(default_factory=list)

    def takes(self, names: Names, name: str) -> bool:
        """Count a file of this name; whether it is to be read."""
        self.seen += 1
        reason = names.left_out(name)
        if reason is not None:
            self.leave_out(reason)
        return reason is None

    def leave_out(self, reason: LeftOut, files: int = 1) -> None:
        """Files that were seen and get no row."""
        self.left_out[reason.value] += files

    def leave_out_link(self, reason: LeftOut) -> None:
        """A link to a folder, which is not followed."""
        self.seen += 1
        self.leave_out(reason)

    def unreadable(self, folder: str, why: str) -> None:
        """A folder whose files nobody has seen: it counts as one."""
        self.seen += 1
        self.leave_out(LeftOut.UNREADABLE_FOLDER)
        self.unreadable_folders.append(f"{folder}: {why}")


def key_of(origin: str) -> str:
    """One spelling for each place: ``s3a://b/k`` is ``s3://b/k``, ``file:///a`` is ``file:/a``."""
    return re.sub("^file:/{2,}", "file:/", re.sub("^s3a://", "s3://", origin))


def key_column(origin: Column) -> Column:
    """:func:`key_of` of a column."""
    same_store = F.regexp_replace(origin, "^s3a://", "s3://")
    return F.regexp_replace(same_store, "^file:/{2,}", "file:/")
