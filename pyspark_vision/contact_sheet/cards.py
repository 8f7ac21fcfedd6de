"""One card of the contact sheet as HTML: the picture with its boxes, and what was found in it.

Every value of a row goes through `escape_text`; into attributes go only numbers, colours and
data: URIs made here, and the escaped `alt`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyspark_vision.contact_sheet.pictures import Thumbnail, Unavailable, fingerprint
from pyspark_vision.contact_sheet.rows import Card, as_text
from pyspark_vision.executor.draw import class_color_rgb, clipped_xyxy, score_text, text_color_rgb

STAGE_RATIO = 4 / 3  # as in the style sheet
OPEN_ITEMS = 6  # more are behind "… more", and their boxes carry numbers only
TOP_CLASSES = 5

# What a plate takes on a card 300 px wide, to keep plates apart; 11.5 px text is 6.6 px a letter.
STAGE_PX = 300.0
PLATE_PX = 18.0
LETTER_PX = 6.6

Edges = tuple[float, float, float, float]


def escape_text(value: str) -> str:
    """Return text that is safe in HTML, in attributes too; control characters become U+FFFD.

    >>> escape_text('"><img onerror=x>')
    '&quot;&gt;&lt;img onerror=x&gt;'
    """
    shown = "".join(char if char.isprintable() else _visible(char) for char in value)
    return html.escape(shown, quote=True)


def card_html(card: Card, task: str, picture: Thumbnail | Unavailable, boxes_drawn: bool) -> str:
    """Return one card; `boxes_drawn` says that the picture already carries its boxes."""
    name = escape_text(_name(card))
    known = card.width is not None and card.height is not None
    size = f"<span>{card.width}&#8239;×&#8239;{card.height}</span>" if known else ""
    parts = [f'<div class="name"><h3 dir="auto">{name}</h3>{size}</div>']
    if card.origin and card.origin != _name(card):
        parts.append(f'<p class="from" dir="auto">{escape_text(card.origin)}</p>')
    items = [item for item in card.items if isinstance(item, Mapping)]
    if card.failure:
        code, message = escape_text(card.failure.code), escape_text(card.failure.message)
        parts.append(f'<p class="why" dir="auto"><code>{code}</code> {message}</p>')
        if isinstance(picture, Unavailable):
            reason = escape_text(picture.reason)
            parts.append(f'<p class="gone">Picture not available: {reason}</p>')
    elif task == "embed":
        parts.append(_vector(card))
    elif not items:
        parts.append('<p class="nothing">Nothing found</p>')
    elif task == "classify":
        parts.append(_ranking(items))
    else:
        parts.append(_detections(items, card.items_total))
    drawn = items if task == "detect" and not card.failure and not boxes_drawn else []
    bare = card.failure and isinstance(picture, Unavailable)  # the reason is what counts
    stage = "" if bare else _stage(picture, name, items, drawn)
    return f'<article class="card">{stage}<div class="text">{"".join(parts)}</div></article>'


def class_name(class_id: Any, label: Any) -> str:
    """Return the label, or `#<class_id>` where there is none, not escaped."""
    text = as_text(label, 200).strip()
    return text or (f"#{class_id}" if class_id is not None else "no class")


def color_style(class_id: Any) -> str:
    """Return the custom properties of a class: `--c` its colour, `--t` its text colour."""
    color = class_color_rgb(class_id if isinstance(class_id, int) else 0)
    return f"--c:#{bytes(color).hex()};--t:#{bytes(text_color_rgb(color)).hex()}"


def _visible(char: str) -> str:
    # isprintable() is false for joiners too, which many scripts need
    return char if char in "\u200c\u200d\u00a0" else " " if char.isspace() else "\ufffd"


def _name(card: Card) -> str:
    origin = card.origin or ""
    last = origin.rstrip("/").rsplit("/", 1)[-1]
    # camera-7/0/1184 is a name as a whole, its last part says nothing
    return (last if "." in last else origin) or f"Row {card.number:,}"


def _stage(
    picture: Thumbnail | Unavailable,
    name: str,
    items: Sequence[Mapping[str, Any]],
    drawn: Sequence[Mapping[str, Any]],
) -> str:
    if isinstance(picture, Unavailable):
        reason = escape_text(picture.reason)
        return f'<p class="stage empty"><b>Picture not available</b>{reason}</p>'
    ratio = picture.width / picture.height
    width = min(1.0, ratio / STAGE_RATIO)
    found = ", ".join(_item_text(item) for item in items[:OPEN_ITEMS])
    alt = name + (": " + escape_text(found) if found else "")
    return (
        f'<figure class="stage"><div class="picture" style="width:{width:.2%};'
        f'aspect-ratio:{picture.width}/{picture.height}">'
        f'<img src="{picture.data_uri}" alt="{alt}" width="{picture.width}" '
        f'height="{picture.height}">{_overlay(drawn, width * STAGE_PX, ratio)}</div></figure>'
    )


def _overlay(items: Sequence[Mapping[str, Any]], width_px: float, ratio: float) -> str:
    """Boxes first and plates above them; places are parts of the picture, so it may scale."""
    boxes: list[str] = []
    plates: list[str] = []
    placed: list[Edges] = []
    for number, item in enumerate(items, start=1):
        edges = clipped_xyxy(item)
        if edges is None:
            continue
        left, top, right, bottom = edges
        style = color_style(item.get("class_id"))
        boxes.append(
            f'<i class="box" style="left:{left:.2%};top:{top:.2%};width:{right - left:.2%};'
            f'height:{bottom - top:.2%};{style}"></i>'
        )
        label = class_name(item.get("class_id"), item.get("label"))
        text = label if len(items) == 1 else f"{number} {label}"
        text = text if len(items) <= OPEN_ITEMS else str(number)
        place, plate = _place(edges, len(text) * LETTER_PX + 10.0, width_px, ratio, placed)
        placed.append(plate)
        plates.append(
            f'<b class="plate" dir="auto" style="{place};{style}">{escape_text(text)}</b>'
        )
    return f'<div aria-hidden="true">{"".join(boxes + plates)}</div>' if boxes else ""


def _place(
    box: Edges, plate_px: float, width_px: float, ratio: float, taken: Sequence[Edges]
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
    for css, plate in tries:
        inside = plate[1] >= 0.0 and plate[3] <= 1.0 and plate[0] >= 0.0
        if inside and not any(_overlap(plate, other) for other in taken):
            return css, plate
    return tries[len(sides)]  # inside the top of the box


def _overlap(one: Edges, other: Edges) -> bool:
    apart_x = one[2] <= other[0] or other[2] <= one[0]
    apart_y = one[3] <= other[1] or other[3] <= one[1]
    return not (apart_x or apart_y)


def _item_text(item: Mapping[str, Any]) -> str:
    name = class_name(item.get("class_id"), item.get("label"))
    return f"{name} {_score(item)}"


def _score(item: Mapping[str, Any]) -> str:
    score = item.get("score")
    return score_text(float(score)) if isinstance(score, int | float) else "–"


def _detections(items: Sequence[Mapping[str, Any]], total: int) -> str:
    rows = [
        f'<li><span class="chip" style="{color_style(item.get("class_id"))}">{number}</span>'
        f'<span class="label" dir="auto">'
        f"{escape_text(class_name(item.get('class_id'), item.get('label')))}</span>"
        f"<span>{_score(item)}</span></li>"
        for number, item in enumerate(items, start=1)
    ]
    shown = f'<ol class="items">{"".join(rows[:OPEN_ITEMS])}</ol>'
    if total <= OPEN_ITEMS:
        return shown
    cut = f'<li class="soft">and {total - len(items):,} more, not drawn</li>'
    rest = "".join(rows[OPEN_ITEMS:]) + (cut if total > len(items) else "")
    return (
        f"{shown}<details><summary>{total - OPEN_ITEMS:,} more</summary>"
        f'<ol class="items">{rest}</ol></details>'
    )


def _ranking(items: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for item in items[:TOP_CLASSES]:
        score = item.get("score")
        share = float(score) if isinstance(score, int | float) else math.nan
        meter = f'<i class="meter" style="width:{share:.2%}"></i>' if 0.0 <= share <= 1.0 else ""
        name = escape_text(class_name(item.get("class_id"), item.get("label")))
        rows.append(
            f'<li><span class="label" dir="auto">{name}</span><span>{_score(item)}</span>'
            f"{meter}</li>"
        )
    return f'<ol class="items ranked">{"".join(rows)}</ol>'


def _vector(card: Card) -> str:
    values = [math.nan if value is None else float(value) for value in card.items]
    vector = np.array(values, np.float64)
    strip = fingerprint(vector.astype(np.float32))
    if strip is None:
        return '<p class="nothing">The vector is empty</p>'
    odd = int(np.count_nonzero(~np.isfinite(vector)))
    norm = f"norm {float(np.linalg.norm(vector)):.4g}" if not odd else f"{odd:,} not finite"
    return (
        f'<figure class="vector"><img src="{strip.data_uri}" alt="The values of the vector as '
        f'colours" style="aspect-ratio:{strip.width}/{strip.height}">'
        f"<figcaption>{vector.size:,} values · {norm}</figcaption></figure>"
    )
