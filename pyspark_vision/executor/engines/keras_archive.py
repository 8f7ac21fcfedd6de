"""A ``.keras`` archive or ``.h5`` file -> a Keras model, with each weight in memory once.

``keras.models.load_model`` reads an archive's weights into memory as a whole, and TensorFlow
copies each of them twice on its way into the model: three times a model's size where one layer
holds most of it, as in VGG16.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.executor.engines import aligned
from pyspark_vision.executor.engines.keras_migration import migrated

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

# What layers may share and have twice as well: it has no weights. Keras writes "shared_object_id"
# into each, and `load_model` alone puts them together again.
_WITHOUT_WEIGHTS = ("keras", "keras.initializers", "keras.regularizers", "keras.constraints")

# Smaller ones do not matter, and there are many.
LARGE_BYTES = 1 << 20


def load_archive(keras: Any, path: str) -> Any:
    """The model in ``path``; to be called in a ``keras.StatelessScope``, which holds its weights.

    Raises what Keras raises.
    """
    with tempfile.TemporaryDirectory(prefix="pyspark_vision-keras-") as folder:
        unpacked = _unpacked(Path(path), Path(folder))
        if unpacked is None:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        config, weights = unpacked
        config = migrated(config)
        config["compile_config"] = None  # inference needs no optimizer
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        _load_weights(model, weights)
        return model


def load_h5(keras: Any, path: str) -> Any:
    """The model in the HDF5 file ``path``, as :func:`load_archive`; its weights layer by layer."""
    config = migrated(_h5_config(path))
    kinds = {"Functional": keras.Model, "Model": keras.Model, "Sequential": keras.Sequential}
    if config is not None:
        try:
            model = kinds[config["class_name"]].from_config(config["config"])
            _load_weights(model, Path(path))
            return model
        except Exception:  # of many kinds; what fails for good fails again below, in Keras' words
            pass
    return keras.models.load_model(path, compile=False, safe_mode=True)


def _h5_config(path: str) -> dict[str, Any] | None:
    """``None`` for what ``load_model`` has to judge: no model, or one with code in it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs.get("model_config", "null"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or any(
        part.get("class_name") == "Lambda" for part in parts(config)
    ):
        return None
    return config


def _unpacked(path: Path, folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The configuration, and the weights as a file of its own; ``None`` for ``load_model`` to do.

    That is an archive with more in it (vocabularies), a compressed one (Keras saves none, and
    knows which are bombs), one whose layers share others, and one for whose weights the disk has no
    room.
    """
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members.values())
        if set(members) != {_CONFIG, _METADATA, _WEIGHTS} or not stored:
            return None
        config = json.loads(archive.read(_CONFIG))
        if not isinstance(config, dict) or _shares_weights(config):
            return None
        try:
            weights = Path(archive.extract(_WEIGHTS, folder))
        except OSError:
            return None
    return config, weights


def _shares_weights(config: Any) -> bool:
    return any(
        "shared_object_id" in part and part.get("module") not in _WITHOUT_WEIGHTS
        for part in parts(config)
    )


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Each dictionary within a configuration, itself among them, however deep: nested models."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _load_weights(model: Any, path: Path) -> None:
    variables = list(model.variables)
    for variable in variables:
        variable.assign = _without_copies(variable.assign, variable.dtype)
    try:
        model.load_weights(path)
    finally:
        for variable in variables:
            del variable.assign


def _without_copies(assign: Callable[[Any], Any], dtype: str) -> Callable[[Any], Any]:
    """``assign`` of a variable that hands it TensorFlow's own memory."""

    def assign_tensor(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.nbytes < LARGE_BYTES:
            return assign(value)
        if value.dtype.name != dtype or value.dtype.kind not in "fiu":
            return assign(value)
        values = aligned.empty(value.shape, value.dtype)
        values[...] = value
        return assign(aligned.tensor(values))

    return assign_tensor
