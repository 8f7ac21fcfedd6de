"""Make docs/live.jpeg, the README's picture: the live page with four drawn cameras.

python scripts/draw_live_page.py
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a bare checkout

from pyspark_vision.clients.local_services import kafka  # noqa: E402
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC  # noqa: E402

PICTURE = ROOT / "docs" / "live.jpeg"
SIZE_WH = (1280, 900)
# Until each camera has had results for some seconds.
SETTLED_MS = 12_000


def main() -> None:
    """A broker, drawn cameras, the page, and Chromium, which takes the picture."""
    with contextlib.ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        broker = running.enter_context(kafka.running(Path(folder)))
        servers = ["--kafka-servers", broker.bootstrap_servers]
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        topics = [NewTopic(name, 1, 1) for name in (FRAME_TOPIC, RESULT_TOPIC)]
        for created in admin.create_topics(topics).values():
            created.result(timeout=30)
        page = ["-m", "pyspark_vision.cli.main", "live", "--no-open", "--port", "0", *servers]
        address = re.search(r"http://\S+", running.enter_context(first_line(page)))
        assert address is not None
        cameras = [str(ROOT / "scripts" / "fake_cameras.py"), "--cameras", "4", "--rate", "5"]
        running.enter_context(first_line([*cameras, "--duration", "120", *servers]))
        take(address.group())
    print(f"written: {PICTURE}")


@contextlib.contextmanager
def first_line(words: Sequence[str]) -> Iterator[str]:
    """The first line that a Python process prints; the process runs until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()


def take(address: str) -> None:
    """Look at the page as a person does, and keep what is seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        width, height = SIZE_WH
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=str(PICTURE), type="jpeg", quality=85)
        browser.close()


if __name__ == "__main__":
    main()
