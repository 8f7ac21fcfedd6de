"""Masks, points, text and classes on the live page, compared in Chromium with what should be there.

The references are computed from the shapes: which pixels of the screen lie inside a mask, and how
far each is from a line.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_pages import (
    GREY,
    add,
    canvas,
    chromium,
    letter_record,
    live_without_kafka,
    opened_pages,
    plain_jpeg,
    timestamps,
)
from local_services.process import wait_until
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from pyspark_vision.clients.live.live import Live
from pyspark_vision.clients.object_shapes import Keypoint, Mask
from pyspark_vision.clients.pycturestream import DetectedObject
from pyspark_vision.executor.drawing.draw import class_color_rgb
from pyspark_vision.executor.outputs.masks import compressed

SHAPES = "#cameras .boxes"
MASK_HW = (48, 64)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def live() -> Live:
    return live_without_kafka()


@pytest.fixture
def open_page(live: Live, browser: Browser) -> Iterator[Callable[..., Page]]:
    with opened_pages(live, browser) as opened:
        yield opened


def drawn(page: Page, selector: str = SHAPES) -> np.ndarray:
    """The canvas once something is on it."""
    assert wait_until(lambda: bool(canvas(page, selector).any()), timeout_s=10)
    return canvas(page, selector)


def wait_for_nothing(page: Page) -> None:
    assert wait_until(lambda: not canvas(page, SHAPES).any(), timeout_s=10)


def disc() -> np.ndarray:
    """``(height, width)`` bool: a disc that the right border cuts, with a hole."""
    rows, columns = np.mgrid[: MASK_HW[0], : MASK_HW[1]]
    distance = np.hypot(rows - 24, columns - 48)
    return (distance < 20) & (distance > 6)


def segment(inside: np.ndarray, **changes: Any) -> DetectedObject:
    flat = inside.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]]))
    lengths = np.concatenate([[0], lengths]) if flat[0] else lengths
    mask = Mask((inside.shape[0], inside.shape[1]), compressed(lengths))
    fields = {"label": "sky", "score": 0.9, "sector": None, "class_id": 3, "mask": mask, **changes}
    return DetectedObject(**fields)


def pose(*points: tuple[str, float, float, float | None], **changes: Any) -> DetectedObject:
    keypoints = tuple(Keypoint(*point) for point in points)
    fields = {"label": "person", "score": 0.9, "sector": None, "class_id": 3, **changes}
    return DetectedObject(**fields, keypoints=keypoints)


CORNERS = ((0.25, 0.4), (0.75, 0.5), (0.75, 0.6), (0.25, 0.5))


def text_line(text: str = "Spark 42", score: float = 0.97) -> DetectedObject:
    return DetectedObject(text, score, None, (0.25, 0.4, 0.75, 0.6), corners=CORNERS)


def shrunk(inside: np.ndarray, by_px: int) -> np.ndarray:
    """The pixels whose neighbours along both axes are inside, too; beyond the picture all are."""
    padded = np.pad(inside, by_px, constant_values=True)
    height, width = inside.shape
    kept = inside.copy()
    for step in range(-by_px, by_px + 1):
        kept &= padded[by_px + step : by_px + step + height, by_px : by_px + width]
        kept &= padded[by_px : by_px + height, by_px + step : by_px + step + width]
    return kept


def distance_to(size_wh: tuple[int, int], *ends: tuple[float, float]) -> np.ndarray:
    """``(height, width)``: of each pixel's middle to a path, in pixels."""
    width, height = size_wh
    y, x = np.mgrid[:height, :width] + 0.5
    nearest = np.full((height, width), np.inf)
    for (x1, y1), (x2, y2) in zip(ends, ends[1:] or ends, strict=False):
        dx, dy = (x2 - x1) * width, (y2 - y1) * height
        along = ((x - x1 * width) * dx + (y - y1 * height) * dy) / max(1e-9, dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        gap = np.hypot(x - x1 * width - along * dx, y - y1 * height - along * dy)
        nearest = np.minimum(nearest, gap)
    return nearest


def is_color(pixels: np.ndarray, class_id: int) -> np.ndarray:
    return (pixels == (*class_color_rgb(class_id), 255)).all(axis=2)


@pytest.mark.parametrize(
    ("width", "density"),
    [
        (1000, 1),
        pytest.param(400, 2, marks=pytest.mark.slow),
        pytest.param(2000, 1.5, marks=pytest.mark.slow),
    ],
)
def test_a_mask_is_seen_through_with_a_sharp_edge_at_the_screens_own_pixels(
    live: Live, open_page: Callable[..., Page], width: int, density: float
) -> None:
    inside = disc()
    add(live, "hall", timestamps(1)[0], segment(inside))

    pixels = drawn(open_page(width, density=density))

    height_px, width_px, _ = pixels.shape
    rows = ((np.arange(height_px) + 0.5) * MASK_HW[0] / height_px).astype(int)
    columns = ((np.arange(width_px) + 0.5) * MASK_HW[1] / width_px).astype(int)
    expected = inside[np.ix_(rows, columns)]
    line = max(1, int(2 * density + 0.5))
    edge = expected & ~shrunk(expected, line)
    assert width_px > 4 * MASK_HW[1]
    assert (pixels[..., 3] == np.where(edge, 255, np.where(expected, 128, 0))).all()
    assert (is_color(pixels, 3) == edge).all()
    filling = pixels[expected & ~edge][:, :3].astype(int)
    assert np.abs(filling - class_color_rgb(3)).max() <= 2


@pytest.mark.parametrize(
    "text", ["", "1", "no mask", "P" * 500, "\x00", "132"], ids=lambda text: repr(text[:8])
)
@pytest.mark.slow
def test_a_mask_that_cannot_be_read_leaves_its_box(
    live: Live, open_page: Callable[..., Page], text: str
) -> None:
    mask = Mask(MASK_HW, text)
    add(live, "hall", timestamps(1)[0], segment(disc(), mask=mask, xyxy=(0.25, 0.25, 0.75, 0.75)))

    pixels = drawn(open_page())

    height, width, _ = pixels.shape
    assert is_color(pixels, 3)[height // 2, int(width / 4 + 0.5)]
    assert not pixels[height // 2, width // 2].any()


def test_points_are_joined_by_name_and_unlikely_or_outer_ones_left_out(
    live: Live, open_page: Callable[..., Page]
) -> None:
    hips = (("left_hip", 0.25, 0.5, 0.9), ("right_hip", 0.75, 0.75, None))
    left_out = (("left_knee", 0.1, 0.1, 0.1), ("right_knee", 1.5, 0.9, 0.9))
    add(live, "hall", timestamps(1)[0], pose(*hips, *left_out))

    pixels = drawn(open_page())

    size_wh = (pixels.shape[1], pixels.shape[0])
    ends = [(x, y) for _, x, y, _ in hips]
    of_line = distance_to(size_wh, *ends)
    of_points = np.minimum(distance_to(size_wh, ends[0]), distance_to(size_wh, ends[1]))
    color = is_color(pixels, 3)
    assert color[of_points < 2].all()
    assert color[(of_line < 0.7) & (of_points > 6)].all()
    assert not color[(of_line > 2.5) & (of_points > 4)].any()
    ring = (of_points > 3.2) & (of_points < 3.5) & (of_line > 4)
    assert (pixels[ring][:, :3] > 120).all()
    assert not pixels[(of_line > 4) & (of_points > 6)].any()


def test_a_line_of_text_is_outlined_and_its_words_stand_beside_it(
    live: Live, open_page: Callable[..., Page]
) -> None:
    add(live, "hall", timestamps(1)[0], text_line())
    page = open_page()

    pixels = drawn(page)

    expect(page.locator("#cameras .found li")).to_have_text(["Spark 42 97%"])
    size_wh = (pixels.shape[1], pixels.shape[0])
    distance = distance_to(size_wh, *CORNERS, CORNERS[0])
    color = is_color(pixels, 0)
    assert color[distance < 0.4].all()
    top = round(0.4 * size_wh[1])
    plate = np.zeros_like(color)
    plate[top - 18 : top, round(0.25 * size_wh[0]) :] = True
    assert not pixels[(distance > 3) & ~plate].any()
    assert color[top - 16, round(0.25 * size_wh[0]) + 2]
    ink = (pixels[..., :3] == 0).all(axis=2) & (pixels[..., 3] == 255)
    assert ink[plate].any()


@pytest.mark.slow
def test_no_text_stands_over_another_line(live: Live, open_page: Callable[..., Page]) -> None:
    def line(number: int, top: float) -> DetectedObject:
        corners = ((0.2, top), (0.8, top), (0.8, top + 0.12), (0.2, top + 0.12))
        box = (0.2, top, 0.8, top + 0.12)
        return DetectedObject(f"line {number}", 0.9, None, box, corners=corners)

    add(live, "hall", timestamps(1)[0], *(line(n, 0.1 + 0.3 * n) for n in range(3)))

    pixels = drawn(open_page())

    height, width, _ = pixels.shape
    for n in range(3):
        top = 0.1 + 0.3 * n
        rows = slice(round(top * height) + 4, round((top + 0.12) * height) - 4)
        assert not pixels[rows, round(0.2 * width) + 4 : round(0.8 * width) - 4].any()


def record(value: dict[str, Any], topic: str) -> Any:
    return letter_record(json.dumps(value).encode(), topic=topic)


def test_the_classes_of_a_picture_are_listed_on_it_best_first(
    live: Live, open_page: Callable[..., Page]
) -> None:
    image = {
        "image_id": "i",
        "timestamp": timestamps(1)[0],
        "metadata": {"camera_id": "hall"},
    }
    picture = base64.b64encode(plain_jpeg()).decode()
    best = [{"class_id": 1, "label": "owl", "score": 0.75}, {"class_id": 2, "score": 0.25}]
    live.add_frame(record({**image, "image_data": picture}, "frames"))
    live.add_result(
        record({**image, "prediction_id": "p", "label": "owl", "predictions": best}, "results")
    )
    page = open_page()

    pixels = drawn(page)

    expect(page.locator("#cameras .found li")).to_have_text(["owl 75%", "#2 25%"])
    first, second = pixels[14, 8], pixels[34, 8]
    assert first[3] == second[3] == 255
    assert tuple(first) != tuple(second)
    assert not pixels[60:].any()
    page.get_by_label("Score from").fill("50")
    assert wait_until(lambda: not canvas(page, SHAPES)[34, 8].any(), timeout_s=10)
    assert tuple(canvas(page, SHAPES)[14, 8]) == tuple(first)
    page.get_by_label("Classes").uncheck()
    wait_for_nothing(page)
    live.add_result(
        record({**image, "prediction_id": "p", "error_message": "truncated: cut off"}, "results")
    )
    expect(page.locator(".camera [data-failed]")).to_have_text("failed: truncated 1")


def test_each_kind_can_be_switched_off_filtered_and_saved(
    live: Live, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    hips = (("left_hip", 0.1, 0.9, 0.9), ("right_hip", 0.4, 0.9, 0.9))
    found = [segment(disc(), score=None), pose(*hips, score=0.6), text_line()]
    add(live, "hall", timestamps(1)[0], *found)
    page = open_page()
    pixels = drawn(page)
    height, width, _ = pixels.shape
    places = {
        "Masks": (height // 2, round(0.6 * width)),
        "Points": (round(0.9 * height), width // 4),
        "Text": (round(0.45 * height), width // 4),
    }

    def there() -> list[str]:
        now = canvas(page, SHAPES)
        return [name for name, (y, x) in places.items() if now[y, x].any()]

    def becomes(*names: str) -> bool:
        return wait_until(lambda: there() == list(names), timeout_s=10)

    assert becomes("Masks", "Points", "Text")
    expect(page.get_by_label("Classes")).to_be_hidden()
    page.get_by_label("Masks").uncheck()
    assert becomes("Points", "Text")
    page.get_by_label("Points").uncheck()
    assert becomes("Text")
    page.get_by_label("Text", exact=True).uncheck()
    wait_for_nothing(page)
    for name in places:
        page.get_by_label(name, exact=True).check()
    page.get_by_label("Score from").fill("70")
    assert becomes("Masks", "Text")  # what has no score is not below it
    page.get_by_text("Labels", exact=True).click()
    page.get_by_label("sky", exact=True).uncheck()
    assert becomes("Text")
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Score from").fill("0")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Hold the picture of hall").click()
    expect(page.locator("#viewer-items .label")).to_have_text(["sky", "person", "Spark 42"])
    width_of = "canvas => canvas.width"
    picture = page.locator("#viewer .picture")
    assert wait_until(lambda: picture.evaluate(width_of) == 320, timeout_s=10)
    with page.expect_download() as saving:
        page.get_by_role("button", name="Download").click()
    file = tmp_path / "saved.png"
    saving.value.save_as(file)
    saved = np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB")).astype(int)
    half = (np.array(GREY) + class_color_rgb(3)) / 2
    assert np.abs(saved[120, 190] - half).max() <= 4
    assert (saved[216, 80] == class_color_rgb(3)).all()
    assert (saved[108, 80] == class_color_rgb(0)).all()


@pytest.mark.slow
def test_hostile_texts_and_names_stay_text(live: Live, open_page: Callable[..., Page]) -> None:
    nasty = "<img src=x onerror=document.title='ran'><script>document.title='ran'</script>"
    points = pose(*((nasty, n / 2000, 0.5, 0.9) for n in range(1000)))
    add(live, nasty, timestamps(1)[0], text_line(nasty), points, segment(disc(), label=nasty))
    page = open_page()

    drawn(page)
    page.get_by_role("button", name="Hold the picture").click()
    expect(page.locator("#viewer-items .label").first).to_have_text(nasty)

    assert page.title() == "Live"
    assert page.locator("main img, main script").count() == 0
    time.sleep(0.2)
    assert page.title() == "Live"
