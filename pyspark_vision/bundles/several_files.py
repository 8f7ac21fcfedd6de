"""A model of several files: a folder of copies under names of our own, and the spec that has it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.overrides import overridden
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.executor.models.model_files import sha256_of


def staged_files(place: str, copied: Mapping[str, Path], written: Mapping[str, str]) -> Path:
    """A fresh folder called ``place``: copies of files, and texts, by their names there."""
    staged = scratch_folder() / place
    staged.mkdir()
    for name, path in copied.items():
        shutil.copyfile(path, staged / name)
    for name, text in written.items():
        (staged / name).write_text(text, encoding="utf-8")
    return staged


def spec_of(
    folder: Path,
    staged: Path,
    task: str,
    file_format: str,
    outputs: Mapping[str, str],
    fields: Mapping[str, Any],
    overrides: Mapping[str, Any],
    input_tensor: str | None = None,
) -> ModelSpec:
    """The spec of a ``staged`` copy of ``folder``, run by ONNX Runtime.

    ``overrides`` beat ``fields``, and the folder's own name and place.
    """
    said = dict(overrides)
    name, source = said.pop("name", None), said.pop("source", None)
    return ModelSpec(
        name=name or folder.name,
        task=task,
        files=(
            ModelFile(
                engine="onnx",
                format=file_format,
                path=staged.name,
                sha256=sha256_of(staged),
                input_tensor=input_tensor,
                outputs=tuple(outputs.items()),
            ),
        ),
        source=source or str(folder),
        root=str(staged.parent),
        **overridden(fields, said),
    )
