"""The README's examples, run as they stand, in a Python session of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from pyspark_vision.clients import scenes

MAX_LINES = 10


def blocks(root: Path) -> list[str]:
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(code: str, root: Path, folder: Path) -> str:
    """Run in a checkout-like folder: the models beside, frames as the demo leaves them."""
    frames = folder / "build" / "demo" / "frames"
    frames.mkdir(parents=True)
    for seed in range(3):
        scenes.draw_scene(seed)[0].save(frames / f"{seed}.jpg")
    (folder / "models").symlink_to(root / "models")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYSPARK")}
    environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_first_example_is_at_most_ten_lines(root: Path) -> None:
    assert len(blocks(root)[0].splitlines()) <= MAX_LINES


def test_the_examples_run_as_they_stand(root: Path, tmp_path: Path) -> None:
    first, second = blocks(root)

    printed = run(f"{first}\n{second}", root, tmp_path)

    rows = [line for line in printed.splitlines() if "file:/" in line]
    assert len(rows) == 3
