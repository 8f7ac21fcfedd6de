"""Which fields of a proposed spec the model's file does not settle, and what they may be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.bundles.spec_choices import (
    BOX_FORMATS,
    COORDINATES,
    NORMALIZATIONS,
    POOLINGS,
    RESIZE_FILTERS,
    RESIZES,
)

if TYPE_CHECKING:
    from pyspark_vision.bundles.proposal.reading import Reading
    from pyspark_vision.bundles.readers.contents import ModelFound
    from pyspark_vision.bundles.spec import ModelSpec


# In words, of fields that a file should say and does not.
_CHOICES = {
    "normalization": f"{' | '.join(NORMALIZATIONS[:-1])}, or mean and std",
    "resize": " | ".join(RESIZES),
    "resize_filter": " | ".join(RESIZE_FILTERS),
    "pooling": " | ".join(POOLINGS[1:]),
    "box_format": " | ".join(BOX_FORMATS),
    "coordinates": " | ".join(COORDINATES),
    "pad_value": "0 … 255",
    "color_order": "rgb | bgr",
    "score_kind": "logit (softmax) | sigmoid",
}


@dataclass(frozen=True)
class Guess:
    """A field that is guessed: why, and its possible values in words.

    ``changes_answers``: whether another value would give other numbers, so that the guess needs
    the user's word.
    """

    why: str
    choices: str
    changes_answers: bool = True


@dataclass(frozen=True)
class Proposal:
    """A spec as inspection reads a file: what it rests on, and what of it is guessed.

    ``guesses``: field (``outputs.ROLE`` for an output) -> why it is a guess.
    """

    spec: ModelSpec
    why: str
    guesses: dict[str, Guess]

    @property
    def open_fields(self) -> list[str]:
        """The guesses that change answers: none of a model that is known."""
        return [name for name, guess in self.guesses.items() if guess.changes_answers]

    @property
    def verdict(self) -> str:
        """``known`` or ``proposed``, with the evidence."""
        return f"{'proposed' if self.open_fields else 'known'}: {self.why}"

    def question(self) -> str:
        """What a person has to say before such a model is used, in one line."""
        asked = "; ".join(
            f"{name} (proposed: {getattr(self.spec, name, 'see outputs')!s}; {guess.why}): "
            f"{guess.choices}"
            for name, guess in self.guesses.items()
            if guess.changes_answers
        )
        return f"{self.why}. The file does not say: {asked}"


def guessed(
    contents: ModelFound,
    spec: ModelSpec,
    reading: Reading,
    others: Sequence[Reading],
    settled: Collection[str],
    *,
    is_share: bool = True,
) -> dict[str, Guess]:
    """The guesses of ``spec``, made by ``reading``; ``others`` fit the values as well.

    ``settled``: fields that the caller has said, the reading settles, or values have shown.
    ``is_share``: whether probabilities, of the picture or of each place, add up to one.
    """
    guesses: dict[str, Guess] = {}
    if not reading.is_certain and others:
        alternatives = " | ".join(dict.fromkeys(_short(other) for other in (reading, *others)))
        guesses["task"] = Guess("the outputs can be read in several ways", alternatives)
    elif reading.doubt:
        guesses["task"] = Guess(reading.doubt, reading.task)
    if spec.input_dtype.startswith("float") and contents.family is None:
        guesses["normalization"] = Guess(
            "the file does not say how pixels are scaled, nor in which order of colours",
            _CHOICES["normalization"],
        )
    if spec.input_scale is not None:
        guesses["normalization"] = Guess(
            "the quantized input's range is of no usual normalization",
            _CHOICES["normalization"],
        )
    if -1 in contents.inputs[0].shape[1:] and "input_hw" not in dict(contents.fields):
        guesses["input_hw"] = Guess("the model takes any size", "HEIGHTxWIDTH")
    if spec.task == "detect":
        guesses["box_format"] = Guess(
            "the file does not say how boxes are written", _CHOICES["box_format"]
        )
    if spec.task == "detect" and spec.background_class is not None:
        guesses["background_class"] = Guess(
            "the scores of a box add up to one, so that one class is of boxes without an object",
            "its number | none",
        )
    is_of_classes = spec.task == "classify" or "pixel_scores" in dict(spec.file.outputs)
    if is_of_classes and spec.score_kind == "logit":
        guesses["score_kind"] = Guess(
            "the scores are logits: of classes that exclude one another, or not",
            _CHOICES["score_kind"],
        )
    if is_of_classes and spec.score_kind == "probability" and not is_share:
        of = "picture" if spec.task == "classify" else "place"
        guesses["score_kind"] = Guess(
            f"the scores of a {of} lie within 0..1, but do not add up to one",
            "probability (each class by itself) | logit (softmax) | sigmoid"
            if spec.task == "classify"
            else "probability (each place has its best class) | logit | sigmoid",
        )
    if spec.pooling != "none":
        guesses["pooling"] = Guess("the output is not one vector", _CHOICES["pooling"])
    is_unsaid = "normalization" in guesses or (
        contents.family is None and spec.resize == "center_crop"
    )
    if spec.task in ("classify", "embed") and is_unsaid:
        guesses["resize"] = Guess(
            "the file does not say how a picture comes to the input's size; torchvision's and "
            "timm's classifiers have resize_edge=256",
            _CHOICES["resize"],
            changes_answers=False,
        )
    if spec.task == "keypoints" and not spec.keypoint_names:
        guesses["keypoint_names"] = Guess(
            "points are numbered", "NAME,NAME,…", changes_answers=False
        )
    if spec.task not in ("embed", "keypoints") and not spec.labels:
        guesses["labels"] = Guess("results carry class ids only", "FILE", changes_answers=False)
    for name, why in contents.unsaid:
        known = guesses.get(name)
        guesses[name] = Guess(why, known.choices if known else _CHOICES.get(name, "a value"))
    if _names_probabilities(spec):
        guesses.pop("score_kind", None)
    return {name: guess for name, guess in guesses.items() if name not in settled}


def _names_probabilities(spec: ModelSpec) -> bool:
    """Whether the output of classes is called what its values are: ``Softmax``, ``probs``, …."""
    name = dict(spec.file.outputs).get("scores", "").lower()
    is_named = any(word in name for word in ("softmax", "sigmoid", "prob"))
    return spec.task == "classify" and spec.score_kind == "probability" and is_named


def _short(reading: Reading) -> str:
    roles = [role for role, _ in reading.roles]
    if reading.task == "detect" and len(roles) == 1:
        return f"detect by outputs.{roles[0]}"
    return reading.task
