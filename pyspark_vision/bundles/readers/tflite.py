"""Read a .tflite file: tensors, the labels inside it, and the detection operator's outputs."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.labels import Labels, parse_labels
from pyspark_vision.bundles.readers import ultralytics
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines.litert import tensor_names
from pyspark_vision.executor.engines.quiet import quiet_stderr

# The operator's outputs in its own order (TensorFlow's detection_postprocess.cc); the order of the
# model's outputs varies by exporter, so each is found by the tensor that the operator writes.
_POSTPROCESS_ROLES = ("boxes", "classes", "scores", "count")


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
    return ModelFound(
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
