"""Flags of how pictures are read: those of the image functions that make sense for a whole job."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pyspark_vision.columns.options import decode_options
from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.decode.formats import ALIASES, ALLOWED_FORMATS, DEFAULT_FORMATS
from pyspark_vision.executor.decode.grey import FULL, MINMAX, PERCENTILES
from pyspark_vision.executor.decode.images import IGNORE, LENIENT, SRGB, STRICT

if TYPE_CHECKING:
    from pyspark_vision.functions import DecodeKeywords

_RANGES = (
    f"{FULL}, {MINMAX}, {PERCENTILES} (1 and 99), {PERCENTILES}:LOW,HIGH, or LOW,HIGH in the "
    "file's numbers"
)

_DEFAULTS = {"exact": False, "formats": None, "decode": STRICT, "grey_range": FULL, "icc": IGNORE}


def add_decode(
    group: argparse._ArgumentGroup, *, exact: bool = False, warnings: bool = False
) -> None:
    """``--formats`` and ``--grey-range``; ``--exact``; and those that make warnings of rows.

    ``warnings``: whether the job's results have them. What they would say must not be lost.
    """
    if exact:
        group.add_argument("--exact", action="store_true", help="decode JPEG at full scale")
    group.add_argument(
        "--formats",
        nargs="+",
        type=_format,
        default=None,
        metavar="FORMAT",
        help=f"read pictures of these formats alone, of {', '.join(ALLOWED_FORMATS)} "
        f"(default: {' '.join(DEFAULT_FORMATS)})",
    )
    group.add_argument(
        "--grey-range",
        type=_grey_range,
        default=FULL,
        metavar="RANGE",
        help=f"what is black and white of greys of more than 8 bits: {_RANGES}",
    )
    if warnings:
        group.add_argument(
            "--decode",
            choices=[STRICT, LENIENT],
            default=STRICT,
            help="whether a JPEG or PNG that is cut short is an error or, with half of its rows "
            "or more, a picture with a warning",
        )
        group.add_argument(
            "--icc",
            choices=[IGNORE, SRGB],
            default=IGNORE,
            help="whether colours go by the picture's profile to sRGB",
        )


def decode_keywords(options: argparse.Namespace) -> DecodeKeywords:
    """The keywords of the image functions that a job's flags say, without those of defaults."""
    given = {name: getattr(options, name) for name in _DEFAULTS if hasattr(options, name)}
    chosen = {name: value for name, value in given.items() if value != _DEFAULTS[name]}
    return cast("DecodeKeywords", chosen)


def described(keywords: DecodeKeywords) -> str:
    """Keywords as a setting that a job keeps. Defaults, and ``exact`` alone, have the setting that
    the first jobs kept: ``False``, ``True``.

    >>> described({"exact": True, "formats": ["JPEG", "HEIF"]})
    'True, formats=JPEG HEIF'
    """
    words = [str(keywords.get("exact", False))]
    given: Mapping[str, Any] = dict(keywords)
    for name, value in given.items():
        if name != "exact":
            parts = value if isinstance(value, (list, tuple)) else [value]
            words.append(f"{name}={' '.join(map(str, parts))}")
    return ", ".join(words)


def _format(text: str) -> str:
    name = ALIASES.get(text.upper(), text.upper())
    if name not in ALLOWED_FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ALLOWED_FORMATS)}")
    try:
        decode_options("--formats", {"formats": [name]})
    except MissingDependencyError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--formats: ")) from None
    return name


def _grey_range(text: str) -> Any:
    kind, _, numbers = text.rpartition(":")
    try:
        value: Any = text
        if "," in numbers:
            pair = tuple(float(number) for number in numbers.split(","))
            value = (kind, *pair) if kind else pair
        decode_options("--grey-range", {"grey_range": value})
    except (ValueError, InvalidOptionError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {_RANGES}; the lower number first, percentiles within 0..100"
        ) from None
    return value
