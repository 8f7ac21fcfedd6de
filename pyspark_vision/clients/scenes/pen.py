"""A pen that draws unit-square shapes, turned and stretched, on a transparent patch.

The objects of a scene are written once in their own coordinates, x to the right and y down, both in
[-1, 1]. The pen carries them to pixels, so that one drawing serves every size, angle and
proportion.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Twice the pixels in each direction is where more no longer shows after the picture's own noise.
SUPERSAMPLING = 2

_TURN = np.linspace(0.0, 2.0 * np.pi, 36, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def vivid(
    rng: np.random.Generator, saturation: Point = (0.45, 1.0), value: Point = (0.45, 1.0)
) -> Colour:
    """Any hue, RGB 0..255, with saturation and value drawn from the given ranges."""
    return hsv(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB 0..255 of a colour whose parts are given in [0, 1]; the hue wraps around."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (factor > 1), clipped to 0..255."""
    red, green, blue = (max(0, min(255, int(channel * factor))) for channel in colour)
    return red, green, blue


class Pen:
    """Draws on a transparent square patch; coordinates are the object's own.

    Args:
        side_px: side of the finished patch in pixels.
        to_patch: affine ``(2, 3)`` matrix from object coordinates to finished patch pixels.
        ink: colour of the outlines, or None for flat shapes without outlines.
        ink_width: width of the outlines in object units.
    """

    def __init__(
        self, side_px: int, to_patch: np.ndarray, ink: Colour | None, ink_width: float
    ) -> None:
        self._image = Image.new("RGBA", (side_px * SUPERSAMPLING,) * 2)
        self._draw = ImageDraw.Draw(self._image)
        self._matrix = to_patch * SUPERSAMPLING
        self._px_per_unit = float(np.sqrt(abs(np.linalg.det(self._matrix[:, :2]))))
        self._ink = ink
        self._ink_width = ink_width

    def polygon(
        self, points: Sequence[Point] | np.ndarray, fill: Colour, *, outlined: bool = True
    ) -> None:
        """A closed shape through ``points``, with an outline where this pen has ink."""
        path = self._path(points)
        self._draw.polygon(path, fill=fill)
        if outlined and self._ink is not None:
            self._stroke([*path, path[0]], self._ink_width, self._ink)

    def rectangle(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """An axis-aligned rectangle in object coordinates."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, *, outlined: bool = True
    ) -> None:
        """An ellipse around ``(x, y)`` with radii ``rx`` and ``ry``."""
        self.polygon(_CIRCLE * (rx, ry) + (x, y), fill, outlined=outlined)

    def line(self, points: Sequence[Point] | np.ndarray, width: float, colour: Colour) -> None:
        """An open line of the given width in object units, at least one finished pixel wide."""
        self._stroke(self._path(points), width, colour)

    def patch(self) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
        """The finished drawing, cropped to what was drawn.

        Returns:
            RGB colours already multiplied with their opacity, the opacity as an "L" image of the
            same size, and the left and top pixel of both on the patch.
        """
        left, top, right, bottom = self._image.getbbox() or (0, 0, 1, 1)
        left, top = left // SUPERSAMPLING * SUPERSAMPLING, top // SUPERSAMPLING * SUPERSAMPLING
        # Each pixel is opaque or black with opacity 0, so that averaging the colours as they are
        # gives premultiplied ones; Pillow's own way for RGBA converts there and back, at three
        # times the cost.
        colours = self._image.convert("RGB").reduce(SUPERSAMPLING, (left, top, right, bottom))
        opacity = self._image.getchannel("A").reduce(SUPERSAMPLING, (left, top, right, bottom))
        return colours, opacity, (left // SUPERSAMPLING, top // SUPERSAMPLING)

    def _path(self, points: Sequence[Point] | np.ndarray) -> list[Point]:
        moved = np.asarray(points) @ self._matrix[:, :2].T + self._matrix[:, 2]
        return [(x, y) for x, y in moved.tolist()]

    def _stroke(self, path: list[Point], width: float, colour: Colour) -> None:
        width_px = max(SUPERSAMPLING, round(width * self._px_per_unit))
        # Round joints cost much on a full ellipse, where they do not show.
        self._draw.line(
            path, fill=colour, width=width_px, joint="curve" if len(path) < 30 else None
        )
