"""`make bench-memory`: what loading a model takes, for each engine and format.

Each load is in a fresh process. The floor is what the engine holds when it has loaded and run a
model of some hundred weights in the same format; peak (VmHWM) and rest (VmRSS after a collection of
garbage) stand above it, as multiples of the model's weights. Of the rest, `own` is the process's
own memory; the other part are pages of files, which the system takes back when it wants them.
`load` is as the first worker of an executor loads a model, who writes what all of them share;
`alone` is without that, as on the driver. `MEMORY="ResNet50 VGG16"` chooses models.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import table
from benchmarks.places import ROOT, WORK

MODELS = ("MobileNetV2", "ResNet50", "VGG16")
TINY = "Tiny"
PEAK, REST, TWIN_PEAK = 2.5, 1.3, 5.0
_MEGABYTE = 1e6

# What is done, with which engine, format, file and output (None: the last layer's name).
_LOADS: tuple[tuple[str, str, str, str, str | None], ...] = (
    ("load", "tensorflow", "keras", "model.keras", None),
    ("load", "tensorflow", "h5", "model.h5", None),
    ("load", "tensorflow", "saved_model", "model", "output_0"),
    ("load", "tensorflow", "frozen_graph", "model.pb", "scores:0"),
    ("load", "litert", "tflite", "model.tflite", "embedding"),
    ("load", "onnx", "onnx", "model.onnx", "scores"),
    ("load", "openvino", "tflite", "model.tflite", "embedding"),
    ("load", "openvino", "onnx", "model.onnx", "scores"),
    ("alone", "litert", "tflite", "model.tflite", "embedding"),
    ("alone", "onnx", "onnx", "model.onnx", "scores"),
    ("alone", "openvino", "tflite", "model.tflite", "embedding"),
    ("alone", "openvino", "onnx", "model.onnx", "scores"),
    ("inspect", "tensorflow", "keras", "model.keras", None),
    ("inspect", "tensorflow", "saved_model", "model", "output_0"),
    ("twin", "tensorflow", "keras", "model.keras", None),
)


def main() -> None:
    columns: dict[str, list[str]] = {}
    made(TINY)
    for name in sys.argv[1:] or MODELS:
        folder = made(name)
        weights = int((folder / "weights_bytes").read_text(encoding="utf-8"))
        cells = columns[f"{name}, {weights / _MEGABYTE:.0f} MB"] = []
        for what, engine, model_format, file, output in _LOADS:
            last = (folder / "output").read_text(encoding="utf-8")
            taken = _taken(what, engine, model_format, folder / file, output or last)
            cells.append(_cell(what, weights, taken))
            floor = f"floor {taken['floor'] / _MEGABYTE:.0f} MB, {taken['load_s']:.1f} s"
            line = (name, what, engine, model_format, cells[-1], floor)
            print(" | ".join(line), file=sys.stderr, flush=True)
    rows = [[*load[:3], *cells] for load, *cells in zip(_LOADS, *columns.values(), strict=True)]
    print(table(["", "engine", "format", *columns], rows))


def made(name: str) -> Path:
    """The folder of the model's files, made once; its .tflite by the library itself."""
    folder = WORK / "memory" / name
    if not (folder / "model.tflite").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _python("benchmarks.memory_models", name, str(folder))
        _python("benchmarks.memory_twin", str(folder))
    return folder


def _taken(what: str, engine: str, model_format: str, path: Path, output: str) -> dict[str, Any]:
    tiny = made(TINY) / path.name
    last = (tiny.parent / "output").read_text(encoding="utf-8")
    tiny_output = last if model_format in ("keras", "h5") else output
    said = _python(
        *("benchmarks.memory_load", what, engine, model_format),
        *(str(path), output, str(tiny), tiny_output),
    )
    taken: dict[str, Any] = json.loads(said.splitlines()[-1])
    return taken


def _python(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _cell(what: str, weights: int, taken: dict[str, Any]) -> str:
    """``peak / rest / own`` over the weights, in bold what is beyond its bound; a twin's peak."""
    peak, rest, own = (taken[name] / weights for name in ("peak", "rest", "own"))
    if what == "twin":
        return _bold(peak, TWIN_PEAK)
    bound = REST if what in ("load", "alone") else None
    return f"{_bold(peak, PEAK)} / {_bold(rest, bound)} / {abs(own):.2f}"


def _bold(value: float, bound: float | None) -> str:
    text = f"{abs(value):.2f}"
    return text if bound is None or value <= bound else f"**{text}**"


if __name__ == "__main__":
    main()
