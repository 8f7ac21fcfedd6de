"""Scenes: a background, some objects, look-alikes, light and a camera, from one seed.

A scene is planned first (what stands where, as fractions of the picture) and then drawn, so that
the same plan serves every picture size and, with a frame index, every moment of a moving sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from pyspark_vision.clients.scenes.backgrounds import apply_camera, apply_light, draw_background
from pyspark_vision.clients.scenes.objects import DRAWINGS, look_alike
from pyspark_vision.clients.scenes.pen import Pen, hsv

LABELS: tuple[str, ...] = tuple(DRAWINGS)
"""The classes, in alphabetical order; the position is the class id."""

MAX_OBJECTS = 6

# An object is labelled when a person would still name it: this part of it shows ...
_MIN_VISIBLE_FRACTION = 0.4
# ... and what shows is no smaller than this part of the picture's side.
_MIN_VISIBLE_SIDE = 0.025
# A pixel belongs to an object from this opacity (of 255) on.
_OPAQUE = 128

# Independent random streams of one seed: a change in one leaves the others as they are.
_PLAN, _BACKGROUND, _LIGHT, _CAMERA, _GRAIN, _SINGLE = range(6)


@dataclass(frozen=True)
class DrawnObject:
    """One labelled object of a picture.

    Attributes:
        label: one of ``LABELS``.
        xyxy: xmin, ymin, xmax, ymax of its visible pixels, in [0, 1] of the picture.
    """

    label: str
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class _Placement:
    """Where and how one thing stands; lengths are fractions of the picture's width and height."""

    label: str | None  # None: a look-alike
    look_seed: int
    centre_xy: tuple[float, float]
    size: float  # of the shorter side of the picture
    angle_rad: float
    stretch_xy: tuple[float, float]  # a negative x mirrors
    sway_xy: tuple[float, float]
    sway_frames: float  # period of the movement
    phase: float
    shadow: float  # opacity of the shadow on the ground, 0 for none

    def centre_at(self, frame_index: int) -> tuple[float, float]:
        """The centre after ``frame_index`` frames: a swing that starts at ``centre_xy``."""
        turn = 2.0 * np.pi * frame_index / self.sway_frames
        swing = float(np.sin(turn + self.phase) - np.sin(self.phase))
        return self.centre_xy[0] + self.sway_xy[0] * swing, self.centre_xy[1] + self.sway_xy[
            1
        ] * swing


def draw_scene(
    seed: int, size_wh: tuple[int, int] = (640, 480)
) -> tuple[Image.Image, tuple[DrawnObject, ...]]:
    """One scene with 0 to 6 objects.

    Args:
        seed: any integer >= 0; the same seed and size give the same picture, byte for byte.
        size_wh: width and height in pixels.

    Returns:
        The RGB picture, and its labelled objects from back to front. Boxes are tight to the pixels
        that show; an object mostly hidden or mostly outside the picture has no label.

    >>> image, objects = draw_scene(1)
    >>> image.size, [found.label for found in objects]
    ((640, 480), ['tree', 'cup', 'house'])
    """
    return draw_frame(seed, 0, size_wh)


def draw_frame(
    camera_seed: int, frame_index: int, size_wh: tuple[int, int] = (640, 480)
) -> tuple[Image.Image, tuple[DrawnObject, ...]]:
    """One frame of a fixed camera before which the objects of ``draw_scene(camera_seed)`` move.

    Background, light and blur stay, the objects swing smoothly to and fro, and the grain is new in
    each frame. Frame 0 is ``draw_scene(camera_seed)``. Arguments and result are as there.
    """
    return _render(_plan_scene(camera_seed), camera_seed, frame_index, size_wh)


