"""A folder of Hugging Face: an ONNX file with ``config.json`` and ``preprocessor_config.json``.

As Optimum exports them (``model.onnx`` in the folder), and as transformers.js has them
(``onnx/model.onnx``). ``config.json`` says the task, by the name of the architecture, and the
labels; the other file how pictures are prepared. timm's ``config.json`` says both (:mod:`timm`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import NO_LABEL, Labels
from pyspark_vision.bundles.readers import image_processor, timm
from pyspark_vision.bundles.readers.contents import (
    ModelFound,
    TensorFound,
    channels_first_hw,
)
from pyspark_vision.bundles.readers.image_processor import Preparation
from pyspark_vision.errors import InvalidModelError

CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
# The file in a folder, in the order of preference: transformers.js' and Optimum's names. Beside the
# vision side of a dual encoder, `model.onnx` is both of its sides.
_MODELS = ("vision_model.onnx", "onnx/vision_model.onnx", "model.onnx", "onnx/model.onnx")

# `model_type` of detectors, by what their scores are (each model's `post_process_object_detection`
# or `post_process`): a softmax with "no object" as the last class, or a sigmoid of each class.
_SOFTMAX_DETECTORS = ("detr", "yolos", "table-transformer")
_SIGMOID_DETECTORS = (
    *("rt_detr", "rt_detr_v2", "d_fine", "conditional_detr", "deformable_detr", "deta"),
    *("dab-detr", "dab_detr", "rf_detr", "lw_detr"),
)
# What a vector is pooled from by, where only the last hidden state is there (each model's pooler):
# the class token; the mean of all tokens; the mean over places.
_CLASS_TOKEN = (*("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit_msn"),)
_MEAN_OF_TOKENS = ("swin", "swinv2", "donut-swin")
_MEAN_OF_PLACES = ("resnet", "regnet")
# Outputs that are one vector, the best first: CLIP's and SigLIP's projection, then a pooler's.
_VECTORS = ("image_embeds", "pooler_output")

_SEGMENTATIONS = ("SemanticSegmentation", "UniversalSegmentation", "InstanceSegmentation")


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


def copy_beside(file: Path, folder: Path) -> None:
    """What lies beside a model and speaks of it, copied to where the model goes."""
    for name in (CONFIG, PREPROCESSOR, PROCESSOR):
        path = _beside(file, name)
        if path is not None:
            shutil.copyfile(path, folder / name)


def export_line(name: str, folder: str) -> str:
    """What exports a model of Hugging Face, by its name or folder, to a folder that is read."""
    return f"Export it: optimum-cli export onnx --model {name} {folder}"


def with_folder(found: ModelFound, file: Path) -> ModelFound:
    """``found`` with what the files beside ``file`` say; as it is where there are none.

    Raises :class:`InvalidModelError` for files that cannot be read, for models of another task, and
    for a size that is not the model's own.
    """
    config = _record(_beside(file, CONFIG))
    folder = file.parent.parent if file.parent.name == "onnx" else file.parent
    processor = _processor(file)
    is_config = bool(config) and ("model_type" in config or "architectures" in config)
    kind = str(processor.get("image_processor_type", ""))
    if timm.is_config(config) and (not processor or kind.startswith("TimmWrapper")):
        return timm.with_config(found, config, folder / CONFIG)
    if not processor and not is_config:
        return found
    if len(found.inputs) > 1:
        inputs = ", ".join(tensor.name for tensor in found.inputs)
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
        found, more, open_fields = _with_config(found, config, folder)
        fields |= more
        unsaid |= open_fields
    if processor:
        said.append(PREPROCESSOR)
        preparation = _fitted(
            image_processor.preparation(processor, f"{folder / PREPROCESSOR}"), found, folder
        )
        fields |= preparation.fields
        unsaid |= preparation.unsaid
    else:
        why = f"{folder} has no {PREPROCESSOR}, which says it"
        unsaid |= {"normalization": why, "resize": why}
    without = "" if is_config else f"; {folder} has no {CONFIG}, which says the task"
    return replace(
        found,
        fields=tuple(fields.items()),
        unsaid=tuple(unsaid.items()),
        evidence=f"{_architecture(config) or 'a model'} by {' and '.join(said)}{without}",
    )


def _beside(file: Path, name: str) -> Path | None:
    """Beside the model, or beside the folder ``onnx`` that it lies in."""
    places = [file.parent, *([file.parent.parent] if file.parent.name == "onnx" else [])]
    return next((place / name for place in places if (place / name).is_file()), None)


def _record(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InvalidModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InvalidModelError(f"{path} is no JSON object")
    return record


def _processor(file: Path) -> dict[str, Any]:
    """``preprocessor_config.json``, or the image processor in ``processor_config.json``."""
    record = _record(_beside(file, PREPROCESSOR))
    if not record:
        inside = _record(_beside(file, PROCESSOR)).get("image_processor")
        record = inside if isinstance(inside, dict) else {}
    # Of an audio model, it says nothing of pictures.
    of_pictures = {"size", "image_mean", "do_resize", "do_normalize", "pretrained_cfg"}
    return record if of_pictures & set(record) else {}


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _with_config(
    found: ModelFound, config: Mapping[str, Any], folder: Path
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    architecture = _architecture(config)
    _, is_for, task = architecture.partition("For")
    found = replace(found, labels=_labels(config, folder))
    if task.startswith("ImageClassification"):
        return _classifier(found, config)
    if task == "ObjectDetection":
        return _detector(found, config, folder)
    if is_for and task != "MaskedImageModeling" and task != "PreTraining":
        raise InvalidModelError(
            f"{folder} is {architecture} by its {CONFIG}; supported are ImageClassification, "
            "ObjectDetection, and models that give embeddings" + _instead(task, found)
        )
    if is_for or not architecture:
        return found, {}, {}
    return _embedder(replace(found, labels=()), config)


def _instead(task: str, found: ModelFound) -> str:
    if task in _SEGMENTATIONS:
        outputs = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in found.outputs)
        return f", not maps of a segmentation ({outputs})"
    return ""


def _classifier(
    found: ModelFound, config: Mapping[str, Any]
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    """transformers' pipeline ``image-classification``: a sigmoid of several labels, or of one."""
    output = _named(found, "logits") or (found.outputs[0] if len(found.outputs) == 1 else None)
    roles = (("scores", output.name),) if output is not None else ()
    found = replace(found, task="classify", roles=roles)
    problem = config.get("problem_type")
    if problem == "regression":
        return found, {}, {"score_kind": f"{CONFIG} says problem_type 'regression'"}
    # A graph that ends in probabilities does not call them logits: its values tell.
    if _named(found, "logits") is None:
        return found, {}, {}
    is_sigmoid = problem == "multi_label_classification" or len(found.labels) == 1
    return found, {"score_kind": "sigmoid" if is_sigmoid else "logit"}, {}


