"""What Ultralytics writes into its exports: task, class names, input size, stride.

ONNX holds it as metadata, one text for each key; TFLite as the text of a Python dictionary (or
JSON) in a zip at the file's end (Ultralytics, ``engine/exporter.py``).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.keypoint_names import COCO_POINTS
from pyspark_vision.bundles.labels import Labels
from pyspark_vision.errors import InvalidModelError

# What Ultralytics calls the models that this library runs, and what they are called here. Those
# for oriented boxes (obb) have outputs of the same look and another meaning.
TASKS = {"classify": "classify", "detect": "detect", "segment": "segment", "pose": "keypoints"}


def task_of(metadata: Mapping[str, Any], path: Path) -> str | None:
    """The task, as :data:`spec.TASKS` has it; :class:`InvalidModelError` for another one."""
    task = metadata.get("task")
    if task is not None and task not in TASKS:
        raise InvalidModelError(
            f"{path} is an Ultralytics model for {task!r}; supported are {', '.join(TASKS)}"
        )
    return None if task is None else TASKS[task]


def keypoints_of(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """``kpt_shape`` of a pose model, as ``keypoint_names`` and ``keypoint_format``; else empty.

    Names are those of ``kpt_names``, which newer exports have. Without, 17 points are COCO's, as in
    all models that Ultralytics gives, and others are numbered.
    """
    if metadata.get("task") != "pose" or "kpt_shape" not in metadata:
        return {}
    shape = _literal(metadata["kpt_shape"], "kpt_shape", path)
    match shape:
        case [int(points), int(numbers)] if points > 0 and 2 <= numbers <= len("xys"):
            pass
        case _:
            raise InvalidModelError(
                f"{path}: 'kpt_shape' in the metadata is {shape!r}, not the number of points and "
                "2 or 3"
            )
    names = COCO_POINTS if points == len(COCO_POINTS) else tuple(map(str, range(points)))
    match _literal(metadata.get("kpt_names", {}), "kpt_names", path):
        # Of each class; all have the same number of points.
        case {0: [*named]} if len(named) == points and all(named):
            names = tuple(map(str, named))
    return {"keypoint_names": names, "keypoint_format": "xys"[:numbers]}


def labels_of(metadata: Mapping[str, Any], path: Path) -> Labels:
    """``names``: a dictionary or list, or the text of one."""
    if "names" not in metadata:
        return ()
    names = _literal(metadata["names"], "names", path)
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    try:
        return tuple(sorted((int(class_id), str(label)) for class_id, label in pairs))
    except (TypeError, ValueError) as error:
        raise InvalidModelError(f"{path}: 'names' in the metadata has no ids: {error}") from None


def input_hw_of(metadata: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    """``imgsz``: height and width in pixels, or one number for both."""
    if "imgsz" not in metadata:
        return None
    size = metadata["imgsz"]
    if not isinstance(size, int):
        size = _literal(size, "imgsz", path)
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) for side in pair):
        raise InvalidModelError(f"{path}: 'imgsz' in the metadata is {size!r}, not two numbers")
    return pair


def parse_text(text: str) -> dict[str, Any]:
    """The dictionary of a text in JSON or as Python writes it; empty for any other text."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _literal(value: Any, key: str, path: Path) -> Any:
    """A dictionary, list or tuple, or the text of one; nothing in the text is executed."""
    if isinstance(value, str):
        text = value
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = None
        is_number = isinstance(value, int) and key == "imgsz"
        if not (isinstance(value, dict | list | tuple) or is_number):
            raise InvalidModelError(
                f"{path}: {key!r} in the metadata is {text[:100]!r}, not a Python dictionary or "
                "list"
            )
    return value
