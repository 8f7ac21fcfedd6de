"""Drawn pictures of one object each, and the texts that are true of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from pyspark_vision.clients import scenes

SIDE = 64

# Hues in degrees at which a colour's name begins.
_HUES = ((0, "red"), (14, "orange"), (42, "yellow"), (66, "green"), (170, "blue"), (255, "purple"))
_RED_AGAIN_DEG = 345
COLORS = tuple(name for _, name in _HUES)

# A picture has a colour's name if so much of the object's box is neither grey nor dark, and so much
# of that has the one colour.
_VIVID, _LEAST_VIVID, _LEAST_SHARE = 100, 0.25, 0.7

# A word that is none of these, as users have them, must not change what is meant.
_FRAMES = ("", "a picture of", "a photo of", "a drawing of", "surely")
WORDS = sorted({*COLORS, *scenes.LABELS, *("a", "an", "picture", "photo", "drawing", "of")})


@dataclass(frozen=True)
class Truth:
    """What a picture shows; ``color`` is ``None`` where it has no clear one."""

    label: str
    color: str | None

    def says(self, other: Truth) -> bool:
        """Whether what ``other`` says is true here, too: of a red car, "a car" is."""
        return self.label == other.label and other.color in (None, self.color)

    def text(self) -> str:
        """``a red car``, ``an orange car``, ``a car``"""
        named = f"{self.color} {self.label}" if self.color else self.label
        return f"{'an' if named[0] in 'aeiou' else 'a'} {named}"


def pictures(seeds: Iterable[int], size_wh: tuple[int, int]) -> tuple[np.ndarray, list[Truth]]:
    """``(S, 64, 64, 3)`` uint8 and what they show, drawn by two processes."""
    # "spawn": a fork of a process that has TensorFlow's threads may never come back.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.map(partial(picture, size_wh=size_wh), seeds, chunksize=64)
    return np.stack([pixels for pixels, _ in drawn]), [truth for _, truth in drawn]


def picture(seed: int, size_wh: tuple[int, int]) -> tuple[np.ndarray, Truth]:
    """One picture as the image tower gets it, and what it shows."""
    image, drawn = scenes.draw_single(seed, size_wh)
    resized = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized), Truth(drawn.label, color_of(image, drawn.xyxy))


def color_of(image: Image.Image, xyxy: Sequence[float]) -> str | None:
    """The name of the colour that most of the vivid pixels in a box have."""
    left, top, right, bottom = xyxy
    width, height = image.size
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    hue, saturation, value = np.asarray(image.crop(box).convert("HSV")).T
    vivid = (saturation >= _VIVID) & (value >= _VIVID)
    if vivid.mean() < _LEAST_VIVID:
        return None
    degrees = hue[vivid] * (360 / 256)
    names = np.searchsorted([start for start, _ in _HUES], degrees, side="right") - 1
    names[degrees >= _RED_AGAIN_DEG] = 0
    shares = np.bincount(names, minlength=len(_HUES)) / names.size
    return COLORS[int(shares.argmax())] if shares.max() >= _LEAST_SHARE else None


def told(truth: Truth, rng: np.random.Generator) -> tuple[Truth, str]:
    """Something true of a picture, with its colour or without, and a text that says it."""
    said = truth if rng.uniform() < 0.6 else Truth(truth.label, None)
    return said, f"{rng.choice(_FRAMES)} {said.text()}".strip()