def _detector(
    found: ModelFound, config: Mapping[str, Any], folder: Path
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    found = replace(found, task="detect")
    logits, boxes = _named(found, "logits"), _named(found, "pred_boxes")
    if logits is None or boxes is None:
        return found, {}, {}  # exported in a way of its own: names and shapes decide
    model_type = str(config.get("model_type", "")).lower()
    classes = found.labels[-1][0] + 1 if found.labels else None
    width = logits.shape[-1]
    if model_type in _SOFTMAX_DETECTORS:
        role, more = "detr_logits", 1
    elif model_type in _SIGMOID_DETECTORS:
        role, more = "detr_sigmoid", 0
    else:
        return found, {}, {}
    known = config.get("num_labels") or _label_count(config) or classes
    if width > 0 and known is not None and width != known + more:
        raise InvalidModelError(
            f"{folder}: {model_type} with {known} labels has {known + more} scores for each box, "
            f"and {logits.name} has {list(logits.shape)}; the {CONFIG} is of another model"
        )
    fields = {"box_format": "cxcywh", "coordinates": "normalized", "score_kind": "probability"}
    return replace(found, roles=(("boxes", boxes.name), (role, logits.name))), fields, {}


def _embedder(
    found: ModelFound, config: Mapping[str, Any]
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    found = replace(found, task="embed")
    for name in _VECTORS:
        if _named(found, name) is not None:
            return replace(found, roles=(("embedding", name),)), {"pooling": "none"}, {}
    state = _named(found, "last_hidden_state")
    if state is None:
        return found, {}, {}
    found = replace(found, roles=(("embedding", state.name),))
    model_type = str(config.get("model_type", "")).lower()
    for pooling, types, rank in (
        ("cls", _CLASS_TOKEN, 3),
        ("mean", _MEAN_OF_TOKENS, 3),
        ("map", _MEAN_OF_PLACES, 4),
    ):
        if model_type in types and len(state.shape) == rank:
            return found, {"pooling": pooling}, {}
    why = f"the export has no pooled output ({' or '.join(_VECTORS)})"
    return found, {}, {"pooling": why}


def _named(found: ModelFound, name: str) -> TensorFound | None:
    return next((tensor for tensor in found.outputs if tensor.name == name), None)


def _label_count(config: Mapping[str, Any]) -> int:
    labels = config.get("id2label")
    return len(labels) if isinstance(labels, dict) else 0


def _labels(config: Mapping[str, Any], folder: Path) -> Labels:
    labels = config.get("id2label")
    if labels is None:
        return ()
    try:
        named = sorted((int(class_id), str(label)) for class_id, label in labels.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidModelError(f"{folder / CONFIG}: id2label has no ids: {error}") from None
    # DETR's has COCO's ids, of which some are "N/A".
    return tuple((class_id, label) for class_id, label in named if label.lower() not in NO_LABEL)


def _fitted(preparation: Preparation, found: ModelFound, folder: Path) -> Preparation:
    """Held against the size that the graph has, if it has one."""
    height, width = channels_first_hw(found)
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
