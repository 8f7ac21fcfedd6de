"""Read an .onnx file: tensors, Ultralytics' metadata, and detectors known by their outputs."""

from __future__ import annotations

import ast
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import Labels
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.raw_detectors import guess_raw_roles
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines.onnx import start_session

# ONNX Runtime's names of element types that numpy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64"}

# What Ultralytics calls the models that this library runs; others (segment, pose, obb) have
# outputs of the same look and another meaning.
_ULTRALYTICS_TASKS = ("classify", "detect")

# A tensor's entry ("location", file) of `external_data` in onnx.proto, as protobuf writes it.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


def read_onnx(path: Path) -> ModelFound:
    """Inputs and outputs by name; labels and input size where the metadata has them."""
    _refuse_external_data(path)
    try:
        session = start_session(str(path), threads=1)
    except ImportError:
        raise MissingDependencyError(
            "reading .onnx needs ONNX Runtime: pip install 'pyspark_vision[onnx]'"
        ) from None
    except Exception as error:  # its exceptions have no common class of their own
        raise InvalidModelError(
            f"{path} is not a model that ONNX Runtime can run: {error}. Custom operators are not "
            "supported"
        ) from None
    inputs = tuple(_tensor(value) for value in session.get_inputs())
    outputs = tuple(_tensor(value) for value in session.get_outputs())
    metadata = session.get_modelmeta().custom_metadata_map
    # Every export of Ultralytics has its stride; other exporters' keys may mean something else.
    ultralytics = metadata if "stride" in metadata else {}
    task = ultralytics.get("task")
    if task is not None and task not in _ULTRALYTICS_TASKS:
        raise InvalidModelError(
            f"{path} is an Ultralytics model for {task!r}; supported are "
            f"{', '.join(_ULTRALYTICS_TASKS)}"
        )
    return ModelFound(
        engine="onnx",
        format="onnx",
        inputs=inputs,
        outputs=outputs,
        roles=guess_raw_roles(outputs),
        labels=_labels(ultralytics, path),
        fields=(*_resize(ultralytics, inputs), *_input_hw(ultralytics, path)),
        family=_normalization(ultralytics, inputs),
    )


def _refuse_external_data(path: Path) -> None:
    """The file alone travels to the workers; weights beside it would stay behind."""
    if path.stat().st_size == 0:  # cannot be mapped
        raise InvalidModelError(f"{path} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(_EXTERNAL_DATA) != -1:
            raise InvalidModelError(
                f"{path} keeps its weights in another file (external data); save it as one file: "
                "onnx.save(onnx.load(path), path), or external_data=False in torch.onnx.export"
            )


def _tensor(value: Any) -> TensorFound:
    # An open dimension is a name or None.
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    element = re.sub(r"^tensor\((.*)\)$", r"\1", value.type)
    return TensorFound(value.name, shape, _DTYPES.get(element, element))


def _is_channels_first(inputs: tuple[TensorFound, ...]) -> bool:
    return len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[1] == 3


def _normalization(ultralytics: Mapping[str, str], inputs: tuple[TensorFound, ...]) -> str | None:
    """Ultralytics divides by 255; others that come from PyTorch expect torchvision's."""
    if ultralytics:
        return "unit"
    return "torch" if _is_channels_first(inputs) else None


def _resize(
    ultralytics: Mapping[str, str], inputs: tuple[TensorFound, ...]
) -> tuple[tuple[str, Any], ...]:
    """torchvision's classifiers, and Ultralytics', crop the centre; detectors say otherwise."""
    is_torch = bool(ultralytics) or _is_channels_first(inputs)
    return (("resize", "center_crop"),) if is_torch else ()


def _labels(ultralytics: Mapping[str, str], path: Path) -> Labels:
    """Ultralytics' ``names``: the text of a Python dictionary or list."""
    if "names" not in ultralytics:
        return ()
    names = _literal(ultralytics["names"], "names", path)
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    try:
        return tuple(sorted((int(class_id), str(label)) for class_id, label in pairs))
    except (TypeError, ValueError) as error:
        raise InvalidModelError(f"{path}: 'names' in the metadata has no ids: {error}") from None


def _input_hw(ultralytics: Mapping[str, str], path: Path) -> tuple[tuple[str, Any], ...]:
    if "imgsz" not in ultralytics:
        return ()
    size = _literal(ultralytics["imgsz"], "imgsz", path)
    return (("input_hw", tuple(size)),)


def _literal(text: str, key: str, path: Path) -> Any:
    """A dictionary, list or tuple of literals; nothing in the text is executed."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, dict | list | tuple):
        raise InvalidModelError(
            f"{path}: {key!r} in the metadata is {text[:100]!r}, not a Python dictionary or list"
        )
    return value
