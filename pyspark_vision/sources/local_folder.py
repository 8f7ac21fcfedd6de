"""Files below a folder of this machine's disks.

Names are bytes: not all are UTF-8, and what a locale makes of them does not matter. So none of
them passes through the JVM, which in a POSIX locale knows ASCII alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sources.file_names import LeftOut, Names
from pyspark_vision.sources.linked_folders import LinkedFolders
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


@dataclass(frozen=True)
class _Folder:
    """``path``: the way to it. ``place``: where it is, links resolved."""

    path: bytes
    place: bytes


def files_below(
    path: bytes,
    names: Names,
    tally: Tally,
    barred: Sequence[bytes] = (),
    linked: LinkedFolders | None = None,
) -> Iterator[ListedFile]:
    """All files below a folder, or the one file that ``path`` is.

    ``barred``: folders that are not entered, by whatever link; each that is met counts as one.
    ``linked``: how earlier runs have named what lies outside; it grows.

    Each folder is listed once, whatever links lead to it, at its own place if it has one below
    ``path``; what a link names that leads to ``path`` or above is not below it. Each link, or other
    way, that is not followed for that counts as one. A link that leads nowhere is a file that
    cannot be read.
    """
    if not os.path.isdir(path):
        tally.seen += 1
        yield from _listed(path, path, tally)
        return
    if linked is None:
        linked = LinkedFolders()
    top = os.path.realpath(path)
    closed = [os.path.realpath(folder) for folder in barred]
    listed: set[tuple[int, int]] = set()
    folders, links = [_Folder(path, top)], list[_Folder]()
    while folders or links:
        if not folders:  # all that lies below the path, and below earlier links, is known by now
            folders, links = _entered(links, path, top, tally, linked), []
            continue
        folder = folders.pop()
        if any(_is_within(folder.place, own) for own in closed):
            tally.leave_out_link(LeftOut.OWN_OUTPUT)
            continue
        below = list[_Folder]()
        try:
            known_by = os.stat(folder.path)
            if (known_by.st_dev, known_by.st_ino) in listed:
                tally.leave_out_link(LeftOut.LINK_REPEATED)
                continue
            listed.add((known_by.st_dev, known_by.st_ino))
            name = _name(folder.place, path, top, linked) or folder.path
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        if tally.takes(names, text_of(entry.name)):
                            yield from _listed(entry.path, os.path.join(name, entry.name), tally)
                    elif entry.is_symlink():
                        links.append(_Folder(entry.path, os.path.realpath(entry.path)))
                    else:
                        below.append(_Folder(entry.path, os.path.join(folder.place, entry.name)))
        except OSError as error:
            # What has gone since its parent was listed is not there; ext4's own folder is nobody's.
            has_gone = isinstance(error, FileNotFoundError) and folder.path != path
            if not has_gone and folder.path != os.path.join(path, b"lost+found"):
                tally.unreadable(text_of(folder.path), error.strerror or str(error))
        folders.extend(sorted(below, key=lambda subfolder: subfolder.path, reverse=True))


def _entered(
    links: Sequence[_Folder], path: bytes, top: bytes, tally: Tally, linked: LinkedFolders
) -> list[_Folder]:
    """The links that do not lead above the path, the first of them last."""
    within = list[_Folder]()
    new = list[tuple[bytes, bytes]]()
    for link in sorted(links, key=lambda folder: folder.path):
        if _is_within(top, link.place):
            tally.leave_out_link(LeftOut.LINK_ABOVE)
            continue
        within.append(link)
        if not _is_within(link.place, top):
            new.append((link.place, link.path))
    linked.enter(new)
    return within[::-1]


def _name(place: bytes, path: bytes, top: bytes, linked: LinkedFolders) -> bytes | None:
    if _is_within(place, top):
        return os.path.join(path, place[len(top) :].lstrip(b"/"))
    return linked.name(place)


def look(uri: str) -> tuple[int, int] | None:
    """Size and time of a file as it is now; ``None`` if it is not there."""
    from pyspark_vision.executor.fetch.object_store import file_path

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


def _listed(path: bytes, name: bytes, tally: Tally) -> Iterator[ListedFile]:
    """One, or none if it is no file or went meanwhile. ``name``: the path that names it."""
    origin, uri = "file:" + text_of(name), uri_of(path)
    known_as = None if name == path else uri_of(name)
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
            yield ListedFile(origin, uri, known_as=known_as)
            return
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        tally.leave_out(LeftOut.NOT_A_FILE)
        return
    modified_ms = status.st_mtime_ns // 1_000_000
    yield ListedFile(origin, uri, status.st_size, modified_ms, known_as)
