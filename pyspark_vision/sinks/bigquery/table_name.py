"""``project.dataset.table``, as people write it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pyspark_vision.errors import InvalidOptionError

# Of Google's documentation. A project may have a domain in front: example.com:project.
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
# Letters, marks, numbers, connectors, dashes and spaces of any script; $ would be a partition.
_TABLE = re.compile(r"[\w -]+")
_LONGEST_TABLE_BYTES = 1024


@dataclass(frozen=True)
class TableName:
    """A table of a dataset of a project."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def digest(self) -> str:
        """A digest of the whole name: short, and of letters that ids and files may have."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]


def parse(text: str, project: str | None, flag: str = "`output_bq_table`") -> TableName:
    """``project.dataset.table``, or ``dataset.table`` of ``project``; a colon after the project,
    as ``bq`` writes it, is taken too.

    Raises :class:`InvalidOptionError`, which names ``flag``.

    >>> str(parse("my-project.ml_streaming.image_predictions", None))
    'my-project.ml_streaming.image_predictions'
    >>> parse("ml_streaming.image_predictions", "my-project").project
    'my-project'
    """
    name = _split(text, project)
    if name is None:
        raise InvalidOptionError(
            f"{flag} {text!r} is no table: give PROJECT.DATASET.TABLE, or DATASET.TABLE and "
            "`project_id`"
        )
    if text.startswith("`"):
        raise InvalidOptionError(f"{flag} {text}: give the name without backticks, as SQL has them")
    if text.startswith("."):
        raise InvalidOptionError(
            f"{flag} {text}: there is no project in front of the first dot (a variable that is not "
            "set?)"
        )
    if not name.project:
        raise InvalidOptionError(
            f"{flag} {text}: the project is missing; give PROJECT.{text}, or `project_id`"
        )
    if not _PROJECT.fullmatch(name.project):
        raise InvalidOptionError(
            f"{flag} {text}: {name.project!r} is no project's id: 6 to 30 small letters, digits "
            "and dashes, a letter first"
        )
    if not _DATASET.fullmatch(name.dataset):
        raise InvalidOptionError(
            f"{flag} {text}: {name.dataset!r} is no dataset's name: letters, digits and _ alone"
        )
    if "$" in name.table:
        raise InvalidOptionError(
            f"{flag} {text}: rows go to the partition of their own time: give the table without "
            "`$`, the mark of one partition"
        )
    if not _TABLE.fullmatch(name.table) or len(name.table.encode()) > _LONGEST_TABLE_BYTES:
        raise InvalidOptionError(
            f"{flag} {text}: {name.table!r} is no table's name: letters, digits, _, dashes and "
            f"spaces, at most {_LONGEST_TABLE_BYTES} bytes"
        )
    return name


def _split(text: str, project: str | None) -> TableName | None:
    # A domain's dots stand before the colon; bq has one after the project as well.
    domain, colon, rest = text.rpartition(":")
    parts = rest.split(".")
    if colon and len(parts) == 2:
        return TableName(domain, *parts)
    if len(parts) == 3:
        return TableName(f"{domain}{colon}{parts[0]}", parts[1], parts[2])
    if len(parts) == 2:
        return TableName(project or "", *parts)
    return None
