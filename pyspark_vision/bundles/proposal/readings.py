"""The ways in which a model's outputs can be read, by names and shapes; a trial run tells which.

A reading is certain where the format carries it (a detection operator, a task in the metadata), or
where no other is known that has such outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark_vision.bundles.proposal.reading import CONVENTIONS, Reading, plain, shown
from pyspark_vision.bundles.proposal.table_readings import (
    is_of_places,
    raw_reading,
    table_readings,
    tables_of,
)
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.executor.outputs.small_heads import NANODET_BINS

# How names end, whatever an exporter puts before them: `detection_boxes`, `det_boxes`,
# `graph2_pred_boxes`; TensorRT's EfficientNMS calls the others `num_dets`, `det_classes`.
_NAMES = {
    "class_scores": re.compile(r"(^|_)class_scores$"),
    "boxes": re.compile(r"(^|_)b?box(es)?$"),
    "scores": re.compile(r"(^|_)(scores?|confidences?)$"),
    "classes": re.compile(r"(^|_)(classes|labels|class_ids)$"),
    "count": re.compile(r"(^|_)(num_(dets|detections|predictions|boxes)|valid_detections|count)$"),
}
_EMBEDDING_NAMES = ("embedding", "feature_vector", "image_embeds", "pooler_output")

# Scores and boxes of DETR's family: Hugging Face's names, DETR's own, and RF-DETR's
# (rfdetr/export/main.py), which are MMDetection's with another shape.
_RF_DETR_NAMES = ("labels", "dets")
_DETR_NAMES = (("logits", "pred_boxes"), ("pred_logits", "pred_boxes"), _RF_DETR_NAMES)

# Features that a vector is pooled from have a 16th of the input's sides, or less (ResNet: a
# 32nd, ViT: a 16th, 14th); a segmentation has an 8th (DeepLab's smallest) or more.
FINEST_FEATURES = 10
# Width and height of each anchor in cells, by how many channels the grid has: darknet's
# cfg/yolov2-tiny-voc.cfg and cfg/yolov2-tiny.cfg.
_TINY_YOLOV2_ANCHORS = {
    125: (1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52),
    425: (
        *(0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434),
        *(7.88282, 3.52778, 9.77052, 9.16828),
    ),
}


def readings(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """The readings of a model's outputs, the more likely first.

    ``input_hw``: of the model's input, where its grids are counted; ``classes``: how many classes
    the file's metadata or the user's labels have.
    """
    if contents.layer:
        yield Reading("embed", _only(contents, "embedding"), "a layer was chosen", is_certain=True)
        return
    if contents.roles:
        why = contents.evidence or "the file's own operator or metadata says what its outputs are"
        task = contents.task or "detect"
        settled = {"box_format", "coordinates"} - {name for name, _ in contents.unsaid}
        yield Reading(task, contents.roles, why, is_certain=True, settled=tuple(settled))
    if not contents.roles or contents.task is None:
        yield from _detectors(contents, input_hw, classes)
        yield from _vectors(contents, input_hw)


def _detectors(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    if contents.roles:
        return
    named = {plain(tensor.name): tensor for tensor in contents.outputs}
    of_a_kind = (*_detr(named, classes), *_torchvision(named), *_mmdetection(named))
    yield from of_a_kind or _named(contents)
    tables = tables_of(contents, input_hw)
    rows_of_seven = [
        tensor for tensor in contents.outputs if len(tensor.shape) == 2 and tensor.shape[1] == 7
    ]
    if len(contents.outputs) == 1 and rows_of_seven:
        why = f"{shown(rows_of_seven[0])}: rows of index, box, class and score, as YOLOv7 exports"
        yield raw_reading("batch_rows", rows_of_seven[0], why)
    # What stands beside a table may be what masks are made of, and points at its rows' ends.
    has_more = contents.task not in (None, "detect") or any(
        len(t.shape) == 4 for t in contents.outputs
    )
    if (
        len(tables) == 1
        and len(contents.outputs) <= 2
        and "pred_boxes" not in named
        and not has_more
    ):
        yield from table_readings(
            tables[0], input_hw, classes, ultralytics=contents.task == "detect"
        )


def _detr(named: Mapping[str, TensorFound], classes: int | None) -> Iterator[Reading]:
    """With or without "no object": only the number of classes tells, or a run."""
    names = next((pair for pair in _DETR_NAMES if set(pair) <= set(named)), None)
    if names is None:
        return
    logits, boxes = (named[name] for name in names)
    if names == _RF_DETR_NAMES:
        if len(logits.shape) == 3 and boxes.shape[-1] == 4:
            yield _rf_detr(logits, boxes)
        return
    for role, more, what in (
        ("detr_logits", 1, 'a softmax with "no object", as DETR'),
        ("detr_sigmoid", 0, "a sigmoid of each class, as RT-DETR"),
    ):
        fits = classes is not None and logits.shape[-1] == classes + more
        if classes is not None and logits.shape[-1] > 0 and not fits:
            continue
        why = f"{shown(logits)} beside {shown(boxes)}: {what}"
        yield Reading(
            "detect",
            (("boxes", boxes.name), (role, logits.name)),
            why,
            CONVENTIONS[role],
            is_certain=fits,
            settled=("box_format", "coordinates"),
        )


def _rf_detr(logits: TensorFound, boxes: TensorFound) -> Reading:
    """LW-DETR's and RF-DETR's own exports: a sigmoid of each class, pictures as DETR's."""
    return Reading(
        "detect",
        (("boxes", boxes.name), ("detr_sigmoid", logits.name)),
        f"{shown(boxes)} beside {shown(logits)}: queries of boxes and classes, as RF-DETR",
        CONVENTIONS["detr_logits"],
        is_certain=True,
        settled=("box_format", "coordinates"),
    )


