"""A folder of a text detector and a recognizer -> a spec of task ``ocr``.

PP-OCR's files, as RapidOCR and others export them: which is which follows from what they return,
and the recognizer's characters are in its metadata or in a text file beside it. A copy under names
of our own becomes the model: what else lies in the folder is none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles.proposal.guesses import Guess, Proposal
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.onnx import read_graph
from pyspark_vision.bundles.several_files import spec_of, staged_files
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.spec_choices import TEXT_READER
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines.onnx import start_session
from pyspark_vision.executor.models.model_files import (
    CHARACTERS,
    DETECTOR,
    DIRECTION,
    RECOGNIZER,
)
from pyspark_vision.executor.text.text_lines import line_input
from pyspark_vision.executor.text.text_reader import RECOGNIZER_HW, TextReader
from pyspark_vision.executor.worker.loaded import load_model

# The folder of the three in a bundle.
_PLACE = "reader"

_FILES = {"text_map": DETECTOR, "text_direction": DIRECTION, "characters": RECOGNIZER}

_SUBFOLDERS = ("det", "rec", "cls")
# Beside a recognizer of PaddleOCR: its `PostProcess` holds the characters.
_PADDLE_CONFIG = "inference.yml"

# RapidOCR's config.yaml: `limit_side_len`, `mean`, `std`; its pictures are OpenCV's, BGR.
_PREPARATION: dict[str, Any] = {
    "input_hw": (736, 736),
    "input_layout": "NCHW",
    "input_dtype": "float32",
    "color_order": "bgr",
    "normalization": "values",
    "pixel_scale": 1 / 255,
    "mean": (0.5,),
    "std": (0.5,),
}
# A trial does not need the detector's usual size, which takes a second.
_TRIAL_HW = (64, 64)


def parts_of(folder: Path) -> dict[str, list[Path]]:
    """Role -> the files of the folder that return what the role does."""
    parts: dict[str, list[Path]] = {role: [] for role in _FILES}
    for path in _graphs(folder):
        role = _role(read_graph(path))
        if role is not None:
            parts[role].append(path)
    return parts


def _graphs(folder: Path) -> list[Path]:
    """Those of the folder, or of PaddleOCR's subfolders ``det``, ``rec`` and ``cls``."""
    beside = sorted(folder.glob("*.onnx"))
    return beside or [
        path for name in _SUBFOLDERS for path in sorted(folder.glob(f"{name}/*.onnx"))
    ]


def is_text_reader(folder: Path) -> bool:
    """Whether a folder has a detector of text and a recognizer."""
    if len(_graphs(folder)) < 2:
        return False
    try:
        parts = parts_of(folder)
    except InvalidModelError:  # files of something else
        return False
    return bool(parts["text_map"] and parts["characters"])


def propose_text_reader(
    folder: Path, characters: Path | Sequence[str] | None, overrides: Mapping[str, Any]
) -> Proposal:
    """The spec of a folder, and what of it is a guess.

    ``characters`` are those of the recognizer's classes, in their order and without the blank; by
    default those of its metadata, or of the folder's only text file. Raises
    :class:`InvalidModelError` where a part is there twice, cannot be run, or has not as many
    classes as characters.
    """
    files = {role: _only(role, paths, folder) for role, paths in parts_of(folder).items() if paths}
    parts = {role: read_graph(path) for role, path in files.items()}
    for role, path in files.items():
        _check_input(parts[role].inputs, path, is_open=role == "text_map")
    named, whence = _characters(characters, files["characters"], folder)
    classes = parts["characters"].outputs[0].shape[-1]
    staged = staged_files(
        _PLACE,
        {_FILES[role]: path for role, path in files.items()},
        {CHARACTERS: json.dumps(_by_class(named, classes, whence), ensure_ascii=False)},
    )
    spec = spec_of(
        folder,
        staged,
        "ocr",
        TEXT_READER,
        {role: part.outputs[0].name for role, part in parts.items()},
        _PREPARATION,
        overrides,
    )
    check_text_reader(spec)
    guesses = {}
    if "normalization" not in overrides:
        guesses["normalization"] = Guess(
            "the files do not say it; as RapidOCR prepares them",
            "values (RapidOCR's) | torch (PaddleOCR's)",
            changes_answers=False,
        )
    direction = "" if "text_direction" in files else "; no file tells lines that are upside down"
    why = (
        f"{files['text_map'].name} finds lines, {files['characters'].name} reads them in "
        f"{len(named):,} characters ({whence}){direction}"
    )
    return Proposal(spec, why, guesses)


def read_text_reader(folder: Path) -> ModelFound:
    """The tensors of all parts, as if they were one model's."""
    paths = [path for paths in parts_of(folder).values() for path in paths]
    parts = [read_graph(path) for path in paths]
    return ModelFound(
        engine="onnx",
        format=TEXT_READER,
        inputs=tuple(tensor for part in parts for tensor in part.inputs),
        outputs=tuple(tensor for part in parts for tensor in part.outputs),
    )