def draw_single(
    seed: int, size_wh: tuple[int, int] = (320, 240)
) -> tuple[Image.Image, DrawnObject]:
    """One picture with one dominant object, for a classifier; arguments as ``draw_scene``."""
    rng = np.random.default_rng((seed, _SINGLE))
    label = str(rng.choice(LABELS))
    subject = _place(
        rng, label, size=rng.uniform(0.6, 0.95), centre_xy=_pair(rng.uniform(0.4, 0.6, size=2))
    )
    distractors = [
        _place(rng, None, size=rng.uniform(0.1, 0.25)) for _ in range(int(rng.integers(0, 4)))
    ]
    image, objects = _render([*distractors, subject], seed, 0, size_wh)
    return image, objects[-1]


def _plan_scene(seed: int) -> list[_Placement]:
    """Objects and look-alikes from back to front; later ones are drawn over earlier ones."""
    rng = np.random.default_rng((seed, _PLAN))
    labels: list[str | None] = [
        str(label) for label in rng.choice(LABELS, size=int(rng.integers(0, MAX_OBJECTS + 1)))
    ]
    labels += [None] * int(rng.integers(0, 5))
    rng.shuffle(labels)
    planned: list[_Placement] = []
    for label in labels:
        for _ in range(10):
            candidate = _place(
                rng, label, size=float(np.exp(rng.uniform(np.log(0.15), np.log(0.6))))
            )
            if all(_overlap(candidate, other) < 0.3 for other in planned):
                planned.append(candidate)
                break
    # Who stands lower in the picture is nearer.
    return sorted(planned, key=lambda placed: placed.centre_xy[1] + placed.size / 2)


def _place(
    rng: np.random.Generator,
    label: str | None,
    size: float,
    centre_xy: tuple[float, float] | None = None,
) -> _Placement:
    """A thing of this label and size at ``centre_xy``, or anywhere the label may be expected."""
    lowest, highest = {"balloon": (0.05, 0.7), None: (0.0, 1.0), "fish": (0.05, 0.95)}.get(
        label, (0.3, 0.97)
    )
    return _Placement(
        label=label,
        look_seed=int(rng.integers(2**32)),
        centre_xy=centre_xy or (rng.uniform(0.03, 0.97), rng.uniform(lowest, highest)),
        size=size,
        angle_rad=rng.normal(0.0, 0.12 if label else 1.0),
        stretch_xy=(rng.uniform(0.82, 1.1) * rng.choice([-1.0, 1.0]), rng.uniform(0.82, 1.1)),
        sway_xy=(rng.uniform(0.03, 0.3) * rng.choice([-1.0, 1.0]), rng.uniform(-0.06, 0.06)),
        sway_frames=rng.uniform(90, 240),
        phase=rng.uniform(0.0, 2 * np.pi),
        shadow=rng.uniform(0.15, 0.5)
        if rng.uniform() < 0.5 and label not in ("balloon", "fish")
        else 0.0,
    )


def _overlap(placed: _Placement, other: _Placement) -> float:
    """Roughly how much of the smaller of two things, as squares, the other one covers; 0 to 1."""
    # 3:4 is the usual picture; the plan must not depend on the size it is drawn at.
    width = 0.75 * ((placed.size + other.size) / 2) - abs(placed.centre_xy[0] - other.centre_xy[0])
    height = (placed.size + other.size) / 2 - abs(placed.centre_xy[1] - other.centre_xy[1])
    smaller = min(placed.size, other.size)
    return (
        min(max(width, 0.0), 0.75 * smaller) * min(max(height, 0.0), smaller) / (0.75 * smaller**2)
    )


def _render(
    plan: list[_Placement], seed: int, frame_index: int, size_wh: tuple[int, int]
) -> tuple[Image.Image, tuple[DrawnObject, ...]]:
    image = draw_background(np.random.default_rng((seed, _BACKGROUND)), size_wh)
    owners = Image.new("L", size_wh)  # 1 + position in the plan of whom each pixel belongs to
    drawn_pixels = [
        _stamp(image, owners, placed, position, frame_index)
        for position, placed in enumerate(plan, start=1)
    ]
    objects = _labelled(plan, np.asarray(owners), drawn_pixels)
    image = apply_light(image, np.random.default_rng((seed, _LIGHT)))
    camera, grain = (
        np.random.default_rng((seed, _CAMERA)),
        np.random.default_rng((seed, _GRAIN, frame_index)),
    )
    return apply_camera(image, camera, grain), objects


