"""The dashboard's page in Debian's Chromium: filters, new rows, and that data stays inert."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_rows import row, write_batch
from live_pages import chromium
from playwright.sync_api import Page, expect

LINK = '<a href="https://evil.example">cat</a>'
SCRIPT = "<img src=x onerror=window.ran=1>"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of the hall, one of the yard, one of a camera and a label that mean harm."""
    output = tmp_path_factory.mktemp("detections")
    rows = [row("hall", ("cat", LINK)), row("hall", ("cat",)), row("yard", ("dog",))]
    rows += [row(SCRIPT, (SCRIPT,)), row("yard", code="truncated", origin="<script>")]
    write_batch(output, 0, rows)
    return output


@pytest.fixture(scope="module")
def url(output: Path) -> Iterator[str]:
    """The page of the command, which looks for new rows each second."""
    command = [sys.executable, "-m", "pyspark_vision.cli.main", "dashboard", str(output)]
    flags = ["--no-open", "--port", "0", "--refresh", "1", "--time-zone", "UTC"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].strip()
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.said = []
    page.asked = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    expect(page.locator("#totals li")).to_have_count(4)
    yield page
    page.close()


def totals(*numbers: int) -> list[str]:
    names = ("Frames", "Events", "Failed frames", "Cameras")
    return [f"{number}{name}" for number, name in zip(numbers, names, strict=True)]


def choose(page: Page, name: str) -> None:
    """An option of the menu that is open, by keys."""
    option = page.get_by_role("option", name=name).get_by_role("checkbox")
    option.focus()
    page.keyboard.press("Space")


def test_counts_are_those_of_the_camera_that_is_chosen_by_keys(page: Page) -> None:
    expect(page.locator("#totals li")).to_have_text(totals(5, 5, 1, 3))

    page.get_by_role("button", name="all cameras").focus()
    page.keyboard.press("Enter")
    page.get_by_placeholder("Search").fill("yard")
    choose(page, "yard")

    expect(page.locator("#totals li")).to_have_text(totals(2, 1, 1, 3))
    expect(page.locator("#shares-said")).to_have_text("1 event: dog 1")
    expect(page.locator("#failures-said")).to_have_text("1 of 2 frames failed: truncated 1.")


def test_the_histogram_is_over_the_axis_that_is_chosen(page: Page) -> None:
    page.get_by_role("radio", name="weekday").check()

    expect(page.get_by_role("heading", name="Events by weekday")).to_be_visible()
    expect(page.locator("#over-axis .xtick").first).to_have_text("Mon")


def test_labels_and_cameras_that_mean_harm_are_text(page: Page, url: str) -> None:
    expect(page.locator("#strip h3").first).to_be_visible(timeout=30_000)
    expect(
        page.locator("#shares .legendtext", has_text=re.compile(r'<a.href="https'))
    ).to_be_visible()
    expect(page.get_by_role("heading", name=SCRIPT)).to_be_visible()

    assert page.evaluate("window.ran") is None
    assert page.locator("svg a, a[href*=evil]").count() == 0
    assert page.said == []  # type: ignore[attr-defined]
    elsewhere = [asked for asked in page.asked if not asked.startswith((url, "data:"))]  # type: ignore[attr-defined]
    assert elsewhere == []


@pytest.mark.parametrize("width", [360, 2560])
def test_nothing_is_wider_than_the_page(width: int, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.locator("#strip h3").first).to_be_visible(timeout=30_000)

    page.wait_for_function(f"document.documentElement.scrollWidth == {width}")
    charts = "[...document.querySelectorAll('.main-svg')].every(c => c.clientWidth < innerWidth)"
    page.wait_for_function(charts)


# Longer than the two seconds after which the page asks for news.
SLOWLY = """
const answered = window.fetch;
window.fetch = async (...asked) => {
    const answer = await answered(...asked);
    await new Promise(done => setTimeout(done, 2500));
    return answer;
};
"""


@pytest.mark.slow
def test_a_choice_and_new_rows_are_drawn_though_each_answer_takes_longer_than_a_tick(
    browser: Any, url: str, output: Path
) -> None:
    page = browser.new_page()
    page.add_init_script(SLOWLY)
    page.goto(url)
    expect(page.locator("#strip h3").first).to_be_visible(timeout=30_000)

    page.get_by_role("button", name="all events").click()
    choose(page, "dog")
    page.keyboard.press("Escape")
    expect(page.locator("#totals li")).to_have_text(totals(5, 1, 1, 3), timeout=30_000)
    expect(page.locator("#strip h3")).to_have_text(["dog", "failed truncated"], timeout=30_000)

    write_batch(output, 1, [row("barn", ("dog", "dog", "cow"))])

    expect(page.locator("#totals li")).to_have_text(totals(6, 3, 1, 4), timeout=30_000)
    page.close()
