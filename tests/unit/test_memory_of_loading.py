"""What a large model takes while it is loaded, looked at or converted: a process each, measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import keras

from benchmarks.memory import PEAK, REST, TWIN_PEAK
from benchmarks.memory_models import SIDE, tiny

pytestmark = pytest.mark.slow

# LiteRT's converter writes its result in Python into a buffer that doubles: five copies for a model
# that is just above a power of two, as this one is; and TensorFlow's own objects are one more.
TWIN_PEAK_HERE = TWIN_PEAK + 1.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model`` of 134 MB, nearly all of it in one layer as in VGG16, and ``tiny``."""
    folder = tmp_path_factory.mktemp("models")
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=4)(image)
    x = keras.layers.Dense(4096)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(8192, name="last")(x))
    for name, one in (("model", model), ("tiny", tiny(keras))):
        one.save(folder / f"{name}.keras")
        one.save(folder / f"{name}.h5")
        one.export(folder / name, verbose=False)
    return folder


@pytest.mark.parametrize(
    ("what", "model_format", "suffix", "peak", "rest"),
    [
        ("load", "keras", ".keras", PEAK, REST),
        ("load", "h5", ".h5", PEAK, REST),
        ("load", "saved_model", "", PEAK, REST),
        ("inspect", "keras", ".keras", PEAK, None),
        ("inspect", "h5", ".h5", PEAK, None),
        ("inspect", "saved_model", "", PEAK, None),
        ("twin", "keras", ".keras", TWIN_PEAK_HERE, None),
    ],
)
def test_a_model_takes_no_more_than_the_bound(
    what: str, model_format: str, suffix: str, peak: float, rest: float | None, folder: Path
) -> None:
    output = "output_0" if model_format == "saved_model" else "last"
    taken = taken_by(
        *(what, "tensorflow", model_format, str(folder / f"model{suffix}"), output),
        *(str(folder / f"tiny{suffix}"), output),
    )
    weights = 4 * (4096 * 8192)
    assert 0.5 * weights < taken["peak"] <= peak * weights
    if rest is not None:
        assert 0.9 * weights < taken["rest"] <= rest * weights


def taken_by(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_load", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken
