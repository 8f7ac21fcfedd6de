"""The readings of a model's outputs that are tried, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyspark_vision.bundles.labels import Labels
from pyspark_vision.bundles.proposal.fields import OPEN_INPUT_HW, shape_hw
from pyspark_vision.bundles.proposal.grid_readings import grid_readings
from pyspark_vision.bundles.proposal.keypoint_readings import keypoint_readings
from pyspark_vision.bundles.proposal.mask_readings import mask_readings, masked_boxes
from pyspark_vision.bundles.proposal.reading import CONVENTIONS, Reading
from pyspark_vision.bundles.proposal.readings import readings
from pyspark_vision.bundles.proposal.small_readings import small_readings
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.spec_choices import ROLES, TASKS
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.raw_heads import LAYOUTS

# What a task's outputs are, and how to name them by hand.
_WANTED_OUTPUTS = {"segment": "a map of classes, or boxes with masks,", "keypoints": "points"}
_OUTPUT_ROLES = {
    "segment": (
        "'pixel_scores': …",
        "'pixel_classes': …",
        "'yolov8': …, 'prototypes': …",
        "'boxes': …, 'scores': …, 'classes': …, 'masks': …",
    ),
    "keypoints": ("'keypoints': …, 'presence': …", "'multipose': …", "'yolov8': …"),
}


def candidates_of(
    contents: ModelFound,
    image: TensorFound,
    file: Path,
    task: str | None,
    outputs: Mapping[str, str] | None,
    hw: tuple[int, int] | None,
    labels: Labels,
) -> list[Reading]:
    """The readings to try: the caller's alone, where the caller has named outputs."""
    if outputs:
        roles = tuple(outputs.items())
        of_roles = next((t for t in TASKS if {*outputs} <= {*ROLES[t]}), "detect")
        conventions = {k: v for r in outputs for k, v in CONVENTIONS.get(r, {}).items()}
        # Exports of DETR's family differ in how pixels are scaled; the others' layouts do not.
        said = {"box_format"} if any(r.startswith("detr") for r in outputs) else {*conventions}
        settled = tuple(said & {"box_format", "normalization"})
        return [Reading(task or of_roles, roles, "as named", conventions, True, settled)]
    if _reads_lines(contents, image):
        what = (
            f"its metadata has {contents.characters:,} characters"
            if contents.characters
            else "a picture of a fixed height and any width"
        )
        raise InvalidModelError(
            f"{file}: {what}, and an output of steps ({shapes_of(contents.outputs)}): it reads a "
            "line of text. read_text reads with it, in a folder with the detector that finds the "
            "lines (docs/text.md)"
        )
    size = hw or shape_hw(image) or OPEN_INPUT_HW["detect"]
    classes = labels[-1][0] + 1 if labels else None
    known = list(readings(contents, size, classes))
    if not (contents.roles and contents.task):  # else the file says what its outputs are
        known = [
            *keypoint_readings(contents, size, classes),
            *mask_readings(contents, size, classes),
            *grid_readings(contents, size),
            *small_readings(contents, size, classes),
            *known,
            *masked_boxes(contents),
        ]
    wanted = task or contents.task
    fitting = [reading for reading in known if wanted in (None, reading.task)]
    if not fitting:
        described = shapes_of(contents.outputs)
        if wanted in ("classify", "embed") and len(contents.outputs) > 1:
            raise InvalidModelError(
                f"{file} has several outputs ({described}); name the one with "
                f"outputs={{{ROLES[wanted][0]!r}: 'NAME'}}"
            )
        if wanted == "detect":
            raise InvalidModelError(
                f"{file}: cannot tell boxes and scores among the outputs ({described}); name them "
                "with outputs={'boxes': …, 'scores': …, 'classes': …, 'count': …}, class_scores "
                f"for scores of each class, or one of {', '.join(LAYOUTS)}"
            )
        if wanted in ("segment", "keypoints"):
            raise InvalidModelError(
                f"{file}: cannot tell {_WANTED_OUTPUTS[wanted]} among the outputs ({described}); "
                "name them with "
                f"{' or '.join('outputs={' + roles + '}' for roles in _OUTPUT_ROLES[wanted])}"
            )
        raise InvalidModelError(
            f"{file}: task={wanted!r} does not fit the outputs ({described}); name the output "
            f"with outputs={{{ROLES[wanted or 'classify'][0]!r}: 'NAME'}}"
            if wanted
            else f"{file} has outputs that no known reading has ({described}); name task and "
            "outputs, as task='classify', outputs={'scores': 'NAME'}"
        )
    # Rows of seven numbers are as well the scores of seven classes.
    is_vector = all(len(tensor.shape) == 2 for tensor in contents.outputs)
    is_detector = known[0].task == "detect" and known[0].is_certain and not is_vector
    if task == "classify" and is_detector:
        raise InvalidModelError(
            f"{file}: task='classify' does not fit, for the outputs "
            f"({shapes_of(contents.outputs)}) are a detector's; say task='detect', "
            "or name the output of the classes with outputs={'scores': 'NAME'}"
        )
    return fitting


def shapes_of(tensors: Sequence[TensorFound]) -> str:
    return ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)


def _reads_lines(contents: ModelFound, image: TensorFound) -> bool:
    """Whether a model is a recognizer of text lines: of any width, which its steps follow.

    Or one whose metadata says its characters.
    """
    if contents.characters:
        return True
    channels_last = image.shape[3] in (1, 3)
    height, width = image.shape[1:3] if channels_last else image.shape[2:]
    shapes = [tensor.shape for tensor in contents.outputs]
    is_of_steps = len(shapes) == 1 and len(shapes[0]) == 3 and -1 in shapes[0][:2]
    return height > 0 and width == -1 and is_of_steps and contents.task is None