def _stamp(
    image: Image.Image, owners: Image.Image, placed: _Placement, position: int, frame_index: int
) -> int:
    """Draw a thing onto ``image``, its ``position`` onto ``owners``; its pixels, seen or not."""
    rng = np.random.default_rng(placed.look_seed)
    half = placed.size * min(image.size) / 2
    side = int(np.ceil(half * 3)) + 2  # room for the corners of a turned square
    centre = np.array(placed.centre_at(frame_index)) * image.size
    corner = np.floor(centre - side / 2).astype(int)
    cos, sin = np.cos(placed.angle_rad), np.sin(placed.angle_rad)
    turn = half * np.array([[cos, -sin], [sin, cos]]) @ np.diag(placed.stretch_xy)
    to_patch = np.column_stack(
        [turn, centre - corner]
    )  # the rest after the whole pixels keeps motion smooth

    ink = hsv(rng.uniform(), 0.3, rng.uniform(0.05, 0.3)) if rng.uniform() < 0.6 else None
    pen = Pen(side, to_patch, ink, rng.uniform(0.02, 0.05))
    (DRAWINGS[placed.label] if placed.label else look_alike)(pen, rng)
    colours, opacity, offset = pen.patch()
    left, top = int(corner[0]) + offset[0], int(corner[1]) + offset[1]
    box = (left, top, left + opacity.width, top + opacity.height)

    if placed.shadow:
        ground = _SHADOW.resize((max(1, int(half * 2.2)), max(1, int(half * 0.4))))
        ground = ground.point(lambda level: level * placed.shadow)
        image.paste(
            (20, 20, 30), (int(centre[0] - half * 1.1), int(centre[1] + half * 0.72)), ground
        )
    # Lit from one side: flat colours become bodies, and no two pixels of a part are quite alike.
    sides = Image.fromarray(rng.integers(180, 256, size=(2, 2), dtype=np.uint8))
    sides = sides.resize(opacity.size, Image.Resampling.BILINEAR)
    body = ImageChops.multiply(colours, Image.merge("RGB", (sides,) * 3))
    behind = ImageChops.multiply(
        image.crop(box), Image.merge("RGB", (ImageChops.invert(opacity),) * 3)
    )
    image.paste(ImageChops.add(body, behind), box)

    solid = opacity.point(lambda level: 255 * (level >= _OPAQUE))
    owners.paste(position, box, solid)
    return solid.histogram()[255]


def _labelled(
    plan: list[_Placement], owners: np.ndarray, drawn_pixels: list[int]
) -> tuple[DrawnObject, ...]:
    """The objects of the plan that a person would still name, boxed by their visible pixels."""
    height, width = owners.shape
    objects = []
    for position, placed in enumerate(plan, start=1):
        if placed.label is None:
            continue
        mask = owners == position
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if mask.sum() < _MIN_VISIBLE_FRACTION * max(1, drawn_pixels[position - 1]):
            continue
        xyxy = (
            columns[0] / width,
            rows[0] / height,
            (columns[-1] + 1) / width,
            (rows[-1] + 1) / height,
        )
        if min(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]) >= _MIN_VISIBLE_SIDE:
            objects.append(DrawnObject(placed.label, _quad(xyxy)))
    return tuple(objects)


def _soft_disc() -> Image.Image:
    across = np.linspace(-1, 1, 48)
    distance = np.hypot(across[:, None], across[None, :])
    return Image.fromarray((255 * np.clip(1 - distance, 0, 1)).astype(np.uint8))


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _quad(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = (float(value) for value in values)
    return xmin, ymin, xmax, ymax


_SHADOW = _soft_disc()
