"""A folder of two towers and a tokenizer -> a spec of task ``dual_encoder``.

As CLIP and SigLIP are exported to ONNX: ``vision_model.onnx`` and ``text_model.onnx`` (or whatever
their names: the one takes pictures, the other numbers of tokens), ``tokenizer.json``, and Hugging
Face's ``config.json``, ``preprocessor_config.json`` and ``tokenizer_config.json`` where they are.
A copy of the three files under names of our own becomes the model.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.json_file import json_object
from pyspark_vision.bundles.proposal.guesses import Guess, Proposal
from pyspark_vision.bundles.proposal.trial import trial_pictures, trial_runs
from pyspark_vision.bundles.readers.contents import ModelFound
from pyspark_vision.bundles.readers.image_processor import preparation
from pyspark_vision.bundles.readers.onnx import read_graph
from pyspark_vision.bundles.several_files import spec_of, staged_files
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.spec_choices import DUAL_ENCODER, NORMALIZATIONS, RESIZES
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.models.model_files import (
    IMAGE_TOWER,
    TEXT_INPUT,
    TEXT_TOWER,
    TOKENIZER,
)
from pyspark_vision.executor.text.text_tower import TextInput, TextTower

# The folder of the towers in a bundle.
_PLACE = "towers"

# What exporters call the embedding: projected into the common space, or pooled where that is it.
_EMBEDDINGS = {
    "image": ("image_embeds", "pooler_output"),
    "text": ("text_embeds", "pooler_output"),
}
_TEXT_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}

# How a model's family compares: over all texts, or each by itself.
_SCORE_KINDS = {"clip": "logit", "siglip": "sigmoid", "siglip2": "sigmoid"}

_CHOICES = {
    "normalization": f"{' | '.join(NORMALIZATIONS[:-1])}, or mean and std",
    "resize": " | ".join(RESIZES),
}

# Where `model_max_length` is not known, transformers writes int(1e30).
_NO_LENGTH = 1_000_000


@dataclass(frozen=True)
class _Towers:
    image: Path
    text: Path


def is_dual_encoder(folder: Path) -> bool:
    """Whether a folder has a tokenizer, and files that take pictures and tokens."""
    if not (folder / TOKENIZER).is_file():
        return False
    named = _named(folder)
    return named is not None or all(_by_inputs(folder).values())


def propose_dual_encoder(
    folder: Path, outputs: Mapping[str, str] | None, overrides: Mapping[str, Any]
) -> Proposal:
    """The spec of a folder, and what of it is a guess.

    ``outputs``: ``embedding`` of the image tower and ``text_embedding`` of the other one, where
    they do not follow from names. Raises :class:`InvalidModelError` for towers that are not one of
    each, whose vectors differ in length, or that take what is not known.
    """
    towers = _towers(folder)
    image, text = read_graph(towers.image), read_graph(towers.text)
    config = json_object(folder / "config.json")
    named = dict(outputs or {})
    image_output = named.get("embedding") or _embedding(image, "image", towers.image)
    text_output = named.get("text_embedding") or _embedding(text, "text", towers.text)
    settings = _text_input(folder, text, text_output, config, towers.text)
    staged = staged_files(
        _PLACE,
        {IMAGE_TOWER: towers.image, TEXT_TOWER: towers.text, TOKENIZER: folder / TOKENIZER},
        {TEXT_INPUT: json.dumps(dataclasses.asdict(settings), indent=1) + "\n"},
    )
    fields, open_fields = _fields(folder, image, config)
    spec = spec_of(
        folder,
        staged,
        "dual_encoder",
        DUAL_ENCODER,
        {"embedding": image_output},
        fields,
        overrides,
        input_tensor=image.inputs[0].name,
    )
    _check_vectors(spec)
    guesses = {name: guess for name, guess in open_fields.items() if name not in overrides}
    if spec.logit_scale is None:
        guesses["logit_scale"] = Guess(
            "the folder does not say it, and classify_image needs it: exp(model.logit_scale)",
            "100 (CLIP by OpenAI) | NUMBER",
            changes_answers=False,
        )
    why = f"{towers.image.name} takes pictures, {towers.text.name} texts, into one space"
    return Proposal(spec, why, guesses)


def read_dual_encoder(folder: Path) -> ModelFound:
    """The image tower's tensors: it is what runs on pictures."""
    contents = read_graph(_towers(folder).image)
    return dataclasses.replace(contents, format=DUAL_ENCODER)


