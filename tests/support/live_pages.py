"""The live page without Kafka: its server in a thread, fed by the test, and a real browser."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.listening_socket import listen
from pyspark_vision.clients.live.feed import Record
from pyspark_vision.clients.live.guard import Door
from pyspark_vision.clients.live.live import Live, LiveOptions
from pyspark_vision.clients.live.server import DEFAULT_PORT, server_config
from pyspark_vision.clients.pycturestream import DetectedObject, Result

# Nobody listens there.
NOWHERE = Brokers("127.0.0.1:9")
GREY = (120, 120, 120)

_EXPECTED_WITHIN_MS = 30_000


def live_without_kafka(**options: Any) -> Live:
    """Not started: what it shows is what the test adds."""
    return Live(LiveOptions(NOWHERE, "frames", "results", **options))


def plain_jpeg(color: tuple[int, int, int] = GREY, size_wh: tuple[int, int] = (320, 240)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size_wh, color).save(file, "JPEG", quality=95)
    return file.getvalue()


def timestamps(count: int) -> list[str]:
    """Of frames taken just now, a tenth of a second apart."""
    now = datetime.now()
    return [(now + timedelta(milliseconds=100 * n)).isoformat() for n in range(count)]


def found(
    label: str,
    score: float = 0.9,
    xyxy: tuple[float, float, float, float] | None = (0.25, 0.5, 0.75, 1.0),
    class_id: int | None = 3,
) -> DetectedObject:
    """An object of a result."""
    return DetectedObject(label, score, None, xyxy, class_id)


def add(
    live: Live,
    camera_id: str,
    timestamp: str,
    *objects: DetectedObject,
    content: bytes | None = None,
    has_result: bool = True,
) -> None:
    """A frame and, unless told otherwise, its result, both now."""
    live.cameras.add_frame(camera_id, timestamp, content or plain_jpeg(), time.time())
    if has_result:
        live.cameras.add_result(Result(camera_id, timestamp, objects, None), time.time())


def letter_record(
    value: bytes | None, *, topic: str = "dead", fields: Mapping[str, str] | None = None
) -> Record:
    """A dead letter as a job sends it to Kafka."""
    headers = [(f"pyspark_vision.{name}", text.encode()) for name, text in (fields or {}).items()]
    return Record(topic, 0, 0, None, value, headers, time.time(), False)


def told(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What a message says to the page, and its pictures."""
    [length] = struct.unpack(">I", message[:4])
    said = json.loads(message[4 : 4 + length])
    pictures, at = [], 4 + length
    for frame in said.get("frames", []):
        size = frame.get("bytes", 0)
        pictures.append(message[at : at + size])
        at += size
    assert at == len(message)
    return said, pictures


@contextmanager
def served(live: Live, port: int = 0) -> Iterator[int]:
    """The page's server on 127.0.0.1 until the end of the block; its port."""
    listening = listen("127.0.0.1", port, DEFAULT_PORT)
    chosen = listening.getsockname()[1]
    server = uvicorn.Server(server_config(live, Door("127.0.0.1", chosen)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield chosen
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def canvas(page: Page, selector: str) -> np.ndarray[Any, Any]:
    """``(height, width, RGBA)`` of a canvas, at its own pixels."""
    url = page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@contextmanager
def chromium(arguments: Sequence[str] = ()) -> Iterator[Browser]:
    """Debian's browser; the test is skipped without it."""
    # Playwright's own five seconds are too few for a first paint on a busy machine.
    expect.set_options(timeout=_EXPECTED_WITHIN_MS)
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on the path: install Debian's package of that name")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", *arguments]
        )
        yield browser
        browser.close()


@contextmanager
def opened_pages(live: Live, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page, of this size and density; what goes wrong in it fails the test."""
    wrong: list[str] = []
    with served(live) as port:
        pages: list[Page] = []

        def opened(
            width: int = 1000, height: int = 800, *, density: float = 1, at: str = ""
        ) -> Page:
            page = browser.new_page(
                viewport={"width": width, "height": height}, device_scale_factor=density
            )
            pages.append(page)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/{at}")
            return page

        yield opened
        for page in pages:
            page.close()
    assert wrong == []
