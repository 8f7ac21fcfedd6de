"""What a Delta table's log says beside rows: whose batches it has, and how columns are filled.

Spark shows none of it: Delta takes the expressions of columns out of a schema, and its numbers of
batches are its own. The form is that of Delta's protocol, which is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = "_delta_log"
# A commit, or a checkpoint, which stays when the commits before it are cleaned up.
_VERSION = re.compile(r"\d{20}\.")
_COMMIT = re.compile(r"\d{20}\.json")
# Of the version in front of a name in the log.
_DIGITS = 20

# In a field's metadata, of a column that Delta fills where rows have none.
_FILLED = ("delta.generationExpression", "delta.identity.start", "CURRENT_DEFAULT")


def versions(session: SparkSession, uri: str) -> list[str]:
    """The names of commits and checkpoints; none if there is no table.

    A driver that is killed before the first commit leaves the log's folder, empty, and files of no
    table.
    """
    names = hadoop.list_names(session, f"{uri}/{FOLDER}") or []
    return sorted(name for name in names if _VERSION.match(name))


def cut_commit(session: SparkSession, uri: str) -> str | None:
    """The newest commit's name if it is not whole: a disk that was full, a copy cut short.

    Delta takes an empty one for a commit without rows and appends behind one that is cut, though
    nobody can read the table any more.
    """
    commits = [name for name in versions(session, uri) if _COMMIT.fullmatch(name)]
    if not commits:
        return None
    lines = hadoop.read_bytes(session, f"{uri}/{FOLDER}/{commits[-1]}").strip().split(b"\n")
    try:
        json.loads(lines[-1])
    except ValueError:
        return commits[-1]
    return None


def newest_txn(session: SparkSession, uri: str, app_id: str) -> int:
    """The greatest ``txnVersion`` of ``app_id``; -1 for none.

    Delta leaves batches up to it out, unless the table forgets it (``configuration``).
    """
    own = (int(txn["version"]) for txn in _actions(session, uri, "txn") if txn["appId"] == app_id)
    return max(own, default=-1)


def configuration(session: SparkSession, uri: str) -> Mapping[str, str]:
    """The table's properties, as ``SHOW TBLPROPERTIES`` has them."""
    settings = _metadata(session, uri).get("configuration") or {}
    return {str(key): str(value) for key, value in dict(settings).items()}


def filled_columns(session: SparkSession, uri: str) -> frozenset[str]:
    """Columns that need not be given: generated ones, identities, those with a default."""
    fields = json.loads(_metadata(session, uri)["schemaString"])["fields"]
    return frozenset(
        str(field["name"]) for field in fields if any(key in field["metadata"] for key in _FILLED)
    )


def _metadata(session: SparkSession, uri: str) -> Mapping[str, Any]:
    """The newest one; the checkpoint's comes first."""
    return list(_actions(session, uri, "metaData"))[-1]


def _actions(session: SparkSession, uri: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """Those of the newest checkpoint, then of the commits since, however many were before."""
    log, names = f"{uri}/{FOLDER}", versions(session, uri)
    checkpoints = [name for name in names if ".checkpoint." in name]
    newest = max((name[:_DIGITS] for name in checkpoints), default="")
    for name in checkpoints:
        if name.startswith(newest):
            reader = session.read.format(name.rpartition(".")[2])
            gathered = reader.load(hadoop.literal(f"{log}/{name}"))
            if kind in gathered.columns:
                found = gathered.where(F.col(kind).isNotNull()).select(f"{kind}.*")
                yield from (row.asDict(recursive=True) for row in found.collect())
    for name in names:
        if _COMMIT.fullmatch(name) and name[:_DIGITS] >= newest:
            for line in hadoop.read_bytes(session, f"{log}/{name}").splitlines():
                if f'"{kind}"'.encode() in line and kind in (action := json.loads(line)):
                    yield action[kind]
