"""Values of the clients' flags, checked; free of Spark."""

from __future__ import annotations

import argparse
import math
import re

# Of a side, in pixels: above any camera, and within what a drawn scene may cost in memory.
LARGEST_SIDE = 8192


# Of rates and seconds: eleven days to a picture, and thirty years. Python's clocks wait for less
# than three hundred.
_LEAST, _MOST = 1e-6, 1e9


def above_zero(text: str) -> float:
    """A number above 0 that a clock can wait for: 0.000001 to a thousand million."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    if not _LEAST <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"{text} must be a number from {_LEAST:f} to {_MOST:.0f}")
    return value


def quality(text: str) -> int:
    """Of JPEG, as Pillow has it: above 95 files grow and pictures do not get better."""
    return _whole(text, 1, 95)


def side(text: str) -> int:
    """Pixels of a picture's width or height."""
    return _whole(text, 1, LARGEST_SIDE)


def port(text: str) -> int:
    """A port to serve at."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 0 to 65535 (0: a free one)")
    return int(text)


def size_wh(text: str) -> tuple[int, int]:
    """``640x480`` -> ``(640, 480)``."""
    sides = re.fullmatch(r"([0-9]+)[xX]([0-9]+)", text)
    if not sides:
        raise argparse.ArgumentTypeError(f"{text} must be WIDTHxHEIGHT, as 640x480")
    return side(sides[1]), side(sides[2])


def _whole(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number from {least} to {most}")
    return int(text)
