"""The live page in Chromium: boxes where they belong, filters, steps, links, reconnects."""

from __future__ import annotations

import base64
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from live_pages import (
    GREY,
    add,
    canvas,
    chromium,
    found,
    letter_record,
    live_without_kafka,
    opened_pages,
    plain_jpeg,
    served,
    timestamps,
)
from local_services.process import wait_until
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect

from pyspark_vision.clients.live.live import Live
from pyspark_vision.executor.drawing.draw import class_color_rgb

BOX = (0.25, 0.5, 0.75, 0.9)
NASTY = "<img src=x onerror=document.title='ran'><script>document.title='ran'</script>"
LETTER = {"error_code": "truncated", "error_message": "cut off", "origin": "kafka:frames/0/7"}
PUTS_BACK = "print('replay: 2 letters put back (truncated 2)')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def live() -> Live:
    return live_without_kafka(letter_topic="dead", replay_command=(sys.executable, "-c", PUTS_BACK))


@pytest.fixture
def open_page(live: Live, browser: Browser) -> Iterator[Callable[..., Page]]:
    with opened_pages(live, browser) as opened:
        yield opened


def edges(size_wh: tuple[int, int], xyxy: tuple[float, ...]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels; halves go up."""
    lengths = (*size_wh, *size_wh)
    left, top, right, bottom = (
        math.floor(side * length + 0.5) for side, length in zip(xyxy, lengths, strict=True)
    )
    return left, top, right, bottom


def outline(
    size_wh: tuple[int, int], xyxy: tuple[float, ...], line: int, color: tuple[int, ...]
) -> np.ndarray:
    """The reference: a box drawn by Pillow at the known place."""
    left, top, right, bottom = edges(size_wh, xyxy)
    image = Image.new("RGBA", size_wh)
    ImageDraw.Draw(image).rectangle(
        (left, top, right - 1, bottom - 1), outline=(*color, 255), width=line
    )
    return np.asarray(image)


def wait_for_boxes(page: Page, *, there: bool = True) -> None:
    """Until the canvas of boxes has pixels, or none."""

    def has_pixels() -> bool:
        return bool(canvas(page, "#cameras .boxes").any())

    assert wait_until(lambda: has_pixels() is there, timeout_s=10)


def wait_for_picture(page: Page, selector: str) -> None:
    """Until it is there. A wait of Playwright's own evaluates text, which the page forbids."""

    def width() -> object:
        return page.locator(selector).evaluate("one => one.naturalWidth ?? one.width")

    assert wait_until(lambda: width() == 320, timeout_s=10)


@pytest.mark.parametrize(("width", "density"), [(1000, 1), (400, 2), (1000, 1.5)])
def test_boxes_are_drawn_at_their_place_and_sharp_at_each_size(
    live: Live, open_page: Callable[..., Page], width: int, density: float
) -> None:
    add(live, "hall", timestamps(1)[0], found("car", xyxy=BOX))
    page = open_page(width, density=density)
    wait_for_boxes(page)

    drawn = canvas(page, "#cameras .boxes")

    height_px, width_px, _ = drawn.shape
    box = page.locator("#cameras .boxes").bounding_box()
    assert box is not None
    assert (width_px, height_px) == pytest.approx(
        (box["width"] * density, box["height"] * density), abs=1
    )
    assert width_px / height_px == pytest.approx(320 / 240, rel=0.01)
    color = class_color_rgb(3)
    expected = outline((width_px, height_px), BOX, math.floor(2 * density + 0.5), color)
    # Within the box; above it is the plate with its name.
    left, top, right, bottom = edges((width_px, height_px), BOX)
    inside = (slice(top, bottom), slice(left, right))
    of_color = (drawn == (*color, 255)).all(axis=2)
    wanted = (expected == (*color, 255)).all(axis=2)
    halo = math.floor(density + 0.5)
    inner = (slice(top + 4 * halo, bottom - 4 * halo), slice(left + 4 * halo, right - 4 * halo))
    assert (of_color[inside] == wanted[inside]).all()
    assert not drawn[inner].any()  # the picture is seen through it
    assert not drawn[bottom + 2 * halo :].any()
    plate = drawn[top - round(12 * density), left + math.floor(2 * density + 0.5)]
    assert tuple(plate) == (*color, 255)
    input_pixels = canvas(page, "#cameras .picture")
    assert np.abs(input_pixels[..., :3].astype(int) - GREY).max() <= 2


def test_boxes_can_be_switched_off_and_filtered_by_label_and_score(
    live: Live, open_page: Callable[..., Page]
) -> None:
    add(live, "hall", timestamps(1)[0], found("car", 0.9), found("cat", 0.4, (0, 0, 0.2, 0.2)))
    page = open_page()
    chips = page.locator("#cameras .found li")
    expect(chips).to_have_text(["car 90%", "cat 40%"])
    cat = class_color_rgb(3)

    def has_cat() -> bool:
        return tuple(canvas(page, "#cameras .boxes")[3, 0]) == (*cat, 255)

    wait_for_boxes(page)
    assert has_cat()
    page.get_by_label("Score from").fill("50")
    expect(chips).to_have_text(["car 90%"])
    assert not has_cat()
    page.get_by_label("Score from").fill("0")
    expect(chips).to_have_text(["car 90%", "cat 40%"])
    page.get_by_text("Labels", exact=True).click()
    page.get_by_label("cat", exact=True).uncheck()
    expect(chips).to_have_text(["car 90%"])
    assert not has_cat()
    page.get_by_role("button", name="None").click()
    expect(chips).to_have_text(["Nothing found"])
    wait_for_boxes(page, there=False)
    page.get_by_role("button", name="All", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_label("cat", exact=True)).to_be_hidden()
    wait_for_boxes(page)
    page.get_by_label("Boxes").uncheck()
    wait_for_boxes(page, there=False)
    expect(chips).to_have_text(["car 90%", "cat 40%"])
    page.reload()  # choices stay
    expect(page.get_by_label("Boxes")).not_to_be_checked()


def test_a_result_without_boxes_is_shown_as_the_job_drew_it(
    live: Live, open_page: Callable[..., Page]
) -> None:
    from dataclasses import replace

    from pyspark_vision.clients.pycturestream import Result

    [timestamp] = timestamps(1)
    red = plain_jpeg((200, 0, 0))
    live.cameras.add_frame("hall", timestamp, plain_jpeg(), time.time())
    result = Result("hall", timestamp, (found("car", xyxy=None, class_id=None),), red)
    live.cameras.add_result(replace(result), time.time())
    page = open_page()

    expect(page.locator(".stage-note").first).to_have_text("boxes as the job drew them")
    wait_for_picture(page, "#cameras .picture")
    assert canvas(page, "#cameras .picture")[120, 160, 0] > 190
    page.get_by_label("Side by side").check()
    expect(page.locator("#cameras .stage")).to_have_count(2)
    wait_for_picture(page, "[data-place=input] .picture")
    assert tuple(canvas(page, "[data-place=input] .picture")[120, 160, :3]) == pytest.approx(
        GREY, abs=2
    )


def test_a_held_picture_is_stepped_through_by_keys_linked_and_saved(
    live: Live, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    times = timestamps(150)
    for number, timestamp in enumerate(times):
        color = (number, 0, 0)
        add(live, "hall", timestamp, found(f"car {number}", xyxy=BOX), content=plain_jpeg(color))
    page = open_page()
    expect(page.locator("#cameras .found li")).to_have_text(["car 149 90%"])
    page.get_by_role("button", name="Hold the picture of hall").press("Enter")
    place, label = page.locator("#viewer-place"), page.locator("#viewer-items .label")
    expect(place).to_have_text("100 of 100")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("98 of 100")
    expect(label).to_have_text("car 147")
    page.keyboard.press("Home")
    expect(label).to_have_text("car 50")
    page.keyboard.press("ArrowLeft")
    expect(place).to_have_text("1 of 100")
    page.keyboard.press("ArrowRight")
    expect(label).to_have_text("car 51")
    expect(page.locator("#viewer-said")).to_contain_text("2 of 100, car 51 90%")
    wait_for_picture(page, "#viewer .picture")

    with page.expect_download() as saving:
        page.get_by_role("button", name="Download").click()
    file = tmp_path / saving.value.suggested_filename
    saving.value.save_as(file)

    assert file.name.startswith("hall_")
    assert ":" not in file.name
    saved = Image.open(file).convert("RGB")
    assert saved.size == (320, 240)
    assert saved.getpixel((10, 10)) == pytest.approx((51, 0, 0), abs=2)
    color = class_color_rgb(3)
    for at in ((80, 120), (239, 215), (81, 170), (160, 214)):  # corners and sides of the box
        assert saved.getpixel(at) == color

    page.get_by_role("button", name="Copy link").click()
    link = page.evaluate("location.hash")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    for timestamp in [f"{text}+00:00" for text in timestamps(250)]:  # all others go
        add(live, "hall", timestamp)
    again = open_page(at=link)
    expect(again.locator("#viewer-items .label")).to_have_text("car 51")
    gone = open_page(at="#frame=00000000000000000000")
    expect(gone.locator("#viewer-name")).to_have_text("Not here any more")
    expect(gone.locator("#viewer-note")).to_contain_text("kept in memory")


def test_hostile_names_and_labels_are_text(live: Live, open_page: Callable[..., Page]) -> None:
    add(live, NASTY, timestamps(1)[0], found(NASTY, class_id=None))
    live.add_letter(letter_record(b"x", fields=dict.fromkeys(LETTER, NASTY)))
    live.add_frame(letter_record(NASTY.encode(), topic=NASTY))
    page = open_page()
    expect(page.locator("#cameras h3")).to_have_text(NASTY)
    expect(page.locator("#labels-table th")).to_have_text(NASTY)
    expect(page.locator("#letters code")).to_have_text(NASTY)
    expect(page.locator("#faults")).to_contain_text(NASTY)
    page.get_by_role("button", name="Hold the picture").click()
    expect(page.locator("#viewer-items .label")).to_have_text(NASTY)

    assert page.title() == "Live"
    assert page.locator("main img, main script").count() == 0


def test_a_camera_that_falls_silent_says_since_when(
    live: Live, open_page: Callable[..., Page]
) -> None:
    live.cameras.add_frame("hall", timestamps(1)[0], plain_jpeg(), time.time() - 60)
    page = open_page()

    expect(page.locator(".camera.silent .state")).to_contain_text("silent since ")
    add(live, "hall", timestamps(2)[1])
    expect(page.locator(".camera.live .state")).to_have_text("live")


def test_the_page_says_that_its_server_is_away_and_goes_on_when_it_is_back(
    live: Live, browser: Browser
) -> None:
    add(live, "hall", timestamps(1)[0], found("car"))
    page = browser.new_page()
    with served(live) as port:
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#cameras .found li")).to_have_text(["car 90%"])
    expect(page.locator("#alerts")).to_contain_text("The page's server does not answer")
    other = live_without_kafka()
    add(other, "yard", timestamps(1)[0], found("cat"))
    with served(other, port):
        expect(page.locator("#sign-page b")).to_have_text("connected")
        expect(page.locator("#cameras h3")).to_have_text("yard")
        expect(page.locator("#cameras .found li")).to_have_text(["cat 90%"])
        page.close()


def test_letters_are_shown_with_their_reason_and_put_back_by_a_button(
    live: Live, open_page: Callable[..., Page]
) -> None:
    add(live, "hall", timestamps(1)[0])
    message = {"camera_id": "hall", "image": base64.b64encode(plain_jpeg()).decode()}
    value = json.dumps(message).encode()
    live.add_letter(letter_record(value, fields=LETTER))
    page = open_page()
    expect(page.locator("#letters li")).to_contain_text("truncated")
    expect(page.locator(".camera [data-failed]")).to_have_text("failed: truncated 1")
    wait_for_picture(page, "#letters img")
    page.get_by_role("button", name="Put back", exact=True).click()
    page.get_by_role("button", name="Leave them").click()
    assert live.replay is not None
    assert live.replay.status is None
    page.get_by_role("button", name="Put back", exact=True).press("Enter")
    page.get_by_role("button", name="Put them back").press("Enter")

    expect(page.locator("#put-back-note")).to_contain_text("2 letters put back (truncated 2)")
    expect(page.locator("#letters .back")).to_have_text("put back")


@pytest.mark.parametrize("width", [360, 400, 800, 1200, 2560])
def test_nothing_is_wider_than_the_window(
    live: Live, open_page: Callable[..., Page], width: int
) -> None:
    long = "a-camera-with-an-endless-name-" * 6
    add(live, long, timestamps(1)[0], *(found("label" * 30, 0.5, BOX) for _ in range(20)))
    live.add_letter(letter_record(b"x", fields=dict.fromkeys(LETTER, "x" * 300)))
    page = open_page(width)
    expect(page.locator("#cameras h3")).to_have_text(long)

    for view in ("On top", "Side by side"):
        page.get_by_label(view).check()
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_role("button", name="Hold the picture").click()
    expect(page.locator("#viewer-place")).to_have_text("1 of 1")
    assert page.evaluate("document.querySelector('#viewer').scrollWidth") <= width


def test_all_is_reached_by_keyboard_and_has_a_name(
    live: Live, open_page: Callable[..., Page]
) -> None:
    add(live, "hall", timestamps(1)[0], found("car"))
    page = open_page()
    expect(page.locator("#cameras .found li")).to_have_text(["car 90%"])
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                  const at = document.activeElement;
                  const outline = getComputedStyle(at.closest("label") ?? at).outlineStyle;
                  const own = getComputedStyle(at).outlineStyle;
                  const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText;
                  return [name ?? at.innerText, outline !== "none" || own !== "none"];
                }"""
            )
        )

    names = [name.strip() for name, _ in reached]
    assert names[:6] == [
        "To the cameras",
        "On top",
        "Boxes",
        "Score from\n0%",
        "Labels",
        "Hold the picture of hall",
    ]
    assert all(is_seen for name, is_seen in reached[:6])
