"""A folder of Hugging Face: an ONNX file with ``config.json`` and ``preprocessor_config.json``.

As Optimum exports them (``model.onnx`` in the folder), and as transformers.js has them
(``onnx/model.onnx``). ``config.json`` says task and labels (:mod:`hugging_face_config`), the other
file how pictures are prepared (:mod:`image_processor`). timm's says both (:mod:`timm`).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.json_file import json_object
from pyspark_vision.bundles.readers import image_processor, timm
from pyspark_vision.bundles.readers.contents import (
    ModelFound,
    channels_first_hw,
)
from pyspark_vision.bundles.readers.hugging_face_config import CONFIG, architecture, with_config
from pyspark_vision.bundles.readers.image_processor import Preparation
from pyspark_vision.errors import InvalidModelError

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
# The file in a folder, in the order of preference: transformers.js' and Optimum's names. Beside the
# vision side of a dual encoder, `model.onnx` is both of its sides.
_MODELS = ("vision_model.onnx", "onnx/vision_model.onnx", "model.onnx", "onnx/model.onnx")


def model_file(folder: Path) -> Path | None:
    """The ONNX file that a folder is about; ``None`` where it is no folder of Hugging Face.

    Raises :class:`InvalidModelError` where there is none, or several and none of the usual names.
    """
    if not folder.is_dir():
        return None
    files = sorted({*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")})
    said = [name for name in (CONFIG, PREPROCESSOR, PROCESSOR) if (folder / name).is_file()]
    if not files and not said:
        return None
    for name in _MODELS:
        if folder / name in files:
            return folder / name
    if len(files) == 1:
        return files[0]
    if files:
        listed = ", ".join(str(file.relative_to(folder)) for file in files)
        raise InvalidModelError(
            f"{folder} has no model.onnx, and several other models ({listed}); name the file itself"
        )
    raise InvalidModelError(
        f"{folder} has {', '.join(said)} and no model.onnx. {export_line(str(folder), 'EXPORTED')}"
    )


def lacking(folder: Path) -> str:
    """What a folder with a graph alone lacks; empty for any other file or folder."""
    if not folder.is_dir() or not any((*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx"))):
        return ""
    return f"{folder} has no {CONFIG} and no {PREPROCESSOR}, which say task and preparation"


def copy_beside(file: Path, folder: Path) -> None:
    """What lies beside a model and speaks of it, copied to where the model goes."""
    for name in (CONFIG, PREPROCESSOR, PROCESSOR):
        path = _beside(file, name)
        if path is not None:
            shutil.copyfile(path, folder / name)


def export_line(name: str, folder: str) -> str:
    """What exports a model of Hugging Face, by its name or folder, to a folder that is read."""
    return f"Export it: optimum-cli export onnx -m {name} {folder}"


def with_folder(contents: ModelFound, file: Path) -> ModelFound:
    """``contents`` with what the files beside ``file`` say; as it is where there are none.

    Raises :class:`InvalidModelError` for files that cannot be read, for models of another task, and
    for a size that is not the model's own.
    """
    config = json_object(_beside(file, CONFIG))
    folder = file.parent.parent if file.parent.name == "onnx" else file.parent
    processor = _processor(file)
    is_config = bool(config) and ("model_type" in config or "architectures" in config)
    kind = str(processor.get("image_processor_type", ""))
    if timm.is_config(config) and (not processor or kind.startswith("TimmWrapper")):
        return timm.with_config(contents, config, folder / CONFIG)
    if not processor and not is_config:
        return contents
    if len(contents.inputs) > 1:
        inputs = ", ".join(tensor.name for tensor in contents.inputs)
        raise InvalidModelError(
            f"{file} takes {inputs}; supported are pictures alone. Of a dual encoder (CLIP, "
            "SigLIP) give the vision side, as transformers.js' vision_model.onnx or an export of "
            "CLIPVisionModelWithProjection"
        )
    fields: dict[str, Any] = {"input_layout": "NCHW"}
    unsaid: dict[str, str] = {}
    said = []
    if is_config:
        said.append(CONFIG)
        contents, more, open_fields = with_config(contents, config, folder)
        fields |= more
        unsaid |= open_fields
    if processor:
        said.append(PREPROCESSOR)
        preparation = _fitted(
            image_processor.preparation(processor, f"{folder / PREPROCESSOR}"), contents, folder
        )
        fields |= preparation.fields
        unsaid |= preparation.unsaid
    else:
        why = f"{folder} has no {PREPROCESSOR}, which says it"
        unsaid |= {"normalization": why, "resize": why}
    without = "" if is_config else f"; {folder} has no {CONFIG}, which says the task"
    return replace(
        contents,
        fields=tuple(fields.items()),
        unsaid=tuple(unsaid.items()),
        evidence=f"{architecture(config) or 'a model'} by {' and '.join(said)}{without}",
    )


def _beside(file: Path, name: str) -> Path | None:
    """Beside the model, or beside the folder ``onnx`` that it lies in."""
    places = [file.parent, *([file.parent.parent] if file.parent.name == "onnx" else [])]
    return next((place / name for place in places if (place / name).is_file()), None)


def _processor(file: Path) -> dict[str, Any]:
    """``preprocessor_config.json``, or the image processor in ``processor_config.json``."""
    record = json_object(_beside(file, PREPROCESSOR))
    if not record:
        inside = json_object(_beside(file, PROCESSOR)).get("image_processor")
        record = inside if isinstance(inside, dict) else {}
    # Of an audio model, it says nothing of pictures.
    of_pictures = {"size", "image_mean", "do_resize", "do_normalize", "pretrained_cfg"}
    return record if of_pictures & set(record) else {}


def _fitted(preparation: Preparation, contents: ModelFound, folder: Path) -> Preparation:
    """Held against the size that the graph has, if it has one."""
    height, width = channels_first_hw(contents)
    said = preparation.fields.get("input_hw")
    if said is None or (height, width) == (-1, -1):
        return preparation
    if preparation.fields["resize"] == "keep_aspect":
        fields = {
            name: value
            for name, value in preparation.fields.items()
            if name not in ("resize", "resize_edge", "input_hw", "stride")
        }
        why = f"pictures keep their shape by {PREPROCESSOR}, and the model takes {height}x{width}"
        return Preparation(fields, {**preparation.unsaid, "resize": why})
    if height not in (-1, said[0]) or width not in (-1, said[1]):
        raise InvalidModelError(
            f"{folder}: {PREPROCESSOR} makes pictures of {said[0]}x{said[1]}, and the model takes "
            f"{height}x{width}; give the files that belong together"
        )
    return preparation
