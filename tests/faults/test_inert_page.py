"""Camera ids, labels and file names that are HTML, through a job and onto the page."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case
from local_services.kafka import Kafka
from page_tags import page_tags
from pictures import scene_jpeg

from pyspark_vision.cli.main import main

_RAN = "document.title='it ran'"
_NASTY = f"<script>{_RAN}</script><img src=x onerror={_RAN}>\"'>"


@pytest.fixture
def page(root: Path, tmp_path: Path, kafka: Kafka) -> Path:
    """A contact sheet of hostile camera ids, labels and a hostile folder."""
    bundle = tmp_path / "bundle"
    shutil.copytree(root / "models" / "demo-detector", bundle)
    labels = (bundle / "labels.txt").read_text().splitlines()
    (bundle / "labels.txt").write_text("".join(f"{label}{_NASTY}\n" for label in labels))
    record = json.loads((bundle / "model.json").read_text())
    record["labels_sha256"] = hashlib.sha256((bundle / "labels.txt").read_bytes()).hexdigest()
    (bundle / "model.json").write_text(json.dumps(record))
    topic, results = frames.topics(kafka.bootstrap_servers)
    picture = base64.b64encode(scene_jpeg(1)).decode()
    message = {"image": picture, "timestamp": "2026-11-21T08:00:00", "camera_id": _NASTY}
    bad = {**message, "image": _NASTY}
    values = [(0, json.dumps(one).encode()) for one in (message, bad)]
    frames.produce(kafka.bootstrap_servers, topic, values)
    sent = frames.Sent(topic, results, {(0, 0): 0, (0, 1): 1}, frozenset())
    folder = tmp_path / _NASTY.replace("/", "")
    folder.mkdir()
    job = DetectJob(
        *(root, folder, kafka.bootstrap_servers, sent), flags=("--annotate",), model=bundle
    )
    assert job.finish() == 0, job.tail()
    page = tmp_path / "page.html"
    assert main(["contact-sheet", str(job.output), "--output", str(page)]) == 0
    return page


@pytest.mark.full_size
def test_a_page_of_hostile_names_is_inert(page: Path, case: Case) -> None:
    case.injected = "camera ids, labels and a folder's name that are HTML with scripts"
    case.expected = "no script, no handler of events, no link but the page's own"

    text = page.read_text(encoding="utf-8")

    seen = page_tags(text)
    handlers = {name for name in seen.attributes if name.startswith("on")}
    outside = {link.split(",")[0] for link in seen.links} - {
        *("data:image/jpeg;base64", "#with", "#without", "#failed"),
    }
    case.found = f"scripts {'script' in seen.tags}, handlers {handlers}, links {outside}"
    assert "&lt;script&gt;" in text
    assert ("script" in seen.tags, handlers, outside) == (False, set(), set())


def test_a_browser_runs_nothing_of_a_page_of_hostile_names(
    page: Path, tmp_path: Path, case: Case
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path: install Debian's package of that name")
    case.injected = "the same page, and one with the camera's name unescaped, in Chromium"
    case.expected = "its own title stays; the other's script runs"
    unescaped = tmp_path / "unescaped.html"
    unescaped.write_text(f"<!doctype html><title>quiet</title><p>{_NASTY}", encoding="utf-8")

    ran = ["it ran" in title_in(chromium, file, tmp_path) for file in (page, unescaped)]

    case.found = f"scripts ran: {ran}"
    assert ran == [False, True]


def title_in(chromium: str, page: Path, folder: Path) -> str:
    """The page's title when its scripts and failed pictures have had their time."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000"]
    # It would look for its maker's hosts.
    command += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.partition("<title>")[2].partition("</title>")[0]
