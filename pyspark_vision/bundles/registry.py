"""Models by a registry's name: ``models:/name@alias`` of MLflow, and what to do with ``hf:name``.

A registered model is a folder of artifacts. Read are a bundle that was logged, and MLflow's
flavours ``onnx``, ``keras`` and ``tensorflow``, whose ``MLmodel`` says where the model lies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.readers import hugging_face
from pyspark_vision.bundles.readers.hugging_face_config import CONFIG
from pyspark_vision.errors import InvalidModelError, MissingDependencyError

MLFLOW, HUGGING_FACE = "models:", "hf:"
_MLMODEL, _BUNDLE = "MLmodel", "model.json"
# Where flavours keep what they call their data, by the key that says it; of older files, too.
_DATA_KEYS = ("data", "saved_model_dir")
_FLAVOURS = ("onnx", "keras", "tensorflow")
# In such a folder, the model itself: Keras' files before a SavedModel of the same.
_MODELS = ("*.keras", "*.h5", "*.hdf5", "*.onnx", "saved_model.pb", "*/saved_model.pb")


def is_registered(uri: str) -> bool:
    """Whether a model is named by a registry, and lies in no file system."""
    return uri.startswith((MLFLOW, HUGGING_FACE))


def registered_model(uri: str, folder: Path) -> Path:
    """The registered model's bundle, file or SavedModel folder, downloaded into ``folder``.

    MLflow looks where ``MLFLOW_TRACKING_URI`` and ``MLFLOW_REGISTRY_URI`` say. Raises
    :class:`InvalidModelError` for a name, version or alias that is not there, for a model of
    another flavour, and for names of Hugging Face's, which have to be exported first;
    :class:`MissingDependencyError` without MLflow.
    """
    if uri.startswith(HUGGING_FACE):
        name = uri.removeprefix(HUGGING_FACE).strip("/")
        if not name:
            raise InvalidModelError(f"{uri!r} names no model, as hf:google/vit-base-patch16-224")
        place = name.rsplit("/", 1)[-1]
        raise InvalidModelError(
            f"{uri} is a name at Hugging Face, where models are not downloaded from. "
            f"{hugging_face.export_line(name, place)}, and give the folder {place}"
        )
    return _model_in(_downloaded(uri, folder), uri)


def registered_name(uri: str) -> str:
    """The name without its alias or version.

    >>> registered_name("models:/cats@live"), registered_name("models:/cats/3")
    ('cats', 'cats')
    """
    name = uri.partition(":")[2].strip("/")
    return name.rpartition("@")[0] or name.rpartition("/")[0] or name


def registered_version(uri: str) -> str:
    """The version that an alias stands for now, or that the name itself gives.

    Raises ``OSError`` where the registry does not say.
    """
    name, alias_sign, alias = uri.removeprefix(MLFLOW).strip("/").rpartition("@")
    if not alias_sign:
        return alias
    client = _mlflow(uri).MlflowClient()
    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except Exception as error:  # MlflowException, or its store's client's
        raise OSError(_first_line(error)) from error


def _mlflow(uri: str) -> Any:
    # It reports to its makers otherwise, where nobody has said that it may, and draws on stderr.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        import mlflow
    except ImportError as error:
        raise MissingDependencyError(
            f"{uri} is in a registry of MLflow's: pip install 'pyspark_vision[mlflow]' ({error})"
        ) from None
    return mlflow


def _downloaded(uri: str, folder: Path) -> Path:
    mlflow = _mlflow(uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    # MlflowException, and of the store that the artifacts lie in, whatever its client raises.
    except Exception as error:
        raise InvalidModelError(
            f"{uri} cannot be had from the registry at {mlflow.get_registry_uri()}: "
            f"{_first_line(error)}. MLFLOW_TRACKING_URI says where it is, and a model is named "
            "models:/NAME@ALIAS or models:/NAME/VERSION"
        ) from None


def _model_in(folder: Path, uri: str) -> Path:
    if not folder.is_dir():
        return folder
    bundles = [place for place in (folder, *sorted(folder.iterdir())) if _is_bundle(place)]
    if bundles:
        return bundles[0]
    if (folder / _MLMODEL).is_file():
        return _of_flavour(folder, uri)
    if (onnx := hugging_face.model_file(folder)) is not None:
        return folder if (folder / CONFIG).is_file() else onnx
    return _only_model(folder, uri)


def _is_bundle(place: Path) -> bool:
    return place.is_dir() and (place / _BUNDLE).is_file()


def _of_flavour(folder: Path, uri: str) -> Path:
    flavours = _flavours(folder / _MLMODEL, uri)
    for name in _FLAVOURS:
        said = flavours.get(name)
        if not isinstance(said, dict):
            continue
        data_path = next((said[key] for key in _DATA_KEYS if isinstance(said.get(key), str)), "")
        place = (folder / data_path).resolve()
        if not place.is_relative_to(folder.resolve()) or not place.exists():
            raise InvalidModelError(
                f"{uri}: its {_MLMODEL} names {data_path!r}, which is not there"
            )
        return _in_one_file(place if place.is_file() else _only_model(place, uri))
    raise InvalidModelError(
        f"{uri} has the flavours {', '.join(sorted(flavours)) or 'none'}; read are "
        f"{', '.join(_FLAVOURS)}, and a bundle that was logged as an artifact"
    )


def _in_one_file(path: Path) -> Path:
    """MLflow keeps an ONNX model's weights in a file beside it."""
    if path.suffix != ".onnx":
        return path
    from pyspark_vision.bundles.readers import onnx

    if not onnx.has_external_data(path):
        return path
    (folder := path.parent / "one_file").mkdir()
    return onnx.as_one_file(path, folder)


def _flavours(file: Path, uri: str) -> Mapping[str, Any]:
    import yaml

    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise InvalidModelError(f"{uri}: its {_MLMODEL} cannot be read: {error}") from None
    flavours = record.get("flavors") if isinstance(record, dict) else None
    return flavours if isinstance(flavours, dict) else {}


def _only_model(folder: Path, uri: str) -> Path:
    for pattern in _MODELS:
        files = sorted(folder.glob(pattern))
        if len(files) > 1:
            names = ", ".join(str(file.relative_to(folder)) for file in files)
            raise InvalidModelError(f"{uri} holds several models: {names}")
        if files:
            return files[0].parent if files[0].name == "saved_model.pb" else files[0]
    listed = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    raise InvalidModelError(f"{uri} holds no model that is read, only {listed}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
