"""Draw detections on a picture: boxes, label plates, one stable colour for each class.

Runs in Python workers, so it imports the standard library and Pillow only. The font is the one
that Pillow carries (Aileron, which has the ASCII letters only); nothing is read from disk.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, cast

from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]
Xyxy = tuple[int, int, int, int]

BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)

# Of the geometric mean of the sides, so that a picture looks the same when it is enlarged.
# At 640x480 this gives 16 px text and 3 px lines.
FONT_SCALE = 0.022
FONT_BASE_PX = 4  # small pictures get relatively larger text, as they are not enlarged much
LINE_SCALE = 0.0046
MIN_FONT_PX = 10  # below this the built-in font is no longer readable
MIN_LINE_PX = 2
MAX_PLATES = 300  # plates are placed against each other, n * n; boxes beyond it stay unnamed
MAX_LABEL_CHARS = 200
MAX_JPEG_SIDE_PX = 65_500  # JPEG_MAX_DIMENSION in libjpeg's jmorecfg.h; Pillow writes by libjpeg

# 360 degrees / golden ratio squared: successive classes land far apart on the colour wheel.
GOLDEN_ANGLE_DEG = 137.50776
OKLCH_LIGHTNESS = (0.74, 0.60, 0.84)
OKLCH_CHROMA = 0.20


@dataclass(frozen=True)
class Box:
    """A box on a picture, ``xyxy`` in its pixels, inclusive on both sides."""

    xyxy: Xyxy
    class_id: int
    name: str
    score: float | None


def draw_boxes(image: Image.Image, detections: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Return a copy of the picture with its detections drawn on it.

    In: an upright picture, and detections as the row contract has them: `class_id` (int), `label`
    (str or None, then `#<class_id>` is written), `score` (float), and `xmin, ymin, xmax, ymax`
    (floats, parts of the upright picture's width and height). Boxes are clipped to the picture.
    Out: a new RGB picture of the same size; the one given is not changed.

    Never raises for what a model put out: a detection with a missing, NaN, infinite or inverted
    box, or one that lies outside the picture, is left out. The built-in font has ASCII letters:
    accents are left off ("café" -> "cafe"), a label with other letters is written as
    `#<class_id>`, and symbols (emoji) are left out. Long labels are shortened with an ellipsis;
    the score always stays.

    >>> box = {"class_id": 17, "label": "cat", "score": 0.87,
    ...        "xmin": 0.1, "ymin": 0.2, "xmax": 0.6, "ymax": 0.9}
    >>> draw_boxes(Image.new("RGB", (640, 480)), [box]).size
    (640, 480)
    """
    picture = image.convert("RGB")
    if not picture.width or not picture.height:
        return picture
    boxes = boxes_of(detections, picture.size)
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        draw_outline(draw, box, line_width_px(picture.size))
    draw_plates(draw, boxes, picture.size)
    return picture


def boxes_of(detections: Sequence[Mapping[str, Any]], size_wh: tuple[int, int]) -> list[Box]:
    """The boxes that can be drawn, the best last, so that it lies on top."""
    boxes = [_box(detection, size_wh) for detection in detections]
    return sorted((box for box in boxes if box is not None), key=lambda box: _rank(box.score))


