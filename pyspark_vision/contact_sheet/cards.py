"""One card of the contact sheet: what `page.html` says of a picture, and where its boxes lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pyspark_vision.contact_sheet.pictures import Thumbnail, Unavailable, fingerprint
from pyspark_vision.contact_sheet.rows import Card, Failure, as_text
from pyspark_vision.executor.drawing.draw import (
    class_color_rgb,
    clipped_xyxy,
    score_text,
    text_color_rgb,
)
from pyspark_vision.executor.drawing.draw_keypoints import draw_keypoints
from pyspark_vision.executor.drawing.draw_masks import draw_masks
from pyspark_vision.executor.drawing.draw_text_lines import corners_of, draw_text_lines, edges_of

STAGE_RATIO = 4 / 3  # as in the style sheet
OPEN_ITEMS = 6  # more are behind "… more", and their boxes carry numbers only

# What a plate takes on a card 300 px wide, to keep plates apart; 11.5 px text is 6.6 px a letter.
STAGE_PX = 300.0
PLATE_PX = 18.0
LETTER_PX = 6.6

# What is drawn in the colours of its classes.
COLORED_TASKS = ("detect", "segment", "keypoints", "ocr")

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Item:
    """A class of a picture or an object in it; `share`: its score, where that is one of 0 to 1."""

    number: int
    name: str
    style: str
    score: str
    share: float | None


@dataclass(frozen=True)
class Box:
    """A box over the picture and the plate at it, each with its place and colours as CSS."""

    style: str
    plate: str
    text: str


@dataclass(frozen=True)
class CardView:
    """What a card shows: a picture so wide (a part of the stage), or why it is missing; a vector as
    a strip of colours and its caption. Boxes that are not `outlined` have plates only; `points`:
    the keypoints of a detector's boxes, as CSS."""

    name: str
    origin: str | None
    size: tuple[int | None, int | None]
    failure: Failure | None
    picture: Thumbnail | None
    missing: str
    width: float
    alt: str
    items: Sequence[Item]
    items_total: int
    boxes: Sequence[Box]
    points: Sequence[str]
    outlined: bool
    vector: tuple[Thumbnail, str] | None


def card_view(
    card: Card, task: str, picture: Thumbnail | Unavailable, boxes_drawn: bool
) -> CardView:
    """What one card shows; `boxes_drawn` says that the picture already carries its boxes."""
    name = _name(card)
    rows = _rows(card, task)
    items = [_item(number, item) for number, item in enumerate(rows, start=1)]
    listed = ", ".join(f"{item.name} {item.score}" for item in items[:OPEN_ITEMS])
    shown = picture if isinstance(picture, Thumbnail) else None
    ratio = shown.width / shown.height if shown else STAGE_RATIO
    width = min(1.0, ratio / STAGE_RATIO)
    are_drawn = task in COLORED_TASKS and not card.failure and not boxes_drawn
    has_points = are_drawn and task == "detect"
    return CardView(
        name=name,
        origin=card.origin if card.origin != name else None,
        size=(card.width, card.height),
        failure=card.failure,
        picture=shown,
        missing=picture.reason if isinstance(picture, Unavailable) else "",
        width=width,
        alt=f"{name}: {listed}" if listed else name,
        items=items,
        items_total=card.items_total,
        boxes=_boxes(rows if are_drawn else [], width * STAGE_PX, ratio, keeps_clear=task == "ocr"),
        points=[place for row in rows for place in _points(row)] if has_points else [],
        outlined=task not in ("segment", "ocr"),
        vector=_vector(card) if task == "embed" else None,
    )


_PAINTED = {"segment": draw_masks, "keypoints": draw_keypoints, "ocr": draw_text_lines}


def painter(card: Card, task: str) -> Callable[[Image.Image], Image.Image] | None:
    """What draws a card's masks, points or lines on its picture; None where it has none."""
    drawing = _PAINTED.get(task)
    rows = [item for item in card.items if isinstance(item, Mapping)]
    if drawing is None or card.failure or not rows:
        return None
    return lambda picture: drawing(picture, rows, named=False)


def class_name(class_id: Any, label: Any) -> str:
    """Return the label, or `#<class_id>` where there is none, not escaped."""
    text = as_text(label, 200).strip()
    return text or (f"#{class_id}" if class_id is not None else "no class")


def color_style(class_id: Any) -> str:
    """Return the custom properties of a class: `--c` its colour, `--t` its text colour."""
    color = class_color_rgb(class_id if isinstance(class_id, int) else 0)
    return f"--c:#{bytes(color).hex()};--t:#{bytes(text_color_rgb(color)).hex()}"


def _rows(card: Card, task: str) -> list[Mapping[str, Any]]:
    """What a card lists; a line of text as something with a label and a box around its corners."""
    rows = [item for item in card.items if isinstance(item, Mapping)]
    return [_line_row(row) for row in rows] if task == "ocr" else rows


def _line_row(line: Mapping[str, Any]) -> Mapping[str, Any]:
    corners = corners_of(line)
    sides = edges_of(corners) if corners else (None, None, None, None)
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))
    text = as_text(line.get("text")).strip() or "no text"
    return {"class_id": None, "label": text, "score": line.get("score"), **box}


