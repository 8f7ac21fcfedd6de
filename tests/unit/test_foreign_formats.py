"""Models in formats that are not read: one line that says what they are, and the way on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.errors import InvalidModelError

LAYERS = {"format": "layers-model", "modelTopology": {}, "weightsManifest": []}
GRAPH = {**LAYERS, "format": "graph-model"}
WEIGHTS = [{"weights": [], "paths": ["shard1"]}]


def refusal(path: Path) -> str:
    with pytest.raises(InvalidModelError) as caught:
        inspect_model(path, accept=True)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("best.pt", r"PyTorch's weights. In the model's own code: torch.onnx.export("),
        ("MODEL.PTH", "of Ultralytics': yolo export model=FILE format=onnx"),
        ("model.safetensors", "optimum-cli export onnx -m FOLDER OUTPUT"),
        ("model.joblib", "a pickle, which is code and is never opened"),
        ("inference.pdmodel", "paddle2onnx --model_dir FOLDER"),
        ("deploy.caffemodel", "of Caffe. Convert it to ONNX"),
        ("model.ckpt-1.index", "of a checkpoint of TensorFlow. Save the model from its code"),
        ("model.xml", "made for OpenVINO, and cannot be turned back. Give the .onnx, .tflite"),
        ("model.engine", "made for TensorRT, and cannot be turned back"),
    ],
)
def test_a_file_of_another_format_is_named_with_what_converts_it(
    name: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")

    message = refusal(path)

    assert message.startswith(f"{path}: no reader for {path.suffix.lower()!r}, ")
    assert said in message
    assert message.endswith("folders of Hugging Face's with model.onnx")


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("model.json", LAYERS, "it is a model of TensorFlow.js. pip install tensorflowjs, then:"),
        ("model.json", GRAPH, "tfjs_graph_converter --output_format tf_saved_model"),
        ("tiny-weights_manifest.json", WEIGHTS, "without their graph, which is in the package's"),
        ("model.json", {"spec": 1}, "it holds model.json: use ModelSpec.load for a bundle"),
        ("model.json", [], "it holds model.json: use ModelSpec.load for a bundle"),
    ],
    ids=["layers", "graph", "weights alone", "a bundle", "something else"],
)
def test_a_folder_of_tensorflow_js_is_told_from_a_bundle(
    name: str, record: Any, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(record))

    message = refusal(tmp_path)

    assert message.startswith(f"{tmp_path} is a folder without saved_model.pb; ")
    assert said in message


def test_a_model_json_of_tensorflow_js_by_itself_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(LAYERS))

    assert "no reader for '.json', a model of TensorFlow.js." in refusal(path)


def test_a_folder_of_another_format_is_named_by_its_file(tmp_path: Path) -> None:
    ir = tmp_path / "ir"
    ir.mkdir()
    for name in ("model.xml", "model.bin"):
        (ir / name).write_bytes(b"x")
    package = tmp_path / "m.mlpackage"
    package.mkdir()

    assert "model.xml in it is made for OpenVINO" in refusal(ir)
    assert "it is made for Core ML" in refusal(package)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_what_is_no_model_of_tensorflow_js_has_the_plain_refusal(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)

    assert "no reader for '.json'; supported are .tflite" in refusal(path)
