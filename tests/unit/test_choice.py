"""Which file of a bundle runs, on which engine, and what is said of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from specs import spec_of

from pyspark_vision.bundles import choice
from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.errors import InvalidModelError

SCORES = (("scores", "scores"),)
KERAS = ModelFile("tensorflow", "keras", "m.keras", "a", outputs=SCORES)
TFLITE = ModelFile("litert", "tflite", "m.tflite", "b", outputs=SCORES)
INT8 = ModelFile("litert", "tflite", "m-int8.tflite", "c", outputs=SCORES, precision="int8")
ONNX = ModelFile("onnx", "onnx", "m.onnx", "d", outputs=SCORES)


@pytest.mark.parametrize(
    ("files", "options", "path", "engine", "why"),
    [
        ((KERAS, TFLITE, INT8), {}, "m.tflite", "litert", "litert: the model has a LiteRT file"),
        ((KERAS,), {}, "m.keras", "tensorflow", "tensorflow runs the model's keras file"),
        ((ONNX,), {}, "m.onnx", "onnx", "onnx runs the model's onnx file"),
        ((KERAS, TFLITE), {"engine": "tensorflow"}, "m.keras", "tensorflow", "engine is tensor"),
        ((ONNX, TFLITE), {"engine": "openvino"}, "m.tflite", "openvino", "engine is openvino"),
        ((ONNX,), {"engine": "openvino"}, "m.onnx", "openvino", "engine is openvino"),
        ((KERAS, TFLITE), {"precision": "bf16"}, "m.tflite", "openvino", "precision is bf16"),
        (
            (KERAS, TFLITE, INT8),
            {"precision": "int8"},
            "m-int8.tflite",
            "litert",
            "the model has an int8 LiteRT file",
        ),
    ],
)
def test_engine_and_precision_choose_the_file(
    files: tuple[ModelFile, ...], options: dict[str, str], path: str, engine: str, why: str
) -> None:
    spec = spec_of(files=files, **options)
    assert (spec.file.path, spec.file.engine) == (path, engine)
    assert spec.runs_on.startswith(f"{engine}: ")
    assert why in spec.runs_on


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ((KERAS,), {"precision": "bf16"}, "OpenVINO runs tflite and onnx files, and the bundle"),
        ((KERAS, TFLITE), {"precision": "int8"}, "no file of precision 'int8' in this bundle"),
        ((INT8,), {}, "has no file in this bundle"),
        ((TFLITE,), {"precision": "bf16", "engine": "litert"}, "runs on openvino, not on litert"),
        ((TFLITE,), {"precision": "fp8"}, "precision='fp8' is not one of float32, bf16, int8"),
    ],
)
def test_what_the_bundle_does_not_hold_is_refused_with_what_to_do(
    files: tuple[ModelFile, ...], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        spec_of(files=files, **options)


def test_openvino_stands_in_where_onnx_runtime_is_not_installed(monkeypatch: Any) -> None:
    monkeypatch.setattr(choice, "_installed", lambda package: package == "openvino")
    assert spec_of(files=(ONNX,)).runs_on == (
        "openvino: onnxruntime is not installed, and openvino is"
    )


@pytest.mark.parametrize(
    ("has", "said"),
    [
        (True, "precision is bf16, which this processor has"),
        (False, "precision is bf16, which this processor computes in float32"),
        (None, "precision is bf16"),
    ],
)
def test_bf16_says_whether_the_processor_has_it(
    has: bool | None, said: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(choice, "has_bf16", lambda: has)
    spec = spec_of(files=(TFLITE,), precision="bf16")
    assert spec.runs_on == f"openvino: {said}"
