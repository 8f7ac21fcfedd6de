"""How the outputs of models that find pixels can be read: class maps, and objects with masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pyspark_vision.bundles.proposal.reading import Reading, plain, shown
from pyspark_vision.bundles.proposal.readings import has_boxes, is_map_of_pixels, nameless_boxes
from pyspark_vision.bundles.proposal.table_readings import shortened, table_readings, tables_of
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.executor.outputs.raw_heads import TABLES
from pyspark_vision.executor.outputs.segments import channel_axis

# Of a network's outputs for training and for use (torchvision's `aux` and `out`), the one for use.
_MAIN_NAMES = ("out", "output", "logits", "segmentation", "semantic")
# Integers of a map are classes; a map of bytes may be a picture.
_CLASS_DTYPES = ("int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")


def mask_readings(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """The readings of a model's outputs as segments, the more likely first.

    Arguments as of :func:`readings.readings`.
    """
    if contents.roles or contents.layer:
        return
    yield from _prototypes(contents, input_hw, classes)
    yield from _class_maps(contents, input_hw, classes)


def _nameless(contents: ModelFound) -> list[TensorFound]:
    """torchvision's boxes, labels, scores and masks by their shapes: outputs may be numbered."""
    masks = [tensor for tensor in contents.outputs if len(tensor.shape) == 4]
    boxes = nameless_boxes([tensor for tensor in contents.outputs if tensor not in masks])
    return [*boxes, *masks] if boxes and len(masks) == 1 else []


def masked_boxes(contents: ModelFound) -> Iterator[Reading]:
    """Boxes with a mask each: detectors, too, which they are taken for without another word."""
    named = {plain(tensor.name): tensor for tensor in contents.outputs}
    names = ("boxes", "labels", "scores", "masks")
    by_name = set(names) <= set(named)
    of_torchvision = [named[name] for name in names] if by_name else _nameless(contents)
    if of_torchvision and len(of_torchvision[0].shape) == 2:
        boxes, labels, scores, masks = of_torchvision
        yield Reading(
            "segment",
            (
                ("boxes", boxes.name),
                ("scores", scores.name),
                ("classes", labels.name),
                ("masks", masks.name),
            ),
            f"{shown(boxes)} and {shown(masks)}: Mask R-CNN of torchvision",
            {
                "box_format": "xyxy",
                "coordinates": "pixel",
                "normalization": "unit",
                "batched_outputs": False,
                "resize": "letterbox",
            },
            is_certain=True,
            settled=("box_format", "normalization", "coordinates", "color_order"),
        )
    api = ("detection_boxes", "detection_scores", "detection_classes", "detection_masks")
    if set(api) <= set(named):
        roles = ("boxes", "scores", "classes", "box_masks")
        yield Reading(
            "segment",
            tuple((role, named[name].name) for role, name in zip(roles, api, strict=True)),
            f"{shown(named['detection_masks'])}: masks of TensorFlow's Object Detection API",
            {"box_format": "yxyx", "coordinates": "normalized"},
            is_certain=True,
            settled=("box_format", "coordinates", "input_hw"),
        )


def _prototypes(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    """YOLO's: a table with coefficients at its rows' ends, and the maps that they weigh."""
    tables = tables_of(contents, input_hw)
    maps = [tensor for tensor in contents.outputs if len(tensor.shape) == 4]
    if len(tables) != 1 or len(maps) != 1 or contents.task not in (None, "segment"):
        return
    coefficients = _channels(maps[0], contents, input_hw)
    if coefficients < 1:
        return
    table = tables[0]
    is_known = contents.task == "segment"
    for reduced in shortened(table, coefficients):
        for reading in table_readings(reduced, input_hw, classes, ultralytics=is_known):
            (role, _) = reading.roles[0]
            if role not in TABLES or (role == "yolov8") != (reduced.shape[2] == table.shape[2]):
                continue
            why = f"{shown(table)} beside {shown(maps[0])}: boxes, and what their masks are made of"
            yield replace(
                reading,
                task="segment",
                roles=((role, table.name), ("prototypes", maps[0].name)),
                why=why,
            )


def _class_maps(
    contents: ModelFound, input_hw: tuple[int, int], classes: int | None
) -> Iterator[Reading]:
    maps = [tensor for tensor in contents.outputs if _is_map(tensor, input_hw)]
    main = [tensor for tensor in maps if plain(tensor.name) in _MAIN_NAMES]
    # A map among other outputs may be a prototype, a detector's grid, or one of its offsets.
    maps = main if len(contents.outputs) > 1 and contents.task is None else maps
    if len(maps) != 1 or has_boxes(contents) or contents.task not in (None, "segment"):
        return
    output = maps[0]
    if output.dtype in _CLASS_DTYPES and _channels(output, contents, input_hw) == 1:
        why = f"{shown(output)} {output.dtype}: the class of each place"
        yield Reading("segment", (("pixel_classes", output.name),), why, is_certain=True)
        return
    channels = _channels(output, contents, input_hw)
    fits = classes is not None and channels in ((1,) if classes <= 2 else (classes,))
    yield Reading(
        "segment",
        (("pixel_scores", output.name),),
        f"{shown(output)}: scores of {channels if channels > 1 else 'one'} class"
        f"{'es' if channels > 1 else ''} for each place",
        is_certain=fits,
        doubt="" if fits else "a map of places may also be of depths, or a picture",
    )


def _is_map(tensor: TensorFound, input_hw: tuple[int, int]) -> bool:
    """Whether it has a value for each place, or leaves its sides open: a run tells then."""
    if len(tensor.shape) == 3 and tensor.dtype in _CLASS_DTYPES:
        tensor = replace(tensor, shape=(*tensor.shape, 1))
    is_open = len(tensor.shape) == 4 and tensor.shape[1:].count(-1) == 2
    return is_open or is_map_of_pixels(tensor, input_hw)


def _channels(tensor: TensorFound, contents: ModelFound, input_hw: tuple[int, int]) -> int:
    """How many channels a map has; -1 where the file leaves it open."""
    if len(tensor.shape) == 3:
        return 1
    image = contents.inputs[0].shape
    layout = "NCHW" if len(image) == 4 and image[1] in (1, 3) else "NHWC"
    return tensor.shape[1:][channel_axis(tensor.shape[1:], input_hw, layout)]
