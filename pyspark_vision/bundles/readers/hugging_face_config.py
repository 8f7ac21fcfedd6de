"""Hugging Face's ``config.json`` -> task, which output is what, labels.

The task is the end of the architecture's name (``ViTForImageClassification``); without one it is a
model that gives features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import NO_LABEL, Labels
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.errors import InvalidModelError

CONFIG = "config.json"

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


def architecture(config: Mapping[str, Any]) -> str:
    """The first of ``architectures``, such as ``ViTForImageClassification``; empty without one."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def with_config(
    contents: ModelFound, config: Mapping[str, Any], folder: Path
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    """``contents`` with task, roles and labels; fields of a spec; those that stay open, with why.

    Raises :class:`InvalidModelError` for models of another task, or of another number of labels.
    """
    name = architecture(config)
    _, is_for, task = name.partition("For")
    contents = replace(contents, labels=_labels(config, folder))
    if task.startswith("ImageClassification"):
        return _classifier(contents, config, folder)
    if task == "ObjectDetection":
        return _detector(contents, config, folder)
    if task == "SemanticSegmentation":
        return _segmenter(contents)
    if is_for and task != "MaskedImageModeling" and task != "PreTraining":
        raise InvalidModelError(
            f"{folder} is {name} by its {CONFIG}; supported are ImageClassification, "
            "ObjectDetection, SemanticSegmentation, and models that give embeddings"
        )
    if is_for or not name:
        return contents, {}, {}
    return _embedder(replace(contents, labels=()), config)


def _classifier(
    contents: ModelFound, config: Mapping[str, Any], folder: Path
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    """transformers' pipeline ``image-classification``: a sigmoid of several labels, or of one."""
    output = _named(contents, "logits") or (
        contents.outputs[0] if len(contents.outputs) == 1 else None
    )
    roles = (("scores", output.name),) if output is not None else ()
    contents = replace(contents, task="classify", roles=roles)
    problem = config.get("problem_type")
    if problem == "regression":
        raise InvalidModelError(f"{folder} gives numbers, not classes (problem_type 'regression')")
    # A graph that ends in probabilities does not call them logits: its values tell.
    if _named(contents, "logits") is None:
        return contents, {}, {}
    is_sigmoid = problem == "multi_label_classification" or len(contents.labels) == 1
    return contents, {"score_kind": "sigmoid" if is_sigmoid else "logit"}, {}


def _detector(
    contents: ModelFound, config: Mapping[str, Any], folder: Path
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    contents = replace(contents, task="detect")
    logits, boxes = _named(contents, "logits"), _named(contents, "pred_boxes")
    if logits is None or boxes is None:
        return contents, {}, {}  # exported in a way of its own: names and shapes decide
    model_type = str(config.get("model_type", "")).lower()
    classes = contents.labels[-1][0] + 1 if contents.labels else None
    width = logits.shape[-1]
    if model_type in _SOFTMAX_DETECTORS:
        role, more = "detr_logits", 1
    elif model_type in _SIGMOID_DETECTORS:
        role, more = "detr_sigmoid", 0
    else:
        return contents, {}, {}
    known = config.get("num_labels") or _label_count(config) or classes
    if width > 0 and known is not None and width != known + more:
        raise InvalidModelError(
            f"{folder}: {model_type} with {known} labels has {known + more} scores for each box, "
            f"and {logits.name} has {list(logits.shape)}; the {CONFIG} is of another model"
        )
    fields = {"box_format": "cxcywh", "coordinates": "normalized", "score_kind": "probability"}
    return replace(contents, roles=(("boxes", boxes.name), (role, logits.name))), fields, {}


def _segmenter(
    contents: ModelFound,
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    """SegFormer and others with a map of logits: ``post_process_semantic_segmentation``."""
    contents = replace(contents, task="segment")
    logits = _named(contents, "logits")
    if logits is None or len(logits.shape) != 4:
        return contents, {}, {}
    return replace(contents, roles=(("pixel_scores", logits.name),)), {"score_kind": "logit"}, {}


def _embedder(
    contents: ModelFound, config: Mapping[str, Any]
) -> tuple[ModelFound, dict[str, Any], dict[str, str]]:
    contents = replace(contents, task="embed")
    for name in _VECTORS:
        if _named(contents, name) is not None:
            return replace(contents, roles=(("embedding", name),)), {"pooling": "none"}, {}
    state = _named(contents, "last_hidden_state")
    if state is None:
        return contents, {}, {}
    contents = replace(contents, roles=(("embedding", state.name),))
    model_type = str(config.get("model_type", "")).lower()
    for pooling, types, rank in (
        ("cls", _CLASS_TOKEN, 3),
        ("mean", _MEAN_OF_TOKENS, 3),
        ("map", _MEAN_OF_PLACES, 4),
    ):
        if model_type in types and len(state.shape) == rank:
            return contents, {"pooling": pooling}, {}
    why = f"the export has no pooled output ({' or '.join(_VECTORS)})"
    return contents, {}, {"pooling": why}


def _named(contents: ModelFound, name: str) -> TensorFound | None:
    return next((tensor for tensor in contents.outputs if tensor.name == name), None)


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
