"""Which fields of a proposed spec the model's file does not settle, and what they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.bundles.spec import BOX_FORMATS, NORMALIZATIONS, TASKS

if TYPE_CHECKING:
    from pyspark_vision.bundles.readers.contents import ModelFound
    from pyspark_vision.bundles.spec import ModelSpec

_EMBEDDING_NAMES = ("embedding", "feature_vector")


@dataclass(frozen=True)
class Guess:
    """A field that is guessed: why, and its possible values in words."""

    why: str
    choices: str


def guessed(found: ModelFound, spec: ModelSpec) -> dict[str, Guess]:
    """Field of ``spec`` (``outputs.ROLE`` for an output) -> why it is a guess."""
    guesses = {}
    if not is_detector(found):
        guesses["task"] = Guess("it is guessed from the outputs", " | ".join(TASKS))
    if spec.input_dtype.startswith("float") and found.family is None:
        guesses["normalization"] = Guess(
            "the file does not say how pixels are scaled", " | ".join(NORMALIZATIONS)
        )
    if -1 in found.inputs[0].shape[1:]:
        guesses["input_hw"] = Guess("the model takes any size", "HEIGHTxWIDTH")
    if spec.task == "detect" and not is_detector(found):
        guesses["box_format"] = Guess(
            "the file does not say how boxes are written", " | ".join(BOX_FORMATS)
        )
    output = dict(spec.file.outputs).get("embedding")
    if output is not None and not found.layer and not is_embedding_name(output):
        guesses["outputs.embedding"] = Guess(f"the output {output} is taken as the vector", "NAME")
    if spec.task != "embed" and not spec.labels:
        guesses["labels"] = Guess("results carry class ids only", "FILE")
    return guesses


def is_detector(found: ModelFound) -> bool:
    """Whether the file says that it detects: by an operator or layout that only detectors have, or
    by TensorFlow's Object Detection API, which always writes yxyx under this name."""
    names = (tensor.name for tensor in found.outputs)
    return bool(found.roles) or any(name.startswith("detection_boxes") for name in names)


def is_embedding_name(name: str) -> bool:
    """Whether an output's name says that it is a vector."""
    return any(known in name.lower() for known in _EMBEDDING_NAMES)
