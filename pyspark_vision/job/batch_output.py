"""The output folder of a batch job that can be stopped and started again.

``OUTPUT/batch_id=N`` holds the rows of batch N, ``OUTPUT/_job`` says which job they are of
(:mod:`pyspark_vision.sinks.owner`). In a Connect session, which has no file system, it is read and
written through Spark.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException

from pyspark_vision.bundles import digest
from pyspark_vision.columns.compatibility import error_condition
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.spark.hadoop import (
    delete,
    list_names,
    literal,
    local_path,
    qualified,
    read_text,
)
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

    from pyspark_vision.bundles.spec import ModelSpec

_log = logging.getLogger(__name__)

JOB, ROLE = "batch_embed", "vectors"
_OUTPUT_FLAG, _LETTERS_FLAG = "--output", "--dead-letters"

# In the record of an output: the model's identity, by which it is decided, and in words.
_DIGEST, _IDENTITY = "model_digest", "model_identity"

# All that the job makes in its output, the mark last: who is stopped on the way goes on with it.
# (An older version kept a checkpoint there.)
_CHECKPOINT = "_checkpoint"
_OWN = re.compile(rf"batch_id=\d+|{_CHECKPOINT}|_staging_\d+|_failed|_links")


def check(
    session: SparkSession | None,
    output: str,
    *,
    adopts: bool,
    removes: bool,
    flag: str = _OUTPUT_FLAG,
) -> None:
    """Raise :class:`InvalidOptionError` if ``output`` is not this job's, or to become it.

    ``flag``: by which the user knows it. ``session`` may be ``None`` for a local path, and is not
    one of Connect.
    """
    if _is_old(session, output):
        return
    try:
        owner.check(session, output, Mark(JOB, ROLE), flag, adopts=adopts)
    except InvalidOptionError as error:
        if not removes:
            raise
        raise InvalidOptionError(f"--overwrite removes only what {JOB} wrote. {error}") from None


def claim(
    session: SparkSession,
    output: str,
    settings: Mapping[str, str],
    *,
    adopts: bool = False,
    spelled: Mapping[str, str] | None = None,
    flag: str = _OUTPUT_FLAG,
) -> None:
    """Begin or go on with the job of these settings at ``output``.

    ``spelled``: settings as the user wrote them, which is how older versions kept them.

    Raises :class:`InvalidOptionError` if the folder holds something else, or rows that other
    settings made: both would be mixed.
    """
    record = _read_record(session, output)
    if record is None and is_connect(session):
        if _holds_files(session, output):
            raise InvalidOptionError(f"--output {output} holds something else; choose another")
        line = session.createDataFrame([(json.dumps(dict(settings)),)], "value string")
        line.coalesce(1).write.mode("overwrite").text(f"{output}/{owner.NAME}")
        return
    if record is None:
        mark = Mark(JOB, ROLE, settings=dict(settings))
        record = owner.claim(session, output, mark, flag, adopts=adopts).settings
    kept = {name: value for name, value in (spelled or {}).items() if record.get(name) == value}
    if said := _differences(record, {**settings, **kept}):
        raise InvalidOptionError(
            f"{flag} {output} is of a job with other settings ({said}); choose another"
            + (", or --overwrite" if flag == _OUTPUT_FLAG else "")
        )


def check_letters(session: SparkSession | None, folder: str, output: str, *, adopts: bool) -> None:
    """Raise :class:`InvalidOptionError` if ``folder`` is not for the letters of ``output``'s job.

    Folders that are elsewhere are not checked without a session.
    """
    if session is None and None in (local_path(None, folder), local_path(None, output)):
        return
    owner.check(session, folder, _letters(session, output), _LETTERS_FLAG, adopts=adopts)


def claim_letters(session: SparkSession, folder: str, output: str, *, adopts: bool) -> None:
    """Mark ``folder`` as that of the letters of ``output``'s job, or find that it is."""
    owner.claim(session, folder, _letters(session, output), _LETTERS_FLAG, adopts=adopts)


def remove_letters(session: SparkSession, folder: str, output: str) -> None:
    """Delete the letters of ``output``'s job, whose batches begin anew."""
    mark = owner.read_mark(session, folder)
    if mark is None or not mark.is_of(_letters(session, output)):
        return
    for name in list_names(session, folder) or []:
        if _OWN.fullmatch(name):
            delete(session, f"{folder}/{name}")


def _letters(session: SparkSession | None, output: str) -> Mark:
    """Batches of two outputs have the same numbers: each output has a folder of its own."""
    local = local_path(session, output)
    if local is not None:
        place = f"file://{local}"
    else:
        assert session is not None
        place = qualified(session, output)
    return Mark(JOB, f"dead letters of {place.rstrip('/')}")


def model_settings(model: ModelSpec) -> dict[str, str]:
    """What of a job's settings is the model's: its name, and all that changes its answers."""
    identity = json.dumps(digest.identity(model), sort_keys=True)
    return {
        "model": f"{model.name} {model.sha256}",
        _DIGEST: model.digest,
        _IDENTITY: identity,
    }


def _differences(record: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """What of an output's record is not as this job's settings are, in words; empty for nothing."""
    said = [
        f"{name} was {record.get(name)}, is {settings[name]}"
        for name in settings
        if name not in (_DIGEST, _IDENTITY) and record.get(name) != settings[name]
    ]
    if _DIGEST not in record:
        _log.warning("the output's record is of an older version, which kept a model's file alone")
    elif record[_DIGEST] != settings.get(_DIGEST):
        identities = (json.loads(known.get(_IDENTITY, "{}")) for known in (record, settings))
        said.append(f"the model's {digest.differences(*identities)}")
    return "; ".join(said)


def remove(session: SparkSession, output: str) -> None:
    """Delete what this job wrote to its own folder (:func:`check`), and nothing else."""
    if is_connect(session):
        raise InvalidOptionError(
            "--overwrite needs a file system, which a Connect session does not have: choose "
            "another --output"
        )
    if _read_record(session, output) is None:  # nothing there is this job's
        return
    names = [name for name in list_names(session, output) or [] if _OWN.fullmatch(name)]
    if owner.read_mark(session, f"{output}/{_CHECKPOINT}") is not None:  # a stream's, by its mark
        names = [name for name in names if name != _CHECKPOINT]
    for name in [*sorted(names), owner.NAME]:
        delete(session, f"{output}/{name}")


def _is_old(session: SparkSession | None, output: str) -> bool:
    """Whether an older version of this job marked the folder, by a folder of text."""
    is_there = owner.NAME in (list_names(session, output) or [])
    return is_there and read_text(session, f"{output}/{owner.NAME}") is None


def _read_record(session: SparkSession, output: str) -> Mapping[str, str] | None:
    if not is_connect(session):
        mark = owner.read_mark(session, output)
        if mark is not None:
            return mark.settings if mark.is_of(Mark(JOB, ROLE)) else None
        if not _is_old(session, output):  # Spark logs a page for a path that is not there
            return None
    lines = _rows(lambda: session.read.text(literal(f"{output}/{owner.NAME}")))
    return owner.parse(lines[0][0], output).settings if lines else None


def _holds_files(session: SparkSession, output: str) -> bool:
    files = session.read.format("binaryFile").option("recursiveFileLookup", True)
    return bool(_rows(lambda: files.load(literal(output)).select("path").limit(1)))


def _rows(read: Callable[[], DataFrame]) -> list[Row] | None:
    """What is read, or ``None`` where nothing is."""
    try:
        return read().collect()
    except AnalysisException as error:
        if error_condition(error) == "PATH_NOT_FOUND":
            return None
        raise