def _fields(
    folder: Path, image: ModelFound, config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Guess]]:
    """What the folder says of the image tower and of the comparison; what it leaves open."""
    guesses: dict[str, Guess] = {}
    (tensor,) = image.inputs
    batch, _, height, width = tensor.shape
    fields: dict[str, Any] = {
        "input_layout": "NCHW",
        "input_dtype": tensor.dtype,
        "fixed_batch": batch if batch > 0 else None,
        "input_hw": (height, width) if height > 0 and width > 0 else (224, 224),
        "normalization": "unit",
    }
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        prepared = preparation(json_object(processor), str(processor))
        fields |= prepared.fields
        for name, why in prepared.unsaid.items():
            guesses[name] = Guess(why, _CHOICES.get(name, "a value"))
    else:
        guesses["normalization"] = Guess(
            "there is no preprocessor_config.json, which says how pixels are scaled and resized",
            _CHOICES["normalization"],
        )
        if height <= 0 or width <= 0:
            guesses["input_hw"] = Guess("the image tower takes any size", "HEIGHTxWIDTH")
    kind = _SCORE_KINDS.get(str(config.get("model_type")))
    if kind is None and "logit_bias" in config:
        kind = "sigmoid"
    if kind is None:
        guesses["score_kind"] = Guess(
            "config.json does not say which family it is", "logit (CLIP) | sigmoid (SigLIP)"
        )
    fields["score_kind"] = kind or "logit"
    # As the weights have it in transformers: the logarithm. `logit_scale_init_value` is what
    # training began with, and no model's scale.
    if "logit_scale" in config:
        fields["logit_scale"] = math.exp(float(config["logit_scale"]))
    if "logit_bias" in config:
        fields["logit_bias"] = float(config["logit_bias"])
    return fields, guesses


def _text_input(
    folder: Path, text: ModelFound, output: str, config: Mapping[str, Any], path: Path
) -> TextInput:
    unknown = [tensor.name for tensor in text.inputs if tensor.name not in _TEXT_INPUTS]
    if unknown:
        raise InvalidModelError(
            f"{path}: it takes {', '.join(unknown)}; a text tower may take "
            f"{', '.join(sorted(_TEXT_INPUTS))}"
        )
    ids = next(tensor for tensor in text.inputs if tensor.name == "input_ids")
    about = json_object(folder / "tokenizer_config.json")
    tokenizer = json_object(folder / TOKENIZER)
    of_text = config.get("text_config") or {}
    fixed = ids.shape[1] if ids.shape[1] > 0 else None
    lengths = (
        fixed,
        of_text.get("max_position_embeddings"),
        about.get("model_max_length"),
        (tokenizer.get("truncation") or {}).get("max_length"),
    )
    length = next((n for n in lengths if isinstance(n, int) and 0 < n < _NO_LENGTH), None)
    if length is None:
        raise InvalidModelError(
            f"{folder}: how many tokens the text tower takes is not said; write it as "
            "model_max_length into tokenizer_config.json"
        )
    # SigLIP was trained on texts that are filled up (its model card: padding="max_length").
    pads = fixed is not None or str(config.get("model_type")).startswith("siglip")
    pad_id = _pad_id(about, tokenizer, of_text)
    if pads and pad_id is None:
        raise InvalidModelError(
            f"{folder}: the text tower takes {length} tokens, and what shorter texts are filled up "
            "with is not said; write pad_token into tokenizer_config.json"
        )
    return TextInput(output, length, pads, pad_id or 0)