def check_text_reader(spec: ModelSpec) -> None:
    """Run each part once; :class:`InvalidModelError` where it does not give what it is for."""
    try:
        reader = load_model(spec.with_options(input_hw=_TRIAL_HW), spec.path, threads=1)
        assert isinstance(reader, TextReader)
        grey = np.full((*_TRIAL_HW, 3), 128, np.uint8)
        score_map = reader.score_map(grey)
        hw = reader.recognizer.hw(RECOGNIZER_HW)
        steps = reader.recognizer.run(line_input(grey, hw)[np.newaxis])
    except ImportError as error:
        raise MissingDependencyError(str(error)) from None
    except Exception as error:  # whatever an engine raises, the caller learns which model it was
        raise InvalidModelError(
            f"model {spec.name!r} ({spec.path}) cannot run: {type(error).__name__}: {error}"
        ) from error
    if score_map.shape != _TRIAL_HW or not _within_unit(score_map):
        raise InvalidModelError(
            f"model {spec.name!r}: the detector gives {score_map.shape} values for a picture of "
            f"{_TRIAL_HW}, from {score_map.min():.3g} to {score_map.max():.3g}; it must give a "
            "probability (0..1) for each place, as PP-OCR's do"
        )
    if steps.ndim != 3 or len(steps) != 1:
        raise InvalidModelError(
            f"model {spec.name!r}: the recognizer gives {list(steps.shape)} for one line; it must "
            "give (lines, steps, classes). Export it with the axis of pictures first"
        )
    if not _within_unit(steps) or not np.allclose(steps.sum(axis=-1), 1, atol=0.02):
        raise InvalidModelError(
            f"model {spec.name!r}: the recognizer's steps are no probabilities (they add up to "
            f"{steps.sum(axis=-1).max():.3g}); export it with its softmax"
        )


def _role(contents: ModelFound) -> str | None:
    """By the shape of the only output: a map, two classes, or steps of classes."""
    if len(contents.inputs) != 1 or len(contents.outputs) != 1:
        return None
    shape = contents.outputs[0].shape
    if len(shape) == 4 and shape[1] == 1:
        return "text_map"
    if len(shape) == 3 and shape[2] > 2:
        return "characters"
    return "text_direction" if len(shape) == 2 and shape[1] == 2 else None


def _only(role: str, paths: Sequence[Path], folder: Path) -> Path:
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise InvalidModelError(
            f"{folder}: {names} could each be the one for {role}; leave one of them in the folder"
        )
    return paths[0]


def _check_input(inputs: Sequence[TensorFound], path: Path, *, is_open: bool) -> None:
    (image,) = inputs
    fits = len(image.shape) == 4 and image.shape[1] == 3 and image.dtype == "float32"
    if not fits or (is_open and image.shape[2:] != (-1, -1)):
        wanted = "(N, 3, H, W) with H and W open" if is_open else "(N, 3, H, W)"
        raise InvalidModelError(
            f"{path}: the input is {image.name} {image.shape} {image.dtype}; it must be {wanted}, "
            "float32"
        )


def _characters(
    given: Path | Sequence[str] | None, recognizer: Path, folder: Path
) -> tuple[list[str], str]:
    """The characters, and where they are from."""
    if isinstance(given, Path):
        return _lines(given), given.name
    if given is not None:
        return [str(character) for character in given], "as given"
    metadata = start_session(str(recognizer), 1).get_modelmeta().custom_metadata_map
    if "character" in metadata:
        return metadata["character"].splitlines(), "in its metadata"
    staged = folder / CHARACTERS
    if staged.is_file():  # of a bundle of ours: with the blank, and the space where it is one
        return json.loads(staged.read_text(encoding="utf-8"))[1:], staged.name
    configured = _of_paddle(recognizer.parent / _PADDLE_CONFIG)
    if configured:
        return configured, _PADDLE_CONFIG
    texts = sorted({*folder.glob("*.txt"), *recognizer.parent.glob("*.txt")})
    if len(texts) != 1:
        listed = ", ".join(path.name for path in texts) or "no text file"
        raise InvalidModelError(
            f"{folder}: {recognizer.name} has no characters in its metadata, and the folder has "
            f"{listed}; give the dictionary with labels=FILE, one character a line"
        )
    return _lines(texts[0]), texts[0].name


def _of_paddle(config: Path) -> list[str]:
    """The characters of PaddleOCR's configuration; none where it is not there, or has none."""
    if not config.is_file():
        return []
    try:
        import yaml
    except ImportError:
        raise MissingDependencyError(
            f"{config} holds the characters, and reading it needs PyYAML: pip install pyyaml, or "
            "give them with labels=FILE"
        ) from None
    try:
        record = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidModelError(f"{config} is not YAML: {' '.join(str(error).split())}") from None
    post = record.get("PostProcess") if isinstance(record, dict) else None
    characters = post.get("character_dict") if isinstance(post, dict) else None
    return [str(character) for character in characters] if isinstance(characters, list) else []


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelError(f"the dictionary {path} cannot be read: {error}") from None
    # Not splitlines(), which also splits at characters that a dictionary has.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _by_class(characters: Sequence[str], classes: int, whence: str) -> list[str]:
    """Of each class: the blank is the first, and a space the last where there is one more."""
    with_space = ["", *characters, " "]
    for named in (with_space, with_space[:-1]):
        if classes in (-1, len(named)):
            return list(named)
    raise InvalidModelError(
        f"the recognizer has {classes:,} classes, and there are {len(characters):,} characters "
        f"({whence}): with the blank and the space they must be as many. Give the dictionary that "
        "belongs to it with labels=FILE, one character a line"
    )


def _within_unit(values: np.ndarray[Any, Any]) -> bool:
    return bool((values >= -1e-4).all() and (values <= 1 + 1e-4).all())
