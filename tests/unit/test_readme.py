"""The README's examples, run as they stand, in a Python session of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import guides

from pyspark_vision.clients import scenes

MAX_LINES = 10


def examples() -> list[str]:
    return [b.text for b in guides.blocks() if (b.guide, b.language) == ("README.md", "python")]


def run(code: str, root: Path, folder: Path) -> str:
    """Run in a folder with models, and frames as ``make demo`` draws them: three and a bad one."""
    (folder / "models").symlink_to(root / "models")
    frames = folder / "build" / "demo" / "frames"
    frames.mkdir(parents=True)
    for seed in range(3):
        scenes.draw_scene(seed, (320, 240))[0].save(frames / f"frame-{seed}.jpg")
    (frames / "not_an_image.jpg").write_text("this is no image")
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


def test_the_first_example_is_at_most_ten_lines() -> None:
    assert len(examples()[0].splitlines()) <= MAX_LINES


def test_the_examples_run_as_they_stand(root: Path, tmp_path: Path) -> None:
    first, second = examples()

    printed = run(f"{first}\n{second}", root, tmp_path)

    first_rows, best, failed = printed.split("only showing")[0], printed, printed.splitlines()
    assert first_rows.count("file:/") == 3
    assert "|rank|" in best
    assert [line for line in failed if "unsupported_format" in line] == [
        "|unsupported_format|    1|"
    ]