def _pad_id(
    about: Mapping[str, Any], tokenizer: Mapping[str, Any], of_text: Mapping[str, Any]
) -> int | None:
    token = about.get("pad_token")
    token = token.get("content") if isinstance(token, Mapping) else token
    known = {added["content"]: added["id"] for added in tokenizer.get("added_tokens") or ()}
    vocabulary = (tokenizer.get("model") or {}).get("vocab")
    if isinstance(vocabulary, Mapping):
        known = {**vocabulary, **known}
    candidates = (
        known.get(token),
        (tokenizer.get("padding") or {}).get("pad_id"),
        of_text.get("pad_token_id"),
    )
    return next((candidate for candidate in candidates if isinstance(candidate, int)), None)


def _check_vectors(spec: ModelSpec) -> None:
    """Both towers run, and their vectors are as long; other pictures have other vectors."""
    runs = trial_runs(spec, trial_pictures(spec.input_hw))
    vectors = [run["embedding"].reshape(-1) for run in runs]
    if all(np.allclose(vector, vectors[0], atol=1e-6) for vector in vectors[1:]):
        raise InvalidModelError(
            f"{spec.source}: the image tower gives the same vector for any picture; it is not "
            "prepared as it was trained, or this output is no embedding"
        )
    try:
        tower = TextTower(spec.path, threads=1)
        (of_text,) = tower.embed([tower.tokens("a picture")])
    except ImportError as error:
        raise MissingDependencyError(str(error)) from None
    except Exception as error:  # of the tokenizer's file, or whatever the engine raises
        raise InvalidModelError(
            f"{spec.source}: the text tower cannot run: {type(error).__name__}: {error}"
        ) from error
    if of_text.shape != vectors[0].shape:
        raise InvalidModelError(
            f"{spec.source}: a picture's vector has {vectors[0].size} numbers, and a text's shape "
            f"is {of_text.shape}; name the outputs of the common space with "
            "outputs={'embedding': …, 'text_embedding': …}"
        )


def _towers(folder: Path) -> _Towers:
    named = _named(folder)
    if named is not None:
        return named
    paths_by_kind = _by_inputs(folder)
    for kind, paths in paths_by_kind.items():
        if len(paths) != 1:
            names = ", ".join(str(path.relative_to(folder)) for path in paths) or "none"
            raise InvalidModelError(
                f"{folder}: one .onnx file must take {kind}s, and there are: {names}. Call the one "
                "that counts vision_model.onnx or text_model.onnx"
            )
    return _Towers(paths_by_kind["picture"][0], paths_by_kind["text"][0])


def _named(folder: Path) -> _Towers | None:
    """By the names of transformers.js' exports, which have others beside them, and our own."""
    for place in (folder, folder / "onnx"):
        for image, text in (
            (IMAGE_TOWER, TEXT_TOWER),
            ("vision_model.onnx", "text_model.onnx"),
        ):
            if (place / image).is_file() and (place / text).is_file():
                return _Towers(place / image, place / text)
    return None


def _by_inputs(folder: Path) -> dict[str, list[Path]]:
    paths_by_kind: dict[str, list[Path]] = {"picture": [], "text": []}
    for path in sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]):
        inputs = read_graph(path).inputs
        names = {tensor.name for tensor in inputs}
        if len(inputs) == 1 and len(inputs[0].shape) == 4:
            paths_by_kind["picture"].append(path)
        elif "input_ids" in names and all(len(tensor.shape) == 2 for tensor in inputs):
            paths_by_kind["text"].append(path)
    return paths_by_kind


def _embedding(contents: ModelFound, tower: str, path: Path) -> str:
    by_name = {tensor.name: tensor for tensor in contents.outputs}
    for name in _EMBEDDINGS[tower]:
        if name in by_name:
            return name
    vectors = [tensor for tensor in contents.outputs if len(tensor.shape) == 2]
    if len(vectors) == 1:
        return vectors[0].name
    described = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in contents.outputs)
    role = "embedding" if tower == "image" else "text_embedding"
    raise InvalidModelError(
        f"{path}: which of its outputs ({described}) is the embedding is not clear; name it with "
        f"outputs={{{role!r}: 'NAME'}}"
    )
