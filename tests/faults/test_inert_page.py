"""Camera ids, labels and file names that are HTML, through a job and onto the page."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case
from local_services.kafka import Kafka
from page_tags import page_tags
from pictures import scene_jpeg

from pyspark_vision.cli.main import main

_NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'>"


@pytest.mark.full_size
def test_a_page_of_hostile_names_is_inert(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case
) -> None:
    case.injected = "camera ids, labels and a folder's name that are HTML with scripts"
    case.expected = "no script, no handler of events, no link but the page's own"
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

    text = page.read_text(encoding="utf-8")
    seen = page_tags(text)
    handlers = {name for name in seen.attributes if name.startswith("on")}
    outside = {link.split(",")[0] for link in seen.links} - {
        *("data:image/jpeg;base64", "#with", "#without", "#failed"),
    }
    case.found = f"scripts {'script' in seen.tags}, handlers {handlers}, links {outside}"
    assert "&lt;script&gt;" in text
    assert ("script" in seen.tags, handlers, outside) == (False, set(), set())
