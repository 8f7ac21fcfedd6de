"""``stream_classify`` where Keras' downloads cannot be reached: ImageNet's weights are drawn.

``spark-submit drawn_weights_job.py FLAGS``: the job itself, with its flags.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import job_scripts

from pyspark_vision.bundles import by_name

ROOT = Path(__file__).resolve().parents[2]


def drawn(name: str, folder: Path) -> Path:
    """The architecture, with weights that nobody has trained."""
    import keras

    assert name == "mobilenet_v2"
    applications: Any = keras.applications
    path = Path(folder) / f"{name}.keras"
    applications.MobileNetV2(weights=None).save(path)
    return path


def numbered(folder: Path, labels: Path | None = None) -> Path:
    """Labels of as many classes."""
    path = Path(folder) / "labels.txt"
    path.write_text("".join(f"class {number}\n" for number in range(1000)))
    return path


if __name__ == "__main__":
    downloads: Any = by_name
    downloads.build_application, downloads.imagenet_labels = drawn, numbered
    sys.exit(job_scripts.job(ROOT, "stream_classify").main(sys.argv[1:]))
