"""A model however a job's flag names it: a bundle, a bare model file, or a known architecture."""

from __future__ import annotations

from pathlib import Path

from pyspark_vision.bundles.readers.keras_applications import (
    application,
    build_application,
    imagenet_labels,
)
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import MODEL_JSON, local_copy, scratch_folder
from pyspark_vision.errors import InvalidModelError

CUSTOM = "custom"


def classifier(model_type: str, uri: str | None, labels: str | None) -> ModelSpec:
    """The classifier that ``--model-type`` and ``--model-gcs-path`` name.

    ``custom``: the bundle, SavedModel, ``.h5``, ``.keras`` or ``.tflite`` at ``uri`` (local or any
    Hadoop URI). A name of ``keras.applications``: the model at ``uri`` with the preprocessing of
    that family, or without ``uri`` the architecture with its ImageNet weights. ``labels``: a label
    file for a model without its own. Raises :class:`InvalidModelError`.
    """
    app = application(model_type)
    if app is None and model_type != CUSTOM:
        raise InvalidModelError(
            f"--model-type {model_type!r}: choose {CUSTOM}, or a name of keras.applications "
            "(mobilenet_v2, resnet50, vgg16, …)"
        )
    if app is None and uri is None:
        raise InvalidModelError(f"--model-type {CUSTOM} needs --model-gcs-path: where the model is")
    settings = {"task": "classify", **({"labels": labels} if labels else {})}
    if app is not None:
        settings |= {"normalization": app.normalization, "color_order": app.color_order}
    if uri is None:
        folder = scratch_folder()
        settings["labels"] = str(imagenet_labels(folder, labels))
        return ModelSpec.inspect(build_application(model_type, folder), **settings)
    path = local_copy(uri)
    if (path / MODEL_JSON).is_file() or path.suffix == ".zip":
        return ModelSpec.load(path)
    if not path.exists():
        raise InvalidModelError(f"no model at {uri}")
    try:
        return ModelSpec.inspect(Path(path), **settings)
    except OSError as error:
        raise InvalidModelError(f"{uri} cannot be read: {error}") from error
