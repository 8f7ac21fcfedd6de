"""RapidOCR's own answers, as a program: python rapidocr_lines.py FOLDER PICTURE…

FOLDER holds RapidOCR and what it needs (:func:`installed`); a line of JSON for each picture:
``[[[[x, y], …], text, score], …]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The wheel ships PP-OCRv4's detector and recognizer, and the classifier of directions. Shapely: of
# its dependencies the one that is not among ours.
PACKAGES = ("rapidocr-onnxruntime==1.4.4", "shapely==2.2.0")
MODELS = "rapidocr_onnxruntime/models"


def installed() -> Path:
    """The folder of the packages, downloaded once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pyspark_vision_tests" / "rapidocr-onnxruntime-1.4.4"
    done = folder / "done"
    if not done.is_file():
        target = ["--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *target, *PACKAGES], check=True)
        done.touch()
    return folder


def lines_of(pictures: Sequence[Path]) -> list[list[Any]]:
    """RapidOCR's lines of each picture, in a process of its own."""
    command = [sys.executable, __file__, str(installed()), *map(str, pictures)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(folder: str, *pictures: str) -> None:
    """Print the lines of each picture."""
    import logging

    sys.path.insert(0, folder)
    from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    reader = RapidOCR(intra_op_num_threads=1)
    for picture in pictures:
        lines, _ = reader(picture)
        print(json.dumps(lines or []), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