def _name(card: Card) -> str:
    origin = card.origin or ""
    last = origin.rstrip("/").rsplit("/", 1)[-1]
    # camera-7/0/1184 is a name as a whole, its last part says nothing
    return (last if "." in last else origin) or f"Row {card.number:,}"


def _boxes(
    items: Sequence[Mapping[str, Any]], width_px: float, ratio: float, *, keeps_clear: bool
) -> list[Box]:
    """Places are parts of the picture, so it may scale.

    With `keeps_clear` a plate rather stands beside its box than over another one.
    """
    boxes: list[Box] = []
    all_edges = [edges for item in items if (edges := clipped_xyxy(item)) is not None]
    placed: list[Edges] = all_edges if keeps_clear else []
    for number, item in enumerate(items, start=1):
        edges = clipped_xyxy(item)
        if edges is None:
            continue
        left, top, right, bottom = edges
        style = color_style(item.get("class_id"))
        label = class_name(item.get("class_id"), item.get("label"))
        text = label if len(items) == 1 else f"{number} {label}"
        text = text if len(items) <= OPEN_ITEMS else str(number)
        plate_px = len(text) * LETTER_PX + 10.0
        place, plate = _place(edges, plate_px, width_px, ratio, placed, beside=keeps_clear)
        placed.append(plate)
        size = f"width:{right - left:.2%};height:{bottom - top:.2%}"
        box = f"left:{left:.2%};top:{top:.2%};{size};{style}"
        boxes.append(Box(box, f"{place};{style}", text))
    return boxes


def _points(item: Mapping[str, Any]) -> Iterator[str]:
    """The places of a detection's keypoints; those outside of the picture are not shown."""
    for point in item.get("keypoints") or ():
        x, y = point.get("x"), point.get("y")
        if isinstance(x, float) and isinstance(y, float) and 0 <= x <= 1 and 0 <= y <= 1:
            yield f"left:{x:.2%};top:{y:.2%};{color_style(item.get('class_id'))}"


def _place(
    box: Edges,
    plate_px: float,
    width_px: float,
    ratio: float,
    taken: Sequence[Edges],
    *,
    beside: bool,
) -> tuple[str, Edges]:
    """Find a plate's place at its box where it covers no other: (CSS, edges as parts)."""
    left, top, right, bottom = box
    width = min(plate_px / width_px, max(right, 1.0 - left))
    height = PLATE_PX * ratio / width_px
    by_left = (f"left:{left:.2%};max-width:{1.0 - left:.2%}", left)
    by_right = (f"right:{1.0 - right:.2%};max-width:{right:.2%}", right - width)
    sides = (by_left, by_right) if left + width <= 1.0 or left < 1.0 - right else (by_right,)
    tries: list[tuple[str, Edges]] = []
    for css_y, y in (
        (f"bottom:{1.0 - top:.2%}", top - height),
        (f"top:{top:.2%}", top),
        (f"top:{bottom:.2%}", bottom),
        (f"bottom:{1.0 - bottom:.2%}", bottom - height),
    ):
        tries += [(f"{css_x};{css_y}", (x, y, x + width, y + height)) for css_x, x in sides]
    first: list[tuple[str, Edges]] = []
    if beside:
        y = (top + bottom - height) / 2
        first.append((f"right:{1.0 - left:.2%};top:{y:.2%}", (left - width, y, left, y + height)))
        if right + width <= 1.0:
            first.append((f"left:{right:.2%};top:{y:.2%}", (right, y, right + width, y + height)))
    for css, plate in (*first, *tries):
        inside = plate[1] >= 0.0 and plate[3] <= 1.0 and plate[0] >= 0.0
        if inside and not any(_overlap(plate, other) for other in taken):
            return css, plate
    return tries[len(sides)]  # inside the top of the box


def _overlap(box: Edges, other: Edges) -> bool:
    apart_x = box[2] <= other[0] or other[2] <= box[0]
    apart_y = box[3] <= other[1] or other[3] <= box[1]
    return not (apart_x or apart_y)


def _item(number: int, item: Mapping[str, Any]) -> Item:
    score = item.get("score")
    known = float(score) if isinstance(score, int | float) else None
    return Item(
        number=number,
        name=class_name(item.get("class_id"), item.get("label")),
        style=color_style(item.get("class_id")),
        score="–" if known is None else score_text(known),
        share=known if known is not None and 0.0 <= known <= 1.0 else None,
    )


def _vector(card: Card) -> tuple[Thumbnail, str] | None:
    values = [math.nan if value is None else float(value) for value in card.items]
    vector = np.array(values, np.float64)
    strip = fingerprint(vector.astype(np.float32))
    if strip is None:
        return None
    odd = int(np.count_nonzero(~np.isfinite(vector)))
    norm = f"norm {float(np.linalg.norm(vector)):.4g}" if not odd else f"{odd:,} not finite"
    return strip, f"{vector.size:,} values · {norm}"
