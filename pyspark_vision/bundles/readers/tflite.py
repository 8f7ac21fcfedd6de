"""Read a .tflite file: tensors, the labels inside it, and the detection operator's outputs."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.labels import Labels, parse_labels
from pyspark_vision.bundles.readers import ultralytics
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.preparation import values
from pyspark_vision.bundles.readers.tflite_metadata import (
    Metadata,
    TensorMetadata,
    read_metadata,
)
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines.litert import tensor_names
from pyspark_vision.executor.engines.quiet import quiet_stderr

# The operator's outputs in its own order (TensorFlow's detection_postprocess.cc); the order of the
# model's outputs varies by exporter, so each is found by the tensor that the operator writes.
_POSTPROCESS_ROLES = ("boxes", "classes", "scores", "count")
# By the beginnings of the names that TensorFlow's metadata writers give a detector's outputs.
_ROLES_BY_NAME = {
    "location": "boxes",
    "categor": "classes",
    "class": "classes",
    "score": "scores",
    "number": "count",
}


def read_tflite(path: Path) -> ModelFound:
    """Inputs and outputs by tensor name; roles where the detection operator makes them."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingDependencyError(
            "reading .tflite needs LiteRT: pip install 'pyspark_vision[litert]'"
        ) from None
    try:
        with quiet_stderr():
            interpreter: Any = Interpreter(model_path=str(path))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InvalidModelError(
            f"{path} is not a model that LiteRT can run: {error}. Custom operators other than "
            "the detection post-process are not supported"
        ) from None
    names = tensor_names(interpreter)
    outputs = interpreter.get_output_details()
    inside = _texts_inside(path)
    written = next((parsed for text in inside.values() if (parsed := _ultralytics(text))), {})
    size = ultralytics.input_hw_of(written, path)
    contents = ModelFound(
        engine="litert",
        format="tflite",
        inputs=tuple(_tensor(detail, names) for detail in interpreter.get_input_details()),
        outputs=tuple(_tensor(detail, names) for detail in outputs),
        roles=_postprocess_roles(interpreter, names),
        labels=ultralytics.labels_of(written, path) or _labels_inside(inside, path),
        fields=(
            *((("input_hw", size),) if size else ()),
            *ultralytics.keypoints_of(written, path).items(),
        ),
        family="unit" if written else None,
        task=ultralytics.task_of(written, path),
        quantization=_quantization(interpreter.get_input_details()),
    )
    return contents if written else _with_metadata(contents, read_metadata(path), inside, path)


def _with_metadata(
    contents: ModelFound, metadata: Metadata, inside: dict[str, str], path: Path
) -> ModelFound:
    """What TensorFlow Lite's metadata says of the tensors; the operator's outputs are known."""
    if len(metadata.inputs) != len(contents.inputs) or len(metadata.outputs) != len(
        contents.outputs
    ):
        return contents
    said = []
    fields, unsaid = dict(contents.fields), dict(contents.unsaid)
    if len(metadata.inputs) == 1 and metadata.inputs[0].mean:
        said.append("normalization")
        fields |= _normalization(metadata.inputs[0], path)
    files = [name for tensor in metadata.outputs for name in tensor.label_files if name in inside]
    labels = contents.labels
    if files:
        said.append("labels")
        labels = parse_labels(inside[files[0]], files[0])
    roles, task = contents.roles, contents.task
    if not roles:
        roles = _roles(contents, metadata)
        boxes = next((tensor for tensor in metadata.outputs if tensor.is_boxes), None)
        if roles and boxes is not None:
            said.append("outputs")
            named = {"box_format": boxes.box_format, "coordinates": boxes.coordinates}
            fields |= {name: value for name, value in named.items() if value is not None}
            if boxes.box_format is None:
                unsaid["box_format"] = "its metadata has an order of sides that is none of these"
    if not roles and len(contents.outputs) == 1 and files and len(contents.outputs[0].shape) == 2:
        task, roles = "classify", (("scores", contents.outputs[0].name),)
    thresholds = [output.score_threshold for output in metadata.outputs if output.score_threshold]
    if thresholds:
        said.append(f"scores count from {thresholds[0]:g} on")
    return replace(
        contents,
        roles=roles,
        task=task,
        labels=labels,
        fields=tuple(fields.items()),
        unsaid=tuple(unsaid.items()),
        evidence=f"its metadata ({', '.join(said)})" if said else "",
    )


