"""A JSON array in one file that grows, and is a whole array for whoever reads it, at every moment.

Why not written in place: JSON allows nothing behind the ``]``, so between an array and a longer one
lie bytes that no reader takes, and a reader that has read half sees the other half change. Only a
rename changes a file at once. A new copy for each rename would cost as much as the file is long
(``benchmarks/NOTES.md`` has the figures), so there are two files that take turns: the one that
everybody reads, and a spare one beside it, which lags behind by what was published last. The spare
gets what it lacks, is synced, and then the two change their names. A flush costs as much as its
entries, not as the file; the disk holds the array twice.

A reader may still have the spare open under its former name. Linux is asked (a write lease is given
only for a file that nobody else has open, mapped ones included), and a second name of it (``cp
-l``) counts too: then, and where there are no leases or links (other systems, network file
systems), a new copy is made, by reflink where the file system can. What Linux cannot see is a
reader on another machine to which this folder is exported.

Every change is one call of ``os``; a kill before, in or after any of them leaves the published file
as it was, or as it is to be.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.errors import StreamError

_HEAD, _TAIL = b"[", b"\n]\n"
# What copies of large files are made in, where the kernel cannot copy by itself.
_BLOCK_BYTES = 1 << 20
# Of a file system or kernel that has no such call, or not between these files.
_HAS_NONE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


@dataclass(frozen=True)
class Content:
    """What a file holds: its length, and zlib's CRC-32 of all its bytes."""

    length_bytes: int
    crc32: int


EMPTY = Content(len(_HEAD + _TAIL), zlib.crc32(_HEAD + _TAIL))


class ArrayFile:
    """The array at ``path``; ``folder``, on the same file system, is for the spare file.

    ``path`` must hold what :func:`create` or an earlier ``ArrayFile`` put there: the caller
    compares :attr:`content`. Only one process may work on it: the caller holds a lock.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._spare, self._next_spare = folder / "spare", folder / "spare.next"
        for leftover in (self._spare, self._next_spare):
            leftover.unlink(missing_ok=True)
        there = os.stat(path)
        self._inode, self._body_bytes = there.st_ino, max(0, there.st_size - len(_TAIL))
        self._body_crc32, tail = _crc32_and_rest(path, self._body_bytes)
        #: What the published file holds.
        self.content = Content(there.st_size, zlib.crc32(tail, self._body_crc32))
        # What the spare file lacks of the body, from which byte on; None where there is no spare.
        self._spare_lacks: tuple[int, bytes] | None = None
        self._prepared: tuple[bytes, Content] | None = None

    def prepare(self, entries: Sequence[str]) -> Content:
        """Write the array with ``entries`` (JSON texts) added beside the published one, and sync.

        Gives what it holds; nothing is published yet. Raises :class:`OSError`, after which this
        object is of no more use, and :class:`StreamError` if somebody else changed the file.
        """
        self._refuse_changed()
        first = b"\n" if self.content == EMPTY else b",\n"
        addition = first + b",\n".join(entry.encode() for entry in entries)
        file = self._spare_that_nobody_reads()
        if file is not None:
            assert self._spare_lacks is not None
            at, lacking = self._spare_lacks
        else:
            file, at, lacking = self._copy(), self._body_bytes, b""
        try:
            _write(file, lacking + addition + _TAIL, at)
            os.fsync(file)
        finally:
            os.close(file)
        self._body_crc32 = zlib.crc32(addition, self._body_crc32)
        length_bytes = self._body_bytes + len(addition) + len(_TAIL)
        content = Content(length_bytes, zlib.crc32(_TAIL, self._body_crc32))
        self._prepared = addition, content
        return content

    def publish(self) -> None:
        """Let everybody read what was prepared. Raises as :meth:`prepare`."""
        assert self._prepared is not None
        addition, self.content = self._prepared
        self._prepared = None
        self._refuse_changed()
        published = os.stat(self._spare).st_ino
        # The published file keeps a name of its own, and is the spare one from now on.
        try:
            os.link(self.path, self._next_spare)
            keeps_old = True
        except OSError as error:
            if error.errno not in (*_HAS_NONE, errno.ENOENT, errno.EMLINK):
                raise
            keeps_old = False
        os.rename(self._spare, self.path)
        if keeps_old:
            os.rename(self._next_spare, self._spare)
        sync_folder(self.path.parent)
        self._spare_lacks = (self._body_bytes, addition) if keeps_old else None
        self._body_bytes += len(addition)
        self._inode = published

    def close(self) -> None:
        """Remove the spare file."""
        self._spare.unlink(missing_ok=True)

    def _refuse_changed(self) -> None:
        """A file that was removed is written again whole; another one is not replaced."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return
        length_bytes = self._body_bytes + len(_TAIL)
        if (there.st_ino, there.st_size) != (self._inode, length_bytes):
            raise StreamError(
                f"{self.path} was changed by something else while events were written to it, and "
                "is left as it is. Move it away, or choose another file"
            )

    def _spare_that_nobody_reads(self) -> int | None:
        """The spare file, open for writing; ``None`` where there is none that may be changed."""
        if self._spare_lacks is None:
            return None
        try:
            file = os.open(self._spare, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        if os.fstat(file).st_nlink == 1 and _is_open_here_only(file):
            return file
        os.close(file)
        return None

    def _copy(self) -> int:
        """A new spare file, open, with the body of the published one."""
        try:
            source = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise StreamError(
                f"{self.path} was removed while events were written to it. Put it back and start "
                "again"
            ) from None
        try:
            self._spare.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(self._spare, flags, 0o600)
            try:
                os.fchmod(file, os.fstat(source).st_mode & 0o777)
                _copy_start(source, file, self._body_bytes)
            except BaseException:
                os.close(file)
                raise
            return file
        finally:
            os.close(source)


def create(path: Path, temporary: Path) -> None:
    """An empty array at ``path``, which must not be there; ``temporary``: a name beside it."""
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write(file, _HEAD + _TAIL, 0)
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written


def _is_open_here_only(file: int) -> bool:
    """Whether Linux would give a write lease, which is given back at once."""
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):  # a reader has it; no leases on this file system, this system
        return False
    return True


def _copy_start(source: int, target: int, length_bytes: int) -> None:
    """The first bytes of a file; the kernel copies, or shares the blocks, where it can."""
    at = 0
    while at < length_bytes:
        try:
            copied = os.copy_file_range(source, target, length_bytes - at, at, at)
        except AttributeError:  # another system than Linux
            break
        except OSError as error:
            if error.errno not in _HAS_NONE:
                raise
            break
        if not copied:
            break
        at += copied
    while at < length_bytes:
        block = os.pread(source, min(_BLOCK_BYTES, length_bytes - at), at)
        if not block:
            raise OSError(errno.EIO, "it became shorter while it was copied")
        _write(target, block, at)
        at += len(block)


def _crc32_and_rest(path: Path, length_bytes: int) -> tuple[int, bytes]:
    """Of the first bytes of a file their CRC-32; the bytes behind them."""
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(min(_BLOCK_BYTES, length_bytes)):
            crc32, length_bytes = zlib.crc32(block, crc32), length_bytes - len(block)
        return crc32, file.read()
