"""The objects of a scene: one small drawing each, varied by a random generator.

Every function draws in [-1, 1] x [-1, 1] (x right, y down) with a ``Pen`` and takes all its choices
(colours, proportions, style) from ``rng``, so that one seed is one individual.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyspark_vision.clients.scenes.pen import Colour, Pen, hsv, shade, vivid

Drawing = Callable[[Pen, np.random.Generator], None]

_DARK: Colour = (35, 33, 40)
_GLASS: Colour = (190, 220, 235)
_WHITE: Colour = (250, 250, 245)


def balloon(pen: Pen, rng: np.random.Generator) -> None:
    """A toy balloon with knot, highlight and a waving string."""
    colour, width = vivid(rng, (0.6, 1.0), (0.6, 1.0)), rng.uniform(0.5, 0.66)
    down = np.linspace(0.36, 1.0, 14)
    sway = rng.uniform(0.04, 0.1) * np.sin((down - 0.36) * rng.uniform(8, 12))
    pen.line(np.stack([sway, down], axis=1), 0.035, shade(colour, 0.45))
    pen.polygon([(0, 0.22), (-0.11, 0.4), (0.11, 0.4)], shade(colour, 0.75))
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    taper = 1 - 0.18 * np.maximum(0, np.sin(turn))  # narrower towards the knot
    pen.polygon(
        np.stack([width * np.cos(turn) * taper, 0.65 * np.sin(turn) - 0.35], axis=1), colour
    )
    if rng.uniform() < 0.35:
        pen.line([(-width * 0.85, -0.3), (0, -0.22), (width * 0.85, -0.3)], 0.12, vivid(rng))
    pen.ellipse(-0.42 * width, -0.6, 0.1, 0.17, shade(colour, 1.6), outlined=False)


def boat(pen: Pen, rng: np.random.Generator) -> None:
    """A sailing boat: hull, mast, two sails, a pennant."""
    hull, sail = vivid(rng), vivid(rng, (0.0, 0.35), (0.8, 1.0))
    deck, mast = rng.uniform(0.4, 0.5), rng.uniform(-0.1, 0.1)
    pen.rectangle(mast - 0.03, -0.92, mast + 0.03, deck, (110, 75, 45))
    pen.polygon([(mast + 0.07, -0.85), (mast + 0.07, deck - 0.08), (0.8, deck - 0.08)], sail)
    jib = sail if rng.uniform() < 0.5 else vivid(rng)
    pen.polygon(
        [(mast - 0.07, rng.uniform(-0.75, -0.5)), (mast - 0.07, deck - 0.08), (-0.7, deck - 0.08)],
        jib,
    )
    pen.polygon(
        [(mast, -1.0), (mast + 0.25, -0.92), (mast, -0.84)], vivid(rng, (0.8, 1.0)), outlined=False
    )
    keel = rng.uniform(0.85, 0.98)
    pen.polygon([(-0.98, deck), (0.98, deck), (0.65, keel), (-0.6, keel)], hull)
    if rng.uniform() < 0.6:
        pen.line([(-0.84, deck + 0.15), (0.84, deck + 0.15)], 0.08, _WHITE)
    else:
        for x in (-0.4, 0.0, 0.4):
            pen.ellipse(x, deck + 0.22, 0.09, 0.09, _GLASS)


def car(pen: Pen, rng: np.random.Generator) -> None:
    """A car from the side: saloon, hatchback or van."""
    paint, wheel, roof = (
        vivid(rng, (0.2, 1.0), (0.35, 1.0)),
        rng.uniform(0.19, 0.25),
        rng.uniform(-0.55, -0.42),
    )
    front, rear = {"saloon": (0.35, -0.45), "hatchback": (0.35, -0.8), "van": (0.62, -0.92)}[
        str(rng.choice(["saloon", "hatchback", "van"]))
    ]
    pen.polygon(
        [(rear - 0.06, -0.02), (rear + 0.1, roof), (front - 0.18, roof), (front + 0.14, -0.02)],
        paint,
    )
    middle = (front + rear) / 2
    for left, right in ((rear + 0.1, middle - 0.04), (middle + 0.04, front - 0.02)):
        lean = 0.12 if right > middle else 0.0
        glass = [
            (left, -0.05),
            (left + 0.03, roof + 0.09),
            (right - lean, roof + 0.09),
            (right, -0.05),
        ]
        pen.polygon(glass, _GLASS)
    bonnet = rng.uniform(0.0, 0.08)
    body = [
        (-0.98, 0.05),
        (-0.94, -0.05),
        (front, -0.05),
        (0.9, bonnet),
        (0.99, 0.18),
        (0.97, 0.38),
        (-0.97, 0.38),
    ]
    pen.polygon(body, paint)
    pen.line([(middle, 0.0), (middle, 0.32)], 0.025, shade(paint, 0.55))
    pen.line([(middle - 0.2, 0.08), (middle - 0.09, 0.08)], 0.04, shade(paint, 0.5))
    pen.ellipse(0.91, 0.18, 0.06, 0.07, (255, 240, 170))
    pen.rectangle(-0.98, 0.1, -0.91, 0.22, (205, 40, 35))
    for x in (-0.56, 0.57):
        pen.ellipse(x, 0.4, wheel, wheel, _DARK)
        pen.ellipse(x, 0.4, wheel * 0.5, wheel * 0.5, (185, 185, 190))


def cat(pen: Pen, rng: np.random.Generator) -> None:
    """A sitting cat, seen from the front, its tail to one side."""
    fur = (
        hsv(rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.85), rng.uniform(0.55, 1.0)),
        hsv(0.08, 0.08, rng.uniform(0.2, 0.95)),
    )
    coat = fur[int(rng.integers(2))]
    chest, plump = shade(coat, 1.35), rng.uniform(0.42, 0.54)
    bend = np.linspace(0, 1, 12)
    tail = np.stack(
        [0.35 + 0.5 * np.sin(bend * 2.2), 0.85 - rng.uniform(0.6, 0.9) * bend**1.5], axis=1
    )
    pen.line(tail, 0.15, shade(coat, 0.85))
    pen.ellipse(0, 0.5, plump, 0.48, coat)
    pen.ellipse(0, 0.5, plump * 0.5, 0.33, chest, outlined=False)
    for x in (-0.2, 0.2):
        pen.ellipse(x, 0.9, 0.16, 0.09, chest)
    ear = rng.uniform(-1.0, -0.86)
    for side in (-1, 1):
        pen.polygon([(side * 0.47, -0.4), (side * 0.42, ear), (side * 0.1, -0.62)], coat)
        pen.polygon(
            [(side * 0.4, -0.5), (side * 0.38, ear + 0.14), (side * 0.2, -0.62)],
            (235, 160, 160),
            outlined=False,
        )
    pen.ellipse(0, -0.3, 0.5, 0.42, coat)
    if rng.uniform() < 0.5:
        for x in (-0.14, 0.0, 0.14):
            pen.line([(x, -0.69), (x, -0.52)], 0.05, shade(coat, 0.55))
    iris = hsv(rng.uniform(0.12, 0.55), 0.75, 0.9)
    for side in (-1, 1):
        pen.ellipse(side * 0.2, -0.36, 0.11, 0.11, iris)
        pen.ellipse(side * 0.2, -0.36, 0.04, 0.1, _DARK, outlined=False)
        for lift in (-0.06, 0.04):
            pen.line([(side * 0.16, -0.16), (side * 0.62, -0.16 + lift)], 0.022, shade(coat, 0.4))
    pen.polygon([(-0.07, -0.22), (0.07, -0.22), (0, -0.13)], (215, 110, 120), outlined=False)


def cup(pen: Pen, rng: np.random.Generator) -> None:
    """A cup of coffee or tea with a handle, often steaming."""
    china, foot, top = (
        vivid(rng, (0.1, 0.9), (0.6, 1.0)),
        rng.uniform(0.38, 0.62),
        rng.uniform(-0.5, -0.35),
    )
    turn = np.linspace(-1.45, 1.45, 16)
    handle = np.stack(
        [0.52 + 0.38 * np.cos(turn), 0.12 + rng.uniform(0.28, 0.36) * np.sin(turn)], axis=1
    )
    pen.line(handle, 0.16, shade(china, 0.85))
    if rng.uniform() < 0.4:
        height = np.linspace(-1.0, top - 0.1, 12)
        for x in (-0.25, 0.0, 0.25):
            pen.line(
                np.stack([x + 0.05 * np.sin(height * 11), height], axis=1), 0.05, (225, 225, 228)
            )
    pen.polygon([(-0.65, top), (0.65, top), (foot, 0.85), (-foot, 0.85)], china)
    if rng.uniform() < 0.6:
        pen.polygon(
            [(-0.62, 0.1), (0.62, 0.1), (0.59, 0.32), (-0.59, 0.32)], vivid(rng), outlined=False
        )
    else:
        for x in (-0.3, 0.0, 0.3):
            pen.ellipse(x, 0.25, 0.09, 0.09, vivid(rng), outlined=False)
    pen.ellipse(0, 0.85, foot, 0.09, shade(china, 0.9))
    pen.ellipse(0, top, 0.66, 0.15, shade(china, 1.1))
    pen.ellipse(
        0,
        top + 0.02,
        0.56,
        0.1,
        hsv(rng.uniform(0.05, 0.1), 0.7, rng.uniform(0.25, 0.6)),
        outlined=False,
    )


def fish(pen: Pen, rng: np.random.Generator) -> None:
    """A tropical fish with stripes or scales."""
    scales, deep = vivid(rng, (0.5, 1.0), (0.55, 1.0)), rng.uniform(0.38, 0.52)
    fin = shade(scales, 0.75) if rng.uniform() < 0.5 else vivid(rng, (0.6, 1.0))
    pen.polygon(
        [(-0.5, 0), (-0.98, -rng.uniform(0.35, 0.5)), (-0.84, 0), (-0.98, rng.uniform(0.35, 0.5))],
        fin,
    )
    pen.polygon([(-0.3, -deep * 0.8), (0.1, -deep - 0.25), (0.35, -deep * 0.75)], fin)
    pen.polygon([(-0.15, deep * 0.85), (-0.25, deep + 0.2), (0.2, deep * 0.85)], fin)
    pen.ellipse(0.17, 0, 0.8, deep, scales)
    pattern = shade(scales, 1.5) if rng.uniform() < 0.5 else shade(scales, 0.55)
    if rng.uniform() < 0.6:
        for x in (-0.25, 0.02, 0.29):
            half = 0.85 * deep * np.sqrt(1 - ((x - 0.17) / 0.8) ** 2)
            pen.line([(x, -half), (x + 0.06, 0), (x, half)], 0.09, pattern)
    else:
        for x, y in (
            (-0.3, 0.0),
            (-0.1, -0.14),
            (-0.1, 0.14),
            (0.1, 0.0),
            (0.28, -0.16),
            (0.28, 0.16),
        ):
            pen.ellipse(x, y, 0.06, 0.06, pattern, outlined=False)
    pen.polygon([(0.15, 0.05), (-0.12, 0.2), (0.12, 0.22)], fin)
    pen.ellipse(0.64, -0.1, 0.11, 0.11, _WHITE)
    pen.ellipse(0.67, -0.1, 0.055, 0.055, _DARK, outlined=False)
    pen.line([(0.93, 0.1), (0.76, 0.13)], 0.04, shade(scales, 0.4))


def house(pen: Pen, rng: np.random.Generator) -> None:
    """A house with a roof, a door, windows and sometimes a chimney."""
    wall, tiles = (
        vivid(rng, (0.05, 0.6), (0.6, 1.0)),
        hsv(rng.uniform(-0.05, 0.1), rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.8)),
    )
    eaves, ridge = rng.uniform(-0.3, -0.1), rng.uniform(0.0, 0.45)
    if rng.uniform() < 0.6:
        pen.rectangle(0.38, -0.95, 0.58, eaves, shade(tiles, 0.8))
    pen.rectangle(-0.8, eaves, 0.8, 0.95, wall)
    pen.polygon([(-0.97, eaves), (-ridge, -0.92), (ridge, -0.92), (0.97, eaves)], tiles)
    door = rng.choice([-0.42, 0.0, 0.42])
    wood = vivid(rng, (0.4, 0.9), (0.3, 0.7))
    pen.rectangle(door - 0.17, 0.32, door + 0.17, 0.95, wood)
    pen.ellipse(door + 0.1, 0.65, 0.03, 0.03, (240, 210, 90), outlined=False)
    pane = (255, 225, 120) if rng.uniform() < 0.3 else _GLASS
    floors = (0.12, 0.5) if rng.uniform() < 0.4 else (0.4,)
    for y in floors:
        for x in (-0.5, 0.0, 0.5):
            if abs(x - door) < 0.3 and y > 0.2:
                continue
            pen.rectangle(x - 0.17, y - 0.15, x + 0.17, y + 0.15, _WHITE)
            pen.rectangle(x - 0.13, y - 0.11, x + 0.13, y + 0.11, pane)
            pen.line([(x, y - 0.11), (x, y + 0.11)], 0.03, _WHITE)


def tree(pen: Pen, rng: np.random.Generator) -> None:
    """A leafy tree, sometimes with fruit, or a fir."""
    leaves = hsv(
        rng.uniform(0.2, 0.42) if rng.uniform() < 0.75 else rng.uniform(0.03, 0.13),
        rng.uniform(0.45, 0.9),
        rng.uniform(0.3, 0.75),
    )
    bark, trunk = hsv(0.07, rng.uniform(0.3, 0.65), rng.uniform(0.25, 0.5)), rng.uniform(0.08, 0.13)
    pen.polygon([(-trunk, 0.1), (trunk, 0.1), (trunk * 1.5, 0.98), (-trunk * 1.5, 0.98)], bark)
    if rng.uniform() < 0.4:
        for width, bottom, top in ((0.72, 0.6, -0.15), (0.58, 0.15, -0.55), (0.42, -0.3, -0.98)):
            pen.polygon([(-width, bottom), (0, top), (width, bottom)], leaves)
            pen.polygon(
                [(0, top), (width, bottom), (width * 0.35, bottom)],
                shade(leaves, 0.8),
                outlined=False,
            )
        return
    for x, y, radius in (
        (-0.4, 0.02, 0.36),
        (0.4, 0.02, 0.36),
        (-0.28, -0.42, 0.38),
        (0.3, -0.4, 0.38),
        (0, -0.6, 0.36),
        (0, -0.1, 0.42),
    ):
        grown = radius * rng.uniform(0.88, 1.08)
        pen.ellipse(x, y, grown, grown, shade(leaves, rng.uniform(0.88, 1.12)))
    if rng.uniform() < 0.4:
        fruit = vivid(rng, (0.8, 1.0), (0.8, 1.0))
        for x, y in rng.uniform((-0.5, -0.7), (0.5, 0.1), size=(6, 2)):
            pen.ellipse(x, y, 0.07, 0.07, fruit)


def look_alike(pen: Pen, rng: np.random.Generator) -> None:
    """A bare shape in an object's colours and size that is no object: to be left alone."""
    colour = vivid(rng, (0.1, 1.0), (0.3, 1.0))
    kind = int(rng.integers(6))
    wide = rng.uniform(0.45, 0.95)
    if kind == 0:
        pen.ellipse(0, 0, wide, rng.uniform(0.45, 0.95), colour)
    elif kind == 1:
        pen.rectangle(-wide, -0.6, wide, 0.6, colour)
    elif kind == 2:
        pen.polygon([(-wide, 0.8), (rng.uniform(-0.5, 0.5), -0.8), (wide, 0.8)], colour)
    elif kind == 3:
        pen.line(
            rng.uniform(-0.9, 0.9, size=(int(rng.integers(2, 5)), 2)),
            rng.uniform(0.04, 0.15),
            colour,
        )
    elif kind == 4:
        turn = np.linspace(0, 2 * np.pi, 24)
        pen.line(
            np.stack([wide * np.cos(turn), wide * np.sin(turn)], axis=1),
            rng.uniform(0.08, 0.2),
            colour,
        )
    else:
        pen.rectangle(-wide, -0.7, wide, 0.1, colour)
        pen.ellipse(0, 0.35, wide * 0.7, 0.4, vivid(rng))


DRAWINGS: dict[str, Drawing] = {
    drawing.__name__: drawing for drawing in (balloon, boat, car, cat, cup, fish, house, tree)
}
