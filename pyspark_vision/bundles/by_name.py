"""A model however a job names it: a bundle, a bare model file, or a known architecture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.proposal.guesses import Proposal
from pyspark_vision.bundles.readers import hugging_face
from pyspark_vision.bundles.readers.keras_applications import (
    application,
    build_application,
    imagenet_labels,
)
from pyspark_vision.bundles.registry import is_registered, registered_name
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import (
    MODEL_JSON,
    is_on_this_machine,
    load_bundle,
    local_copy,
)
from pyspark_vision.errors import InvalidModelError

CUSTOM = "custom"

# The Dataproc classifier's word for it; keras.applications gives the name to the first version.
_OTHER_NAMES = {"mobilenet": "mobilenet_v2"}

# What runs models of a task.
_JOBS = {"classify": "stream_classify", "embed": "batch_embed", "dual_encoder": "batch_embed"}
_OTHER_JOB = "stream_detect"

_log = logging.getLogger(__name__)


def model(
    uri: str,
    task: str | Sequence[str] | None = None,
    labels: str | None = None,
    **settings: Any,
) -> ModelSpec:
    """The bundle or bare model file at ``uri`` (local or any Hadoop URI), for ``task`` or any.

    Where ``task`` names several, a bare file is for the one that its outputs say, or the first.

    A bundle says itself how it is run. For a file (SavedModel folder, ``.keras``, ``.h5``, frozen
    ``.pb``, ``.tflite``, ``.onnx``) a spec is proposed: ``labels`` is its label file, ``settings``
    are fields of the spec, and a warning in the log says which other fields are guesses.

    Raises :class:`InvalidModelError` for a model that is not there, cannot be read or is of another
    task, and for ``labels`` of a bundle, which has its own.
    """
    tasks = (task,) if isinstance(task, str) else tuple(task or ())
    path = local_copy(uri)
    here = uri if is_on_this_machine(uri) else str(path)
    try:
        if not path.exists():
            raise InvalidModelError(
                f"no model at {uri}: give a bundle (a folder or .zip with {MODEL_JSON}), or a file "
                "that bundle inspect reads (.tflite, .onnx, .keras, .h5, .pb, SavedModel)"
            )
        if _is_bundle(path):
            if labels is not None:
                raise InvalidModelError(
                    f"{uri} is a bundle, which says its labels itself: leave out the label file "
                    f"{labels}, or build the bundle anew with it"
                )
            spec = load_bundle(here)
        else:
            spec = _inspected(path, uri, tasks, labels, settings)
    except OSError as error:
        raise InvalidModelError(f"{uri} cannot be read: {error}") from error
    except InvalidModelError as error:
        if str(path) in uri or str(path) not in str(error):
            raise
        raise InvalidModelError(str(error).replace(str(path), uri)) from error
    # Its image side is a model for embeddings.
    serves = "embed" if spec.task == "dual_encoder" else spec.task
    if tasks and not {spec.task, serves} & set(tasks):
        raise InvalidModelError(
            f"{uri}: the task of model {spec.name!r} is {spec.task!r}; this job needs a model for "
            f"{' or '.join(map(repr, tasks))}. jobs/{_JOBS.get(spec.task, _OTHER_JOB)}.py runs it"
        )
    return spec


def classifier(model_type: str, uri: str | None, labels: str | None) -> ModelSpec:
    """The classifier that ``--model-type`` and ``--model-gcs-path`` name.

    ``custom``: the model at ``uri`` (:func:`model`). A name of ``keras.applications``: the model at
    ``uri`` with the preprocessing of that family, or without ``uri`` the architecture with its
    ImageNet weights; ``mobilenet`` is MobileNetV2. ``labels``: a label file for a model without its
    own. Raises :class:`InvalidModelError`.
    """
    asked_for, model_type = model_type, _OTHER_NAMES.get(model_type.lower(), model_type)
    app = application(model_type)
    if app is None and model_type != CUSTOM:
        raise InvalidModelError(
            f"`model_type` {model_type!r}: choose {CUSTOM}, or a name of keras.applications "
            "(mobilenet_v2, resnet50, vgg16, …)"
        )
    if app is None and uri is None:
        raise InvalidModelError(f"`model_type` {CUSTOM} needs `model_gcs_path`: where the model is")
    settings: dict[str, Any] = {}
    if app is not None:
        settings = {"normalization": app.normalization, "color_order": app.color_order}
    if uri is not None:
        return model(uri, "classify", labels, **settings)
    folder = scratch_folder()
    settings["labels"] = str(imagenet_labels(folder, labels))
    spec = ModelSpec.inspect(build_application(model_type, folder), task="classify", **settings)
    # As it was asked for: the old classifier's model_name.
    return spec.with_options(name=asked_for)


def _is_bundle(path: Path) -> bool:
    if (path / MODEL_JSON).is_file() or path.suffix == ".zip":
        return True
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return False
    return hugging_face.model_file(path) is None


def _inspected(
    path: Path, uri: str, tasks: Sequence[str], labels: str | None, settings: dict[str, Any]
) -> ModelSpec:
    if is_registered(uri):
        settings = {"name": registered_name(uri), **settings}
    proposal = _by_its_outputs(path, uri, tasks, labels, settings) if len(tasks) > 1 else None
    try:
        if proposal is None:
            task = tasks[0] if tasks else None
            proposal = propose_model(path, task, labels, source=uri, **settings)
    except InvalidModelError as error:
        # It speaks of parameters, which a bundle keeps and a job does not have.
        hint = f". {_how_to_settle(uri)}" if "=" in str(error) else ""
        raise InvalidModelError(f"{error}{hint}") from error
    if proposal.open_fields:
        raise InvalidModelError(
            f"{uri} is a bare file, and only a proposal: {proposal.question()}. "
            f"{_how_to_settle(uri)}"
        )
    return proposal.spec.with_options(on_every_node=uri.startswith("local:"))


def _by_its_outputs(
    path: Path, uri: str, tasks: Sequence[str], labels: str | None, settings: dict[str, Any]
) -> Proposal | None:
    """What is proposed without a task, if that is known and of one of these; else nothing."""
    try:
        proposal = propose_model(path, None, labels, source=uri, **settings)
    except InvalidModelError:
        return None
    return proposal if proposal.spec.task in tasks and not proposal.open_fields else None


def _how_to_settle(uri: str) -> str:
    """For what a bare file cannot say."""
    return (
        f"`pyspark-vision bundle inspect {uri}` shows how it is read; `pyspark-vision "
        "bundle build` makes a bundle of it, and takes what the file does not say"
    )
