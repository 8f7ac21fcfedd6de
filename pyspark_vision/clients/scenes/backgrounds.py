"""What stands behind the objects, and the light and the camera's faults that lie over all."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pyspark_vision.clients.scenes.pen import Colour, hsv, shade, vivid

_NORMAL = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])


def draw_background(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """A landscape, a room, soft patches of colour, or clutter; RGB of ``size_wh`` pixels."""
    painter = (_landscape, _landscape, _room, _patches, _clutter)[int(rng.integers(5))]
    return painter(rng, size_wh)


def apply_light(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Uneven light, brightness, contrast, gamma and a colour cast, as in one place at one hour."""
    if rng.uniform() < 0.6:
        image = ImageChops.multiply(
            image, _upscaled(rng.integers(165, 256, size=(3, 3, 1)).repeat(3, axis=2), image.size)
        )
    level = np.linspace(0.0, 1.0, 256)
    contrast, brightness = rng.uniform(0.7, 1.2), rng.uniform(-0.08, 0.14)
    curve = np.clip((level ** rng.uniform(0.6, 1.25) - 0.5) * contrast + 0.5 + brightness, 0.0, 1.0)
    cast = rng.uniform(0.88, 1.0, size=3)
    return image.point((curve * cast[:, None] * 255).astype(np.uint8).ravel().tolist())


def apply_camera(
    image: Image.Image, camera_rng: np.random.Generator, frame_rng: np.random.Generator
) -> Image.Image:
    """Blur and noise: how much is the camera's own, the grain itself is new in each frame."""
    if camera_rng.uniform() < 0.35:
        image = image.filter(ImageFilter.BoxBlur(camera_rng.uniform(0.0008, 0.003) * image.width))
    sigma = float(camera_rng.choice([0.0, 4.0, 8.0, 14.0]))
    if sigma == 0.0:
        return image
    # One grain for all three channels, as film has it; a table turns random bytes into normal
    # numbers.
    grain = frame_rng.integers(256, size=(image.height, image.width), dtype=np.uint8)
    noise = Image.fromarray(grain).point((128 + sigma * _NORMAL).astype(np.uint8).tolist())
    return ImageChops.add(image, Image.merge("RGB", (noise,) * 3), offset=-128)


def _landscape(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """Sky with clouds or a sun, hills, and a ground of grass, sand, snow, water or street."""
    width, height = size_wh
    horizon = int(height * rng.uniform(0.35, 0.65))
    sky = hsv(
        rng.uniform(0.52, 0.65) if rng.uniform() < 0.7 else rng.uniform(-0.1, 0.12),
        rng.uniform(0.1, 0.6),
        rng.uniform(0.5, 1.0),
    )
    ground = hsv(rng.choice([0.28, 0.1, 0.58, 0.0]), rng.uniform(0.05, 0.6), rng.uniform(0.35, 0.9))
    image = _gradient(sky, shade(sky, rng.uniform(1.05, 1.4)), size_wh)
    draw = ImageDraw.Draw(image)
    if rng.uniform() < 0.3:
        _blob(
            draw,
            rng.uniform(0, width),
            rng.uniform(0, horizon),
            width * 0.05,
            width * 0.05,
            (255, 240, 190),
        )
    for _ in range(int(rng.integers(0, 4))):
        x, y, puff = (
            rng.uniform(0, width),
            rng.uniform(0, horizon * 0.7),
            width * rng.uniform(0.02, 0.05),
        )
        for step in (-1.2, 0.0, 1.2):
            _blob(draw, x + step * puff, y, puff * 1.5, puff * 0.8, shade(sky, 1.35))
    for _ in range(int(rng.integers(0, 3))):
        x, half = rng.uniform(0, width), width * rng.uniform(0.2, 0.5)
        _blob(
            draw,
            x,
            horizon,
            half,
            height * rng.uniform(0.06, 0.2),
            shade(ground, rng.uniform(0.65, 0.9)),
        )
    image.paste(
        _gradient(shade(ground, 1.1), shade(ground, 0.75), (width, height - horizon)), (0, horizon)
    )
    for _ in range(int(rng.integers(0, 40))):
        x, y = rng.uniform(0, width), rng.uniform(horizon, height)
        draw.line(
            [(x, y), (x + rng.uniform(-0.03, 0.03) * width, y - rng.uniform(0, 0.02) * height)],
            fill=shade(ground, rng.uniform(0.6, 1.3)),
        )
    return image


def _room(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """A wall, plain, striped or dotted, above a floor of boards."""
    width, height = size_wh
    wall, floor = (
        vivid(rng, (0.05, 0.5), (0.4, 1.0)),
        hsv(rng.uniform(0.04, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.8)),
    )
    image = _gradient(wall, shade(wall, 0.8), size_wh)
    draw = ImageDraw.Draw(image)
    edge, pattern = int(height * rng.uniform(0.5, 0.8)), shade(wall, rng.uniform(0.8, 1.2))
    step = width * rng.uniform(0.04, 0.12)
    style = rng.uniform()
    for x in np.arange(0.0, width, step):
        if style < 0.35:
            draw.rectangle([x, 0, x + step * 0.4, edge], fill=pattern)
        elif style < 0.6:
            for y in np.arange(0.0, edge, step):
                _blob(draw, x, y, step * 0.15, step * 0.15, pattern)
    draw.rectangle([0, edge, width, height], fill=floor)
    for y in np.linspace(edge, height, int(rng.integers(2, 6))):
        draw.line([(0, y), (width, y)], fill=shade(floor, 0.75), width=max(1, width // 200))
    return image


def _patches(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """Soft patches of related colours, coarse or fine."""
    rows = int(rng.integers(2, 16))
    base = np.array(vivid(rng, (0.0, 0.7), (0.3, 0.95)))
    grid = base + rng.normal(0, rng.uniform(10, 45), size=(rows, rows + rows // 3, 3))
    return _upscaled(np.clip(grid, 0, 255), size_wh)


def _clutter(rng: np.random.Generator, size_wh: tuple[int, int]) -> Image.Image:
    """A backdrop crossed by many flat shapes of muted colours."""
    width, height = size_wh
    base = vivid(rng, (0.0, 0.4), (0.35, 0.9))
    image = _gradient(base, shade(base, rng.uniform(0.6, 1.3)), size_wh)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(8, 40))):
        colour = vivid(rng, (0.0, 0.5), (0.3, 0.9))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.01, 0.12, size=2) * width
        kind = int(rng.integers(4))
        if kind == 0:
            _blob(draw, x, y, rx, ry, colour)
        elif kind == 1:
            draw.rectangle([x - rx, y - ry, x + rx, y + ry], fill=colour)
        elif kind == 2:
            draw.polygon([(x - rx, y), (x + rx, y - ry), (x, y + ry)], fill=colour)
        else:
            draw.line(
                [(x - 2 * rx, y - ry), (x + 2 * rx, y + ry)],
                fill=colour,
                width=max(1, width // 160),
            )
    return image


def _gradient(top: Colour, bottom: Colour, size_wh: tuple[int, int]) -> Image.Image:
    return _upscaled(np.array([[top, top], [bottom, bottom]]), size_wh)


def _upscaled(grid: np.ndarray, size_wh: tuple[int, int]) -> Image.Image:
    """A small ``(rows, columns, 3)`` grid of colours, 0..255, stretched smoothly over a picture."""
    return Image.fromarray(grid.astype(np.uint8)).resize(size_wh, Image.Resampling.BICUBIC)


def _blob(
    draw: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, fill: Colour
) -> None:
    draw.ellipse([x - rx, y - ry, x + rx, y + ry], fill=fill)
