"""Folders of several files that are one model: which kind a folder is, and its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark_vision.bundles import dual_encoders, text_readers
from pyspark_vision.bundles.proposal.guesses import Proposal
from pyspark_vision.bundles.readers.contents import ModelFound
from pyspark_vision.bundles.spec_choices import DUAL_ENCODER, TEXT_READER
from pyspark_vision.errors import InvalidModelError

_TASKS = {TEXT_READER: ("ocr",), DUAL_ENCODER: ("dual_encoder",)}


def kind_of(path: Path) -> str | None:
    """``text_reader``, ``dual_encoder``, or ``None`` where it is neither."""
    if not path.is_dir():
        return None
    if dual_encoders.is_dual_encoder(path):
        return DUAL_ENCODER
    return TEXT_READER if text_readers.is_text_reader(path) else None


def read_folder(kind: str, folder: Path) -> ModelFound:
    """The tensors of a folder of that kind."""
    if kind == DUAL_ENCODER:
        return dual_encoders.read_dual_encoder(folder)
    return text_readers.read_text_reader(folder)


def propose_folder(
    kind: str,
    folder: Path,
    task: str | None,
    labels: str | Path | Sequence[str] | Mapping[int, str] | None,
    outputs: Mapping[str, str] | None,
    overrides: Mapping[str, Any],
) -> Proposal:
    """What :func:`inspection.propose_model` gives, for a folder of that kind."""
    if task not in (None, *_TASKS[kind]):
        raise InvalidModelError(
            f"{folder}: task={task!r} does not fit a {kind.replace('_', ' ')}; say "
            f"task={_TASKS[kind][0]!r}, or name one of its files"
        )
    if kind == DUAL_ENCODER:
        if labels is not None:
            raise InvalidModelError(
                f"{folder}: a dual encoder has no labels; classify_image takes them, as texts"
            )
        return dual_encoders.propose_dual_encoder(folder, outputs, overrides)
    if outputs or isinstance(labels, Mapping):
        raise InvalidModelError(
            f"{folder}: a text reader's outputs are known by their shapes, and labels is the "
            "recognizer's dictionary, a text file or a list"
        )
    characters = Path(labels) if isinstance(labels, str) else labels
    return text_readers.propose_text_reader(folder, characters, overrides)
