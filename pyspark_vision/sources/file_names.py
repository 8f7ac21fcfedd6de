"""Which names of a folder are read, and why others are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import PurePosixPath

from pyspark_vision.errors import InvalidOptionError

# What cameras, phones and editors write; whether it can be decoded is for the row to say.
IMAGE_SUFFIXES: frozenset[str] = (
    frozenset(["jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "png", "apng", "gif", "webp", "bmp"])
    | {"dib", "tif", "tiff", "avif", "heic", "heif", "hif", "jp2", "j2k", "jxl", "mpo", "tga"}
    | {"ico", "ppm", "pgm", "pbm", "pnm", "dng", "raw", "cr2", "cr3", "crw", "nef", "nrw", "arw"}
    | {"srf", "sr2", "orf", "rw2", "raf", "pef", "srw", "rwl", "3fr", "iiq", "x3f"}
)


class LeftOut(StrEnum):
    """Why what a folder or a list holds has no row."""

    HIDDEN = "hidden"
    NOT_MATCHING = "not_matching"
    NOT_A_FILE = "not_a_file"
    NOT_SETTLED = "not_settled"
    DUPLICATE_KEY = "duplicate_key"
    UNREADABLE_FOLDER = "unreadable_folder"
    OWN_OUTPUT = "own_output"
    LINK_ABOVE = "link_above"
    LINK_REPEATED = "link_repeated"


class Names:
    """The names that a pattern takes; ``None`` takes those with an image's suffix.

    The pattern is one of Hadoop's: ``*``, ``?``, ``[a-c]``, ``[^a]``, ``{jpg,png}``, and a
    backslash before what stands for itself. Case counts. Names that begin with ``_`` or ``.`` are
    those of cameras (``_DSC0001.JPG``) if they have an image's suffix, and else hidden.
    """

    def __init__(self, glob: str | None) -> None:
        self._pattern = None if glob is None else re.compile(_as_regex(glob), re.DOTALL)

    def left_out(self, name: str) -> LeftOut | None:
        """Why a file of this name is not read; ``None``: it is."""
        is_image = PurePosixPath(name).suffix[1:].lower() in IMAGE_SUFFIXES
        # The second is how Hadoop's shell names what it is copying.
        if (name.startswith(("_", ".")) and not is_image) or name.endswith("._COPYING_"):
            return LeftOut.HIDDEN
        matches = is_image if self._pattern is None else self._pattern.fullmatch(name) is not None
        return None if matches else LeftOut.NOT_MATCHING


def _as_regex(glob: str) -> str:
    try:
        pattern = "".join(_pieces(iter(glob)))
        re.compile(pattern)
    except (ValueError, re.error) as error:
        raise InvalidOptionError(
            f"`glob` {glob!r} is no pattern: {error}; a backslash before a bracket takes it as it "
            "is"
        ) from None
    return pattern


def _pieces(letters: Iterator[str]) -> Iterator[str]:
    depth = 0
    for letter in letters:
        if letter == "*":
            yield ".*"
        elif letter == "?":
            yield "."
        elif letter == "\\":
            yield re.escape(next(letters, "\\"))
        elif letter == "[":
            yield _bracket(letters)
        elif letter == "{":
            depth += 1
            yield "(?:"
        elif letter == "}" and depth:
            depth -= 1
            yield ")"
        elif letter == "," and depth:
            yield "|"
        else:
            yield re.escape(letter)


def _bracket(letters: Iterator[str]) -> str:
    """What is left of ``[…]``, as a set of a regular expression."""
    inside = ""
    for letter in letters:
        if letter == "]" and inside not in ("", "^"):
            return f"[{inside}]"
        if letter in "!^" and not inside:
            inside = "^"
        elif letter == "\\":
            inside += re.escape(next(letters, "\\"))
        else:
            inside += letter if letter == "-" else re.escape(letter)
    raise ValueError("a bracket is not closed")