def _torchvision(named: Mapping[str, TensorFound]) -> Iterator[Reading]:
    """Of one picture, without a batch axis: boxes x first in pixels, labels from 1 on.

    torchvision.models.detection: images in 0..1, which the model normalizes and resizes itself.
    """
    by_name = {"boxes", "labels", "scores"} <= set(named)
    tensors = (
        [named[name] for name in ("boxes", "labels", "scores")]
        if by_name
        else nameless_boxes([*named.values()])
    )
    if len(tensors) != 3:
        return
    boxes, labels, scores = tensors
    ranks = len(boxes.shape), len(labels.shape), len(scores.shape)
    if ranks != (2, 1, 1) or not labels.dtype.startswith("int"):
        return
    roles = (("boxes", boxes.name), ("scores", scores.name), ("classes", labels.name))
    why = f"{shown(boxes)}, {shown(labels)}, {shown(scores)}: a detector of torchvision"
    fields = {
        "box_format": "xyxy",
        "coordinates": "pixel",
        "normalization": "unit",
        "batched_outputs": False,
        "resize": "letterbox",
    }
    settled = ("box_format", "normalization", "coordinates", "color_order")
    yield Reading("detect", roles, why, fields, is_certain=True, settled=settled)


def nameless_boxes(tensors: Sequence[TensorFound]) -> list[TensorFound]:
    """torchvision's boxes, labels and scores by their shapes, where outputs are numbered.

    Its own example exports without names; ``[]`` where the tensors are not just these three.
    """
    boxes = [tensor for tensor in tensors if len(tensor.shape) == 2 and tensor.shape[1] == 4]
    rows = [tensor for tensor in tensors if len(tensor.shape) == 1]
    labels = [tensor for tensor in rows if tensor.dtype == "int64"]
    scores = [tensor for tensor in rows if tensor.dtype.startswith("float")]
    is_whole = (len(tensors), len(boxes), len(labels), len(scores)) == (3, 1, 1, 1)
    return [*boxes, *labels, *scores] if is_whole else []


def _mmdetection(named: Mapping[str, TensorFound]) -> Iterator[Reading]:
    if not {"dets", "labels"} <= set(named) or named["dets"].shape[-1] != 5:
        return
    roles = (("scored_boxes", named["dets"].name), ("classes", named["labels"].name))
    why = f"{shown(named['dets'])} beside {shown(named['labels'])}: boxes with their scores"
    batched = {"batched_outputs": len(named["dets"].shape) == 3}
    fields = {**CONVENTIONS["scored_boxes"], **batched}
    yield Reading("detect", roles, why, fields, is_certain=True, settled=("box_format",))


def _named(contents: ModelFound) -> Iterator[Reading]:
    """Boxes and scores in outputs of their own, by name or by their four columns."""
    roles: dict[str, str] = {}
    for tensor in contents.outputs:
        role = next((r for r, ends in _NAMES.items() if ends.search(plain(tensor.name))), None)
        if role is not None:
            roles.setdefault(role, tensor.name)
    for tensor in contents.outputs:
        if len(tensor.shape) == 3 and tensor.shape[-1] == 4:
            roles.setdefault("boxes", tensor.name)
    scores = next((t for t in contents.outputs if t.name == roles.get("scores")), None)
    if scores is not None and len(scores.shape) == 3 and "classes" not in roles:
        roles["class_scores"] = roles.pop("scores")
    if "boxes" not in roles or not {"scores", "class_scores"} & set(roles):
        return
    if "class_scores" in roles:
        roles.pop("scores", None)
        roles.pop("classes", None)
    # TensorFlow's Object Detection API always writes yxyx under this name.
    is_api = any(plain(tensor.name).startswith("detection_boxes") for tensor in contents.outputs)
    shapes = {tensor.name: tensor.shape for tensor in contents.outputs}
    fields: dict[str, Any] = {}
    if len(shapes[roles["boxes"]]) == 2:  # (N, 4): of one picture
        fields["batched_outputs"] = False
    yield Reading(
        "detect",
        tuple(roles.items()),
        "outputs named or shaped as boxes and scores",
        fields,
        is_certain=True,
        settled=("box_format", "coordinates", "input_hw") if is_api else (),
    )


