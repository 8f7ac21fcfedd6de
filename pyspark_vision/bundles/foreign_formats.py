"""Formats of models that are not read here, and what makes of each one that is."""

from __future__ import annotations

import json
from pathlib import Path

# By suffix: what such a file is, and the way on.
_FOREIGN = {
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt"),
        "PyTorch's weights. In the model's own code: torch.onnx.export(model.eval(), picture, "
        "'model.onnx'); of Ultralytics': yolo export model=FILE format=onnx",
    ),
    ".safetensors": "weights alone. Export their folder: optimum-cli export onnx -m FOLDER OUTPUT",
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib"),
        "a pickle, which is code and is never opened. Export the model in its own framework",
    ),
    **dict.fromkeys(
        (".pdmodel", ".pdiparams"),
        "of PaddlePaddle. paddle2onnx --model_dir FOLDER --model_filename FILE.pdmodel "
        "--params_filename FILE.pdiparams --save_file model.onnx",
    ),
    **dict.fromkeys(
        (".caffemodel", ".prototxt"), "of Caffe. Convert it to ONNX, with the package caffe2onnx"
    ),
    **dict.fromkeys(
        (".index", ".meta"),
        "of a checkpoint of TensorFlow. Save the model from its code: tf.saved_model.save, or the "
        "Object Detection API's exporter_main_v2.py",
    ),
    **{
        suffix: f"made for {of}, and cannot be turned back. Give the .onnx, .tflite or SavedModel "
        "that it was made of"
        for suffix, of in (
            (".xml", "OpenVINO"),
            (".ort", "ONNX Runtime's mobile build"),
            *((suffix, "TensorRT") for suffix in (".engine", ".plan", ".trt")),
            *((suffix, "Core ML") for suffix in (".mlmodel", ".mlpackage", ".mlmodelc")),
            *((".param", "ncnn"), (".mnn", "MNN"), (".rknn", "Rockchip's processors")),
            *((".hef", "Hailo's processors"), (".dlc", "Qualcomm's processors")),
        )
    },
}
_SUPPORTED = (
    "supported are .tflite, .task, .onnx, .keras, .h5, .hdf5, a frozen graph .pb, SavedModel "
    "folders, and folders of Hugging Face's with model.onnx"
)
# A topology alone has megabytes only of the largest models.
_MOST_JSON_BYTES = 20_000_000


def why_not_read(path: Path) -> str:
    """What a file is that no reader is for, and what to do: the end of an error's line."""
    suffix = path.suffix.lower()
    what = _of_tensorflow_js(path) or _FOREIGN.get(suffix)
    no_reader = f"no reader for {suffix or 'a file without suffix'!r}"
    return f"{no_reader}, {what}; {_SUPPORTED}" if what else f"{no_reader}; {_SUPPORTED}"


def why_no_folder(path: Path) -> str:
    """What :func:`why_not_read` says, for a folder: ``""`` where nothing in it is known either."""
    if what := _FOREIGN.get(path.suffix.lower()):  # a format that is a folder
        return f"it is {what}"
    manifest = path / "model.json"
    if manifest.is_file():
        of_javascript = _of_tensorflow_js(manifest)
        if of_javascript:
            return f"it is {of_javascript}"
        return "it holds model.json: use ModelSpec.load for a bundle"
    for file in sorted(path.iterdir()):
        what = _FOREIGN.get(file.suffix.lower())
        if file.name.endswith("manifest.json"):
            what = _of_tensorflow_js(file)
        is_other_xml = file.suffix.lower() == ".xml" and not file.with_suffix(".bin").is_file()
        if what and not is_other_xml:
            return f"{file.name} in it is {what}"
    return ""


def _of_tensorflow_js(path: Path) -> str | None:
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > _MOST_JSON_BYTES:
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return None
    if isinstance(record, list) and record and isinstance(record[0], dict):
        if {"weights", "paths"} <= set(record[0]):
            return (
                "weights of TensorFlow.js without their graph, which is in the package's code. "
                "Take the model that they were made of"
            )
        return None
    if not isinstance(record, dict) or not {"modelTopology", "weightsManifest"} <= set(record):
        return None
    if record.get("format") == "graph-model":
        return (
            "a graph of TensorFlow.js. pip install tfjs-graph-converter, then: "
            "tfjs_graph_converter --output_format tf_saved_model FOLDER OUTPUT"
        )
    return (
        "a model of TensorFlow.js. pip install tensorflowjs, then: tensorflowjs_converter "
        "--input_format=tfjs_layers_model --output_format=keras_saved_model model.json OUTPUT"
    )
