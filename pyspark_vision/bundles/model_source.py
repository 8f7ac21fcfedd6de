"""What a user names -> the model file that is meant, and what a reader gives of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark_vision.bundles import model_folders
from pyspark_vision.bundles.foreign_formats import why_no_folder, why_not_read
from pyspark_vision.bundles.proposal.fields import shape_hw
from pyspark_vision.bundles.readers import hugging_face, task_archive
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.errors import InvalidModelError


def model_file(path: Path, member: str | None = None) -> Path:
    """The file to read of what a user names: a folder's ONNX file, a model of a .task file.

    A model of a .task file is unpacked for this process.
    """
    if path.suffix.lower() == task_archive.SUFFIX and path.is_file():
        return task_archive.extracted(path, member, scratch_folder())
    if member is not None:
        raise InvalidModelError(f"{path} is no .task file: member={member!r} names nothing in it")
    if (path / "saved_model.pb").is_file() or (path / "model.json").is_file():
        return path
    file = hugging_face.model_file(path)
    if file is None and path.suffix.lower() == ".onnx" and path.is_file():
        file = path  # PyTorch's exporter writes weights beside the graph since 2.9
    return path if file is None else _in_one_file(file)


def is_other_size(image: TensorFound, input_hw: Any) -> bool:
    """Whether the user says a size that is not the one a model was exported with."""
    own = shape_hw(image)
    return own is not None and isinstance(input_hw, tuple) and input_hw != own


def with_open_sides(file: Path) -> Path:
    """A copy of an ONNX file that takes any size, for this process; a trial tells if it can."""
    from pyspark_vision.bundles.readers import onnx

    folder = scratch_folder()
    hugging_face.copy_beside(file, folder)
    return onnx.with_open_sides(file, folder)


def _in_one_file(file: Path) -> Path:
    """An ONNX file as it is, or with the weights that lie beside it, for this process."""
    from pyspark_vision.bundles.readers import onnx

    if not onnx.has_external_data(file):
        return file
    folder = scratch_folder()
    hugging_face.copy_beside(file, folder)
    return onnx.as_one_file(file, folder)


def read_model(path: Path, signature: str | None = None, layer: str | None = None) -> ModelFound:
    """Read a model file by what it is; a clear error for the rest."""
    if not path.exists():
        raise InvalidModelError(f"no model at {path}")
    suffix = path.suffix.lower()
    kind = model_folders.kind_of(path)
    if kind is not None:
        return model_folders.read_folder(kind, path)
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        hint = why_no_folder(path)
        raise InvalidModelError(
            f"{path} is a folder without saved_model.pb{'; ' if hint else ''}{hint}"
        )
    if suffix == ".tflite":
        from pyspark_vision.bundles.readers.tflite import read_tflite

        return read_tflite(path)
    if suffix == ".onnx":
        from pyspark_vision.bundles.readers.onnx import read_onnx

        return read_onnx(path)
    if path.is_dir() or suffix in (".keras", ".h5", ".hdf5", ".pb"):
        from pyspark_vision.bundles.readers import tensorflow

        if path.is_dir():
            return tensorflow.read_saved_model(path, signature)
        if suffix == ".pb":
            return tensorflow.read_frozen_graph(path)
        return tensorflow.read_keras(path, layer)
    raise InvalidModelError(f"{path}: {why_not_read(path)}")