def _normalization(tensor: TensorMetadata, path: Path) -> dict[str, Any]:
    mean, std = tensor.mean, tensor.std
    fits = all(
        len(statistic) in (1, 3) and np.isfinite(statistic).all() for statistic in (mean, std)
    )
    if not fits or min(std) <= 0:
        raise InvalidModelError(
            f"{path}: its metadata normalizes with mean {list(mean)} and deviation {list(std)}"
        )
    return values(1.0, mean, std)


def _roles(contents: ModelFound, metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Of a detector, by the names that the metadata's writers give: location, category, score."""
    roles: dict[str, str] = {}
    for tensor, said in zip(contents.outputs, metadata.outputs, strict=True):
        name = said.name.lower()
        role = next((role for word, role in _ROLES_BY_NAME.items() if name.startswith(word)), None)
        role = "boxes" if said.is_boxes else role
        if role is not None:
            roles.setdefault(role, tensor.name)
    return tuple(roles.items()) if {"boxes", "scores"} <= set(roles) else ()


def _quantization(inputs: list[dict[str, Any]]) -> tuple[float, int] | None:
    """Scale and zero point of one quantized input; scale 0 is none."""
    if len(inputs) != 1 or np.dtype(inputs[0]["dtype"]).kind not in "ui":
        return None
    scale, zero_point = inputs[0]["quantization"]
    return (float(scale), int(zero_point)) if scale else None


def _ultralytics(text: str) -> dict[str, Any]:
    """Its metadata, if the text is that: every export has a stride."""
    parsed = ultralytics.parse_text(text)
    return parsed if "stride" in parsed else {}


def _tensor(detail: dict[str, Any], names: dict[int, str]) -> TensorFound:
    # shape_signature has -1 where the exporter left a dimension open.
    signature = detail["shape_signature"]
    shape = signature if len(signature) else detail["shape"]
    name = names[int(detail["index"])]
    return TensorFound(name, tuple(int(n) for n in shape), np.dtype(detail["dtype"]).name)


def _postprocess_roles(interpreter: Any, names: dict[int, str]) -> tuple[tuple[str, str], ...]:
    for op in interpreter._get_ops_details():
        if op["op_name"] == "TFLite_Detection_PostProcess":
            pairs = zip(_POSTPROCESS_ROLES, op["outputs"], strict=False)
            return tuple((role, names[int(i)]) for role, i in pairs if int(i) in names)
    return ()


def _texts_inside(path: Path) -> dict[str, str]:
    """TensorFlow Lite metadata is a zip at the file's end: the texts in it, by name."""
    try:
        zipped = zipfile.ZipFile(path)
    except zipfile.BadZipFile:  # no zip, or weights that look like the end of one
        return {}
    texts = {}
    with zipped:
        for name in zipped.namelist():
            if not name.lower().endswith((".txt", ".json")):
                continue
            try:
                texts[name] = zipped.read(name).decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise InvalidModelError(
                    f"label file {name} in {path} is not UTF-8 text: {error}"
                ) from None
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
                raise InvalidModelError(
                    f"label file {name} in {path} is damaged: {error}"
                ) from None
    return texts


def _labels_inside(inside: dict[str, str], path: Path) -> Labels:
    """The label file among the texts: a .txt, by its name where there are several."""
    texts = [
        name
        for name, text in inside.items()
        if name.lower().endswith(".txt") and not ultralytics.parse_text(text)
    ]
    named = [name for name in texts if "label" in name.lower()] or texts
    # None, or nothing says which.
    return parse_labels(inside[named[0]], named[0]) if len(named) == 1 else ()
