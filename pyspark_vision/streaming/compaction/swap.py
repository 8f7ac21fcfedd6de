"""One folder in the place of another while others list and read it.

A disk of this machine exchanges two folders in one step (Linux's ``renameat2``); what stays is in
the new one by hard links. HDFS can only rename: between two renames there is no folder to read.
What stays is moved over then, and a file stands in the place, which neither readers nor a job's
sink take for a folder. Who dies on the way leaves all rows, beside the place:

=====================  ====================================  ===================================
killed                 leaves                                which the next run
=====================  ====================================  ===================================
while it builds        the output, part of ``new``           removes
after the exchange     the new output; the old one, ``new``  removes
between two renames    ``old``, the whole ``new``            ends: the new output
after both             the new output, ``old``               removes
=====================  ====================================  ===================================
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark import hadoop
from pyspark_vision.spark.hadoop import rename, write_text
from pyspark_vision.spark.internals import jvm
from pyspark_vision.streaming.lease import LOCAL_SCHEMES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Where a folder is renamed in one step, whatever is in it.
_RENAMING = (*LOCAL_SCHEMES, "hdfs", "viewfs")

# linux/fcntl.h and linux/fs.h
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

# In ``old``, the names that the new output keeps of it.
_KEPT = "_kept_by_compact"

# What a killed job has left of a batch, which its next start writes anew.
_STAGING = "_staging_"

_AT_WORK = "pyspark-vision compact works here, or was killed: then run it again, and all is back.\n"


@dataclass(frozen=True)
class Places:
    """The output, and the two folders beside it that are there for a while: whole URIs."""

    session: SparkSession
    output: str
    new: str
    old: str

    @property
    def is_local(self) -> bool:
        """Whether they are on disks of this machine."""
        return self.output.startswith(tuple(f"{scheme}:" for scheme in LOCAL_SCHEMES))


def places(session: SparkSession, output: str) -> Places:
    """Where the parts of a swap of ``output`` (a Hadoop URI) are.

    Raises :class:`InvalidOptionError` where a folder cannot be renamed in one step.
    """
    # Asked before the file system is made, for which a jar may be missing.
    path = jvm(session).org.apache.hadoop.fs.Path(output)
    scheme = path.toUri().getScheme() or hadoop.default_scheme(session)
    if scheme not in _RENAMING:
        raise InvalidOptionError(
            f"{output} is on {scheme}, where no folder takes another's place in one step: readers "
            f"would miss rows or see them twice. compact works on {', '.join(_RENAMING)}. Have the "
            "job make fewer files, by a longer --trigger, or copy the rows to a table with a log "
            "of its own (Delta Lake, Iceberg)"
        )
    file_system, path = hadoop.hadoop_path(session, output)
    place = file_system.makeQualified(path)
    whole = str(place.toString())
    if scheme in LOCAL_SCHEMES:
        # The folder is exchanged, not a link to it.
        local = Path(place.toUri().getPath()).resolve()
        if local.is_mount():
            raise InvalidOptionError(f"{output} is a mount: no other folder can take its place")
        whole = f"{scheme}:{local}"
    if place.getParent() is None:
        raise InvalidOptionError(f"{output} is the root: no other folder can take its place")
    parent, _, name = whole.rpartition("/")
    # With a dot in front: Spark reads folders such as _compacting_day=5.
    beside = f"{parent}/.{name}"
    return Places(session, whole, f"{beside}.compacting", f"{beside}.compacted")


def is_there(where: Places) -> bool:
    """Whether the output is a folder in its place."""
    there = hadoop.status(where.session, where.output)
    return there is not None and there.is_folder


def recover(where: Places) -> None:
    """End or clear away what a run left that was killed; then the output is there, and alone.

    Raises :class:`InvalidOptionError` if there is no output.
    """
    if hadoop.exists(where.session, where.new) and hadoop.exists(where.session, where.old):
        _finish(where)
    if not is_there(where):
        raise InvalidOptionError(f"{where.output} is not a folder")
    clear(where)


def clear(where: Places) -> None:
    """Remove what lies beside the output."""
    for path in (where.new, where.old):
        hadoop.delete(where.session, path)


def swap(where: Places, dropped: Collection[str]) -> None:
    """Put ``where.new``, and what the output has besides ``dropped``, in the output's place.

    What was there before is beside it afterwards, until :func:`clear`.
    """
    file_system, path = hadoop.hadoop_path(where.session, where.output)
    _, new_path = hadoop.hadoop_path(where.session, where.new)
    file_system.setPermission(new_path, file_system.getFileStatus(path).getPermission())
    if where.is_local:
        output, new = (Path(uri.partition(":")[2]) for uri in (where.output, where.new))
        if _can_exchange(new):
            _link(output, new, _kept(os.listdir(output), dropped))
            # The old files go soon: by then the new ones are to survive a power cut as well.
            os.sync()
            _exchange(output, new)
            return
    kept = json.dumps(_kept(_names(where, where.output), dropped))
    write_text(where.session, f"{where.output}/{_KEPT}", kept, overwrites=True)
    rename(where.session, where.output, where.old)
    _finish(where)


def _finish(where: Places) -> None:
    """From the old folder and the whole new one, beside the place, to the new one in it.

    Begins again wherever it was left.
    """
    session, new = where.session, where.new
    if not hadoop.exists(session, where.output):
        write_text(session, where.output, _AT_WORK)
    left = set(_names(where, where.old))
    for name in json.loads(hadoop.read_text(session, f"{where.old}/{_KEPT}") or ""):
        if name in left:
            rename(session, f"{where.old}/{name}", f"{new}/{name}")
    if is_there(where):
        # Killed before the file stood there, and a job has begun the output anew since.
        for name in _names(where, where.output):
            hadoop.delete(session, f"{new}/{name}")
            rename(session, f"{where.output}/{name}", f"{new}/{name}")
    hadoop.delete(session, where.output)
    rename(session, new, where.output)


def _can_exchange(folder: Path) -> bool:
    """Whether the disk of a folder has hard links, and exchanges two folders in one step."""
    left, right = folder / "left", folder / "right"
    left.mkdir()
    right.mkdir()
    try:
        (left / "file").touch()
        os.link(left / "file", right / "link")
        _exchange(left, right)
    except (OSError, AttributeError):  # the second: a libc without renameat2
        return False
    finally:
        shutil.rmtree(left)
        shutil.rmtree(right)
    return True


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))


def _kept(names: list[str], dropped: Collection[str]) -> list[str]:
    """Those that go on to the new output; not the list of a run that was killed before it began."""
    out = {*dropped, _KEPT}
    return [name for name in names if name not in out and not name.startswith(_STAGING)]


def _link(output: Path, new: Path, names: list[str]) -> None:
    for name in names:
        source = output / name
        if source.is_dir():
            shutil.copytree(source, new / name, symlinks=True, copy_function=os.link)
        else:
            os.link(source, new / name)


def _names(where: Places, folder: str) -> list[str]:
    return [entry.name for entry in hadoop.statuses(where.session, folder)]