def by_rank(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a row lists best first, the best last; without a score, the later ones first."""
    scores = [_rank(_score(item)) for item in items]
    order = sorted(range(len(items)), key=lambda index: (scores[index], -index))
    return [items[index] for index in order]


def line_width_px(size_wh: tuple[int, int]) -> int:
    """How wide lines are on a picture of this size."""
    return max(MIN_LINE_PX, round(math.sqrt(size_wh[0] * size_wh[1]) * LINE_SCALE))


def encode_jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Return the picture as JPEG bytes; what is not RGB or grey is converted to RGB first.

    Colour is kept at full resolution (4:4:4), because at the usual 4:2:0 thin coloured lines
    smear. Raises ValueError for a quality outside 1 to 95 (above it Pillow only adds bytes), and
    OSError for a picture with a side above `MAX_JPEG_SIDE_PX`.

    >>> encode_jpeg(Image.new("RGB", (8, 8)))[:3].hex()
    'ffd8ff'
    """
    if not 1 <= quality <= 95:
        raise ValueError(
            f"quality={quality}: JPEG quality must be from 1 to 95 (90 is the default)"
        )
    buffer = BytesIO()
    flat = image if image.mode in ("RGB", "L") else image.convert("RGB")
    flat.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def clipped_xyxy(detection: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return `xmin, ymin, xmax, ymax` of a detection, clipped to [0, 1].

    None where there is no box to draw: an edge is missing, NaN or infinite, the box is inverted
    or empty, or it lies outside the picture.

    >>> clipped_xyxy({"xmin": -0.1, "ymin": 0.0, "xmax": 0.5, "ymax": 1.2})
    (0.0, 0.0, 0.5, 1.0)
    """
    try:
        xmin, ymin, xmax, ymax = (float(detection[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not all(math.isfinite(edge) for edge in (xmin, ymin, xmax, ymax)):
        return None
    xmin, ymin = max(xmin, 0.0), max(ymin, 0.0)
    xmax, ymax = min(xmax, 1.0), min(ymax, 1.0)
    return (xmin, ymin, xmax, ymax) if xmin < xmax and ymin < ymax else None


@lru_cache(maxsize=4096)
def class_color_rgb(class_id: int) -> Rgb:
    """Return the colour of a class: always the same, neighbours far apart, light enough to see.

    The hue turns by the golden angle and the lightness changes in steps of three, in OKLCH
    (https://bottosson.github.io/posts/oklab/), so that equal steps look equally different.

    >>> class_color_rgb(0), class_color_rgb(1)
    ((254, 127, 120), (3, 152, 105))
    """
    lightness = OKLCH_LIGHTNESS[class_id % len(OKLCH_LIGHTNESS)]
    hue_rad = math.radians((25.0 + class_id * GOLDEN_ANGLE_DEG) % 360.0)
    chroma = OKLCH_CHROMA
    linear = _oklch_to_linear_rgb(lightness, chroma, hue_rad)
    while chroma > 0.0 and not all(0.0 <= part <= 1.0 for part in linear):
        chroma -= 0.005  # into the sRGB gamut without turning the hue
        linear = _oklch_to_linear_rgb(lightness, max(chroma, 0.0), hue_rad)
    red, green, blue = (_to_srgb_byte(part) for part in linear)
    return red, green, blue


def text_color_rgb(background: Rgb) -> Rgb:
    """Return black or white, whichever is easier to read on the background (WCAG 2 contrast).

    One of the two always reaches 4.5:1, the level AA for text.

    >>> text_color_rgb((255, 220, 0)), text_color_rgb((0, 0, 160))
    ((0, 0, 0), (255, 255, 255))
    """
    red, green, blue = (_from_srgb_byte(part) for part in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # contrast with black is (l + .05) / .05, with white 1.05 / (l + .05)
    return BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else WHITE


def score_text(score: float) -> str:
    """Return a score for people: percent from 0 to 1, a plain number outside, a dash for NaN.

    >>> [score_text(score) for score in (0.874, 0.0123, 1.0, 7.5, float("nan"))]
    ['87%', '1.2%', '100%', '7.50', '–']
    """
    if math.isnan(score):
        return "–"
    if not 0.0 <= score <= 1.0:
        return f"{score:.2f}" if abs(score) < 1e6 else f"{score:.1e}"
    percent = score * 100.0
    return f"{percent:.1f}%" if 0.0 < percent < 9.95 else f"{percent:.0f}%"


def _rank(score: float | None) -> float:
    return -math.inf if score is None or math.isnan(score) else score


def _score(detection: Mapping[str, Any]) -> float | None:
    try:
        score = detection["score"]
        return None if score is None else float(score)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _box(detection: Mapping[str, Any], size_wh: tuple[int, int]) -> Box | None:
    """Read one detection, clipped to the picture in pixels, or None where nothing can be drawn."""
    try:
        class_id = int(detection["class_id"])
        score = detection["score"]
        score = None if score is None else float(score)
        label = detection.get("label")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return None
    edges = clipped_xyxy(detection)
    if edges is None:
        return None
    xmin, ymin, xmax, ymax = edges
    width, height = size_wh
    left, top = min(int(xmin * width), width - 1), min(int(ymin * height), height - 1)
    right = max(left, math.ceil(xmax * width) - 1)
    bottom = max(top, math.ceil(ymax * height) - 1)
    name = drawable(label) if isinstance(label, str) else ""
    return Box((left, top, right, bottom), class_id, name or f"#{class_id}", score)


def draw_outline(draw: ImageDraw.ImageDraw, box: Box, line_px: int) -> None:
    """A line in the colour of the class between two dark ones: visible on any background.

    Where the line is at its thinnest the dark ones would outweigh it, and are left out.
    """
    left, top, right, bottom = box.xyxy
    halo_px = round(line_px / 4)
    if line_px > MIN_LINE_PX and halo_px:
        outer = (left - halo_px, top - halo_px, right + halo_px, bottom + halo_px)
        draw.rectangle(outer, outline=BLACK, width=line_px + 2 * halo_px)
    draw.rectangle(box.xyxy, outline=class_color_rgb(box.class_id), width=line_px)


def draw_plates(
    draw: ImageDraw.ImageDraw,
    boxes: Sequence[Box],
    size_wh: tuple[int, int],
    *,
    keeps_clear: bool = False,
) -> None:
    """Write each name on a plate of its colour; the last, best box chooses its place first.

    With `keeps_clear` a plate covers no other box, but rather its own.
    """
    width, height = size_wh
    line_px = line_width_px(size_wh)
    font_px = max(MIN_FONT_PX, round(FONT_BASE_PX + math.sqrt(width * height) * FONT_SCALE))
    font = _font(font_px)
    pad_px = max(2, round(font_px * 0.25))
    ascent, descent = font.getmetrics()
    plate_h = ascent + descent + pad_px
    if plate_h * 2 > height:
        return  # a plate would hide the picture
    placed: list[Xyxy] = [box.xyxy for box in boxes] if keeps_clear else []
    plates: list[tuple[Xyxy, Box, str]] = []
    for box in boxes[: -MAX_PLATES - 1 : -1]:
        box_w = box.xyxy[2] - box.xyxy[0] + 1
        room_px = min(width, max(box_w, width // 2, 12 * font_px)) - 2 * pad_px
        tail = "" if box.score is None else f" {score_text(box.score)}"
        text = _shortened(box.name, tail, font, room_px)
        plate_w = min(width, math.ceil(font.getlength(text)) + 2 * pad_px)
        plate = _place(box.xyxy, (plate_w, plate_h), size_wh, line_px, placed)
        if plate is None and keeps_clear:
            plate = _beside(box.xyxy, (plate_w, plate_h), size_wh, placed)
        if plate is None and keeps_clear:
            text = _shortened(box.name, tail, font, max(box_w, 4 * font_px) - 2 * pad_px)
            plate_w = min(width, math.ceil(font.getlength(text)) + 2 * pad_px)
        plate = plate or _kept_inside(box.xyxy, (plate_w, plate_h), size_wh, covers=keeps_clear)
        placed.append(plate)
        plates.append((plate, box, text))
    for plate, box, text in reversed(plates):
        color = class_color_rgb(box.class_id)
        draw.rectangle(plate, fill=color)
        middle = (plate[0] + pad_px, (plate[1] + plate[3] + 1) / 2)
        draw.text(middle, text, fill=text_color_rgb(color), font=font, anchor="lm")


def _place(
    box: Xyxy, plate_wh: tuple[int, int], size_wh: tuple[int, int], line_px: int, taken: list[Xyxy]
) -> Xyxy | None:
    """Find a plate's place: above the box, inside its top, below it, inside its bottom.

    None where all of them are taken.
    """
    left, top, _, bottom = box
    plate_w, plate_h = plate_wh
    width, height = size_wh
    x = max(0, min(left, width - plate_w))
    lowest = height - plate_h
    for y in (top - plate_h, top + line_px, bottom + 1, bottom + 1 - line_px - plate_h):
        plate = (x, y, x + plate_w - 1, y + plate_h - 1)
        if 0 <= y <= lowest and not any(_overlap(plate, other) for other in taken):
            return plate
    return None


def _beside(
    box: Xyxy, plate_wh: tuple[int, int], size_wh: tuple[int, int], taken: list[Xyxy]
) -> Xyxy | None:
    """A plate right or left of the box where it covers nothing; None where there is no room."""
    (left, top, right, bottom), (plate_w, plate_h) = box, plate_wh
    y = max(0, min((top + bottom + 1 - plate_h) // 2, size_wh[1] - plate_h))
    for x in (right + 1, left - plate_w):
        plate = (x, y, x + plate_w - 1, y + plate_h - 1)
        is_inside = x >= 0 and x + plate_w <= size_wh[0]
        if is_inside and not any(_overlap(plate, other) for other in taken):
            return plate
    return None


def _kept_inside(
    box: Xyxy, plate_wh: tuple[int, int], size_wh: tuple[int, int], *, covers: bool
) -> Xyxy:
    """A plate above the box, or on its top if it `covers` it, moved into the picture."""
    (left, top, _, _), (plate_w, plate_h) = box, plate_wh
    x = max(0, min(left, size_wh[0] - plate_w))
    y = max(0, min(top if covers else top - plate_h, size_wh[1] - plate_h))
    return (x, y, x + plate_w - 1, y + plate_h - 1)


def _overlap(box: Xyxy, other: Xyxy) -> bool:
    apart_x = box[2] < other[0] or other[2] < box[0]
    apart_y = box[3] < other[1] or other[3] < box[1]
    return not (apart_x or apart_y)


def _shortened(name: str, tail: str, font: ImageFont.FreeTypeFont, room_px: float) -> str:
    """Cut the name with an ellipsis until it and the tail fit; else the tail alone."""
    if font.getlength(name + tail) <= room_px:
        return name + tail
    fits, too_long = 0, len(name)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.getlength(name[:middle].rstrip() + "…" + tail) <= room_px:
            fits = middle
        else:
            too_long = middle
    return name[:fits].rstrip() + "…" + tail if fits else tail.strip()


def drawable(label: str) -> str:
    """Return the label as the font can write it, "" where it would lose letters."""
    kept = []
    for char in " ".join(label[:MAX_LABEL_CHARS].split()):
        if _font_has(char):
            kept.append(char)
            continue
        for part in unicodedata.normalize("NFD", char):  # a letter and its accents, in this order
            kind = unicodedata.category(part)[0]
            if kind in "LN" and not _font_has(part):
                return ""  # not a word any more
            if kind in "LNPZ" and _font_has(part):
                kept.append(part)
    return " ".join("".join(kept).split())


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # With a size it is always a FreeType font; a Pillow without FreeType raises ImportError.
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size=size_px))


@lru_cache(maxsize=4096)
def _font_has(char: str) -> bool:
    """Whether the font has a glyph for it, other than the empty box for what it lacks."""
    return char == " " or (char.isprintable() and _glyph(char) not in (b"", _glyph("\uffff")))


def _glyph(char: str) -> bytes:
    return bytes(_font(24).getmask(char))


def _oklch_to_linear_rgb(
    lightness: float, chroma: float, hue_rad: float
) -> tuple[float, float, float]:
    a, b = chroma * math.cos(hue_rad), chroma * math.sin(hue_rad)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _to_srgb_byte(linear: float) -> int:
    part = min(1.0, max(0.0, linear))
    coded = 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
    return round(coded * 255.0)


def _from_srgb_byte(byte: int) -> float:
    coded = byte / 255.0
    return coded / 12.92 if coded <= 0.04045 else ((coded + 0.055) / 1.055) ** 2.4