def _vectors(contents: ModelFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """One output, or one of a telling name: a vector, or what a vector is pooled from."""
    if len(contents.outputs) == 1:
        yield from _yolov2(contents.outputs[0], input_hw)
        if is_map_of_pixels(contents.outputs[0], input_hw) or is_of_places(
            contents.outputs[0], input_hw
        ):
            return
    named = [t for t in contents.outputs if any(n in t.name.lower() for n in _EMBEDDING_NAMES)]
    if len(contents.outputs) == 1 or len(named) == 1:
        vector = named[0] if named else contents.outputs[0]
        if named:
            why = f"{shown(vector)}: its name says that it is a vector"
            yield Reading("embed", (("embedding", vector.name),), why, is_certain=True)
    if has_boxes(contents):
        return  # their scores are not the picture's
    scores = [t for t in contents.outputs if "score" in t.name.lower()]
    if len(contents.outputs) == 1 or len(scores) == 1:
        output = scores[0] if len(contents.outputs) > 1 else contents.outputs[0]
        yield Reading("classify", (("scores", output.name),), f"{shown(output)}: one long axis")
    if len(contents.outputs) == 1 and not named:
        output = contents.outputs[0]
        yield Reading("embed", (("embedding", output.name),), f"{shown(output)}: a vector")


def _yolov2(tensor: TensorFound, input_hw: tuple[int, int]) -> Iterator[Reading]:
    """A grid of cells of 32 pixels with five anchors: of 20 (VOC) or 80 classes (COCO)."""
    cells = (input_hw[0] // 32, input_hw[1] // 32)
    if len(tensor.shape) != 4:
        return
    for channels, anchors in _TINY_YOLOV2_ANCHORS.items():
        if tensor.shape[1:] in ((channels, *cells), (*cells, channels)):
            why = f"{shown(tensor)}: a grid of {channels // 5 - 5} classes, as Tiny YOLOv2"
            fields = {**CONVENTIONS["yolov2"], "anchors": anchors}
            yield Reading("detect", (("yolov2", tensor.name),), why, fields, True, ("box_format",))


def has_boxes(contents: ModelFound) -> bool:
    """Whether one of several outputs has a box in each row, by its name or its columns."""
    return len(contents.outputs) > 1 and any(
        "box" in plain(tensor.name)
        or plain(tensor.name) == "dets"
        or (len(tensor.shape) in (2, 3) and tensor.shape[-1] == 4 and tensor.shape[-2] != 1)
        for tensor in contents.outputs
    )


def is_map_of_pixels(tensor: TensorFound, input_hw: tuple[int, int]) -> bool:
    """Whether an output has a value for each place of the picture, as a segmentation has."""
    if len(tensor.shape) not in (3, 4):
        return False
    height, width = (side // FINEST_FEATURES for side in input_hw)
    _, *sides = tensor.shape
    pairs = (sides[:2], sides[-2:])
    return any(len(p) == 2 and p[0] > height >= 1 and p[1] > width >= 1 for p in pairs) and (
        len(tensor.shape) == 4
    )


def _only(contents: ModelFound, role: str) -> tuple[tuple[str, str], ...]:
    return ((role, contents.outputs[0].name),)


def class_count(outputs: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """How many classes a raw output scores, where its shape says it.

    ``outputs``: role -> tensor name; ``shapes`` by tensor name.
    """
    for role, axis, others in (
        *(("yolov5", 2, 5), ("yolox", 2, 5), ("yolov8", 1, 4), ("yolov8_rows", 2, 4)),
        *(("detr_rows", 2, 4), ("detr_logits", 2, 1), ("detr_sigmoid", 2, 0)),
        *(("nanodet", 2, 4 * NANODET_BINS), ("score_8", 2, 0)),
    ):
        shape = shapes.get(outputs.get(role, ""), ())
        if len(shape) == 3 and shape[axis] > others:
            return shape[axis] - others
    return None
