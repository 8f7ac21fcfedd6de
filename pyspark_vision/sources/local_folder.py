"""Files below a folder of this machine's disks.

Names are bytes: not all are UTF-8, and what a locale makes of them does not matter. So none of
them passes through the JVM, which in a POSIX locale knows ASCII alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from urllib.parse import quote_from_bytes

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sources.file_names import LeftOut, Names
from pyspark_vision.sources.listed_files import ListedFile, Tally

# How Python decodes a byte that is no UTF-8.
_BAD_BYTE = re.compile("[\udc80-\udcff]")


def folder_path(folder: str) -> bytes:
    """The absolute path of a folder, given as a path or as ``file:/…``, taken as it is."""
    name = folder
    if folder.startswith("file:"):
        name = folder.removeprefix("file:")
        if name.startswith("//"):
            name = "/" + name[2:].partition("/")[2]
    return os.path.abspath(os.fsencode(name))


def allowed_prefix(folder: str) -> str:
    """The URI below which all of :func:`files_below` lie."""
    path = folder_path(folder)
    return uri_of(path if os.path.isdir(path) else os.path.dirname(path))


def check(folder: str) -> None:
    """Raise :class:`InvalidOptionError` unless the folder, or file, is there."""
    path = folder_path(folder)
    if not os.path.exists(path):
        raise InvalidOptionError(f"there is no {text_of(path)}")


def files_below(
    path: bytes, names: Names, tally: Tally, barred: Sequence[bytes] = ()
) -> Iterator[ListedFile]:
    """All files below a folder, or the one file that ``path`` is.

    ``barred``: folders that are not entered, by whatever link; each that is met counts as one.

    Each folder is listed once, whatever links lead to it, at its own place if it has one below
    ``path``; what a link names that leads to ``path`` or above is not below it. A link that leads
    nowhere is a file that cannot be read.
    """
    if not os.path.isdir(path):
        tally.seen += 1
        yield from _listed(path, tally)
        return
    top = os.path.realpath(path)
    closed = [os.path.realpath(folder) for folder in barred]
    listed: set[tuple[int, int]] = set()
    folders, links = [path], list[bytes]()
    while folders or links:
        if folders:
            folder = folders.pop()
        else:  # all that lies below the path is known by now
            links.sort(reverse=True)
            folder = links.pop()
            if _is_within(top, os.path.realpath(folder)):
                continue
        found = list[bytes]()
        if closed and any(_is_within(os.path.realpath(folder), own) for own in closed):
            tally.seen += 1
            tally.leave_out(LeftOut.OWN_OUTPUT)
            continue
        try:
            known_by = os.stat(folder)
            if (known_by.st_dev, known_by.st_ino) in listed:
                continue
            listed.add((known_by.st_dev, known_by.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        (links if entry.is_symlink() else found).append(entry.path)
                    elif tally.takes(names, text_of(entry.name)):
                        yield from _listed(entry.path, tally)
        except OSError as error:
            # What has gone since its parent was listed is not there; ext4's own folder is nobody's.
            has_gone = isinstance(error, FileNotFoundError) and folder != path
            if not has_gone and folder != os.path.join(path, b"lost+found"):
                tally.unreadable(text_of(folder), error.strerror or str(error))
        folders.extend(sorted(found, reverse=True))


def look(uri: str) -> tuple[int, int] | None:
    """Size and time of a file as it is now; ``None`` if it is not there."""
    from pyspark_vision.executor.object_store import file_path

    try:
        status = os.stat(file_path(uri))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns // 1_000_000


def text_of(name: bytes) -> str:
    """A name, or a path, as text; in a name that is no UTF-8 its bad bytes are ``%FF``, and its
    percent signs ``%25``, so that it is no other name's text."""
    text = name.decode("utf-8", "surrogateescape")
    if not _BAD_BYTE.search(text):
        return text
    return "/".join(map(_escaped, text.split("/")))


def _escaped(name: str) -> str:
    if not _BAD_BYTE.search(name):
        return name
    return _BAD_BYTE.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name.replace("%", "%25"))


def uri_of(path: bytes) -> str:
    """``file:///…`` in which each byte survives."""
    return "file://" + quote_from_bytes(path)


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _listed(path: bytes, tally: Tally) -> Iterator[ListedFile]:
    """One, or none if it is no file or went meanwhile."""
    try:
        status = os.stat(path)
    except OSError:
        # A link that leads nowhere, or a folder whose files may not be looked at.
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            tally.seen -= 1
            return
        except OSError:
            yield ListedFile("file:" + text_of(path), uri_of(path))
            return
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        tally.leave_out(LeftOut.NOT_A_FILE)
        return
    modified_ms = status.st_mtime_ns // 1_000_000
    yield ListedFile("file:" + text_of(path), uri_of(path), status.st_size, modified_ms)
