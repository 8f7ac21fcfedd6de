"""A model file -> a ModelSpec: what the file says is taken, what it leaves open is said.

Three ends: *known*, where the format carries it or the outputs leave no other reading; *proposed*,
where something that changes answers is a guess, which is used only with the user's word; *refused*,
where no reading fits. What decides, in this order: the caller's fields; what the file says
(operators, metadata, labels inside it, tensor names); which of the readings of its outputs
(:mod:`readings`) a trial run on drawn pictures leaves (:mod:`plausibility`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.bundles import model_folders
from pyspark_vision.bundles.fit import check_fits, check_outputs, image_input
from pyspark_vision.bundles.labels import Labels
from pyspark_vision.bundles.model_source import (
    is_other_size,
    model_file,
    read_model,
    with_open_sides,
)
from pyspark_vision.bundles.proposal import plausibility
from pyspark_vision.bundles.proposal.anchor_file import read_anchors
from pyspark_vision.bundles.proposal.candidates import candidates_of, shapes_of
from pyspark_vision.bundles.proposal.class_labels import labels_of, with_labels
from pyspark_vision.bundles.proposal.fields import fields_of, input_fields
from pyspark_vision.bundles.proposal.guesses import Proposal, guessed
from pyspark_vision.bundles.proposal.reading import COMPUTED_COORDINATES, Reading
from pyspark_vision.bundles.proposal.trial import (
    NoAxisOfPicturesError,
    trial_hw,
    trial_pictures,
    trial_runs,
)
from pyspark_vision.bundles.readers import hugging_face, task_archive
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.bundles.spec_choices import DUAL_ENCODER, TASKS
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.models.model_files import sha256_of


def inspect_model(
    path: str | Path,
    task: str | None = None,
    labels: str | Path | Sequence[str] | Mapping[int, str] | None = None,
    *,
    outputs: Mapping[str, str] | None = None,
    signature: str | None = None,
    layer: str | None = None,
    member: str | None = None,
    accept: bool = False,
    **overrides: Any,
) -> ModelSpec:
    """Read a model whose meaning is known, and give its spec; use it at once, or save a bundle.

    - ``path``: a .tflite, .onnx, .keras, .h5 or .hdf5 file, MediaPipe's .task, a frozen .pb, a
      SavedModel folder, a folder of Hugging Face's or timm's with an .onnx file, or a folder of
      several: a text reader's or a dual encoder's.
    - ``task``: ``classify | detect | embed | segment | keypoints | ocr | dual_encoder``; by the
      outputs if not given.
    - ``labels``: a label file (see :mod:`labels`), a list, or ``{class_id: label}``; for a text
      reader, its dictionary.
    - ``outputs``: role -> tensor name (``{"scores": "logits"}``).
    - ``signature``: the one to run of a SavedModel; ``layer``: the one of a Keras model that gives
      embeddings; ``member``: the model in a .task file that has several.
    - ``accept``: take what is only proposed, too.
    - any field of :class:`ModelSpec`, such as ``resize="letterbox"`` or ``box_format="xyxy"``;
      ``anchors`` may be a file (:mod:`anchor_file`).

    Raises :class:`InvalidModelError` for a file that is not there, cannot be read or run, is
    refused (Lambda layers, pickles), has several or no image inputs, or whose labels are too few;
    and, without ``accept``, for one that leaves open what changes its answers: the error says what
    is proposed, and which fields settle it. :func:`propose_model` gives that as a value.
    """
    chosen = {"signature": signature, "layer": layer, "member": member}
    proposal = propose_model(path, task, labels, outputs=outputs, **chosen, **overrides)
    if proposal.open_fields and not accept:
        raise InvalidModelError(
            f"{path}: {proposal.question()}. Give these fields, or accept=True if the proposal is "
            "right"
        )
    return proposal.spec


def propose_model(
    path: str | Path,
    task: str | None = None,
    labels: str | Path | Sequence[str] | Mapping[int, str] | None = None,
    *,
    outputs: Mapping[str, str] | None = None,
    signature: str | None = None,
    layer: str | None = None,
    member: str | None = None,
    **overrides: Any,
) -> Proposal:
    """What :func:`inspect_model` gives, with what the spec rests on and the guesses in it."""
    place = Path(path).absolute()
    kind = model_folders.kind_of(place)
    if kind == DUAL_ENCODER and task == "embed":
        kind = None  # its image tower alone
    file = place if kind is not None else model_file(place, member)
    if task is not None and task not in TASKS:
        raise InvalidModelError(f"task={task!r} is not one of {', '.join(TASKS)}")
    _check_fields(overrides, file)
    overrides = {**_implied(overrides), **overrides}
    if isinstance(overrides.get("anchors"), (str, Path)):
        overrides["anchors"] = read_anchors(overrides["anchors"])
    if kind is not None:
        return model_folders.propose_folder(kind, file, task, labels, outputs, overrides)
    contents = read_model(file, signature=signature, layer=layer)
    image = image_input(contents, file)
    if contents.format == "onnx" and is_other_size(image, overrides.get("input_hw")):
        file = with_open_sides(file)
        contents = read_model(file)
        image = image_input(contents, file)
    named = labels_of(labels, contents)
    hw = overrides.get("input_hw") or dict(contents.fields).get("input_hw")
    contents = _measured(contents, image, file, hw)
    candidates = candidates_of(contents, image, file, task, outputs, hw, named)
    common = {
        "name": overrides.pop("name", None) or _name(place, file),
        "source": overrides.pop("source", str(path)),
        "root": str(file.parent),
        "labels": named,
    }
    sha256 = sha256_of(file)
    said = {*overrides, *dict(contents.fields)}
    plausible: list[tuple[Reading, ModelSpec, list[dict[str, Any]]]] = []
    problems = []
    for reading in candidates:
        check_outputs(reading.roles, contents, file)
        fields = fields_of(contents, image, reading, file, overrides)
        record = ModelFile(
            engine=contents.engine,
            format=contents.format,
            path=file.name,
            sha256=sha256,
            input_tensor=image.name,
            outputs=reading.roles,
            signature=contents.signature,
            layer=contents.layer,
        )
        own = {"labels": reading.labels} if reading.labels and not named else {}
        spec = ModelSpec(
            **{"task": reading.task, "files": (record,), **common, **own, **fields, **overrides}
        )
        spec = _pooled(spec, contents, said)
        spec = with_labels(spec, contents, overrides)
        if not plausible:  # of the reading that counts: its message names what does not fit
            check_fits(spec, contents)
        try:
            runs = _tried(spec, contents)
        except NoAxisOfPicturesError as error:
            problems.append(f"as {_shown(reading)}, {error}")
            continue
        why_not = plausibility.why_not(spec, runs) or (reading.check and reading.check(runs))
        if why_not is None:
            plausible.append((reading, spec, plausibility.parts_of(spec, runs)))
            if reading.is_certain:
                break
        else:
            problems.append(f"as {_shown(reading)}, {why_not}")
    if not plausible:
        raise InvalidModelError(
            f"{file}: its outputs ({shapes_of(contents.outputs)}) cannot be read: "
            f"{'; '.join(problems) or 'no layout that is known has such outputs'}. Name the task "
            "and the outputs, as task='detect', outputs={'boxes': 'NAME', 'scores': 'NAME'}; or "
            "export the model with one of the supported outputs (docs/models.md)"
        )
    reading, spec, parts = plausible[0]
    others = [other for other, _, _ in plausible[1:]]
    given = {
        *said,
        *reading.settled,
        *(f"outputs.{role}" for role in outputs or ()),
        *(["task"] if outputs or layer or (task and reading.doubt) else []),
        *(["labels"] if labels is not None else []),
    }
    if spec.background_class is not None:
        given.add("background_class")
    spec = _by_values(spec, contents, parts, {*said, *({"score_kind"} & {*reading.fields})})
    # Ultralytics' boxes are in pixels of ONNX's input, whatever they are in TFLite's.
    is_said = contents.task is not None and contents.format == "onnx"
    if spec.task == "detect" and not is_said and plausibility.coordinates(parts) is None:
        why = "the model found nothing in the drawn pictures, which would show it"
        contents = replace(contents, unsaid=(*contents.unsaid, ("coordinates", why)))
    if _says_classes(spec, parts, named):
        given.add("task")
    evidence = contents.evidence or hugging_face.lacking(place)
    why = "; ".join(dict.fromkeys(filter(None, (reading.why, evidence))))
    is_share = plausibility.are_shares(parts, spec.task)
    guesses = guessed(contents, spec, reading, others, given, is_share=is_share)
    return Proposal(spec, why, guesses)


def _tried(spec: ModelSpec, contents: ModelFound) -> list[dict[str, Any]]:
    """The model's answers to the drawn pictures; where it has none, what it was taken for."""
    try:
        return trial_runs(spec, trial_pictures(trial_hw(spec)))
    except NoAxisOfPicturesError:  # another reading may have none
        raise
    except InvalidModelError as error:
        taken_for = f"; {contents.evidence}" if contents.evidence else ""
        raise InvalidModelError(f"{error}{taken_for}") from error


def _measured(
    contents: ModelFound, image: TensorFound, file: Path, hw: tuple[int, int] | None
) -> ModelFound:
    """Outputs that leave all their sides open (Ultralytics' ``dynamic=True``), with what they are.

    A run on a blank picture tells; where that fails, or gives nothing, they stay as they are.
    """
    is_open = [len(tensor.shape) == 3 and max(tensor.shape[1:]) < 0 for tensor in contents.outputs]
    if not any(is_open) or contents.roles:
        return contents
    fields = input_fields(image, contents, "detect", file)
    if hw and -1 in image.shape[1:]:
        fields["input_hw"] = hw
    measured = []
    for tensor, leaves_open in zip(contents.outputs, is_open, strict=True):
        record = ModelFile(
            engine=contents.engine,
            format=contents.format,
            path=file.name,
            sha256="",
            input_tensor=image.name,
            outputs=(("embedding", tensor.name),),
            signature=contents.signature,
        )
        spec = ModelSpec(name="m", task="embed", files=(record,), root=str(file.parent), **fields)
        if leaves_open:
            try:
                (run,) = trial_runs(spec, [np.full((*spec.input_hw, 3), 128, np.uint8)])
            except InvalidModelError:
                return contents
            sides = run["embedding"].shape
            if len(sides) == len(tensor.shape) - 1 and 0 not in sides:
                tensor = replace(tensor, shape=(tensor.shape[0], *sides))
        measured.append(tensor)
    return replace(contents, outputs=tuple(measured))


def _pooled(spec: ModelSpec, contents: ModelFound, said: Collection[str]) -> ModelSpec:
    """An output of tokens or places needs a pooling: the class token, or the mean of the map."""
    if spec.task != "embed" or "pooling" in said:
        return spec
    name = dict(spec.file.outputs)["embedding"]
    shape = next(tensor.shape[1:] for tensor in contents.outputs if tensor.name == name)
    if sum(size != 1 for size in shape) < 2:
        return spec
    return spec.with_options(pooling="map" if len(shape) == 3 else "cls")


def _by_values(
    spec: ModelSpec,
    contents: ModelFound,
    parts: Sequence[Mapping[str, Any]],
    settled: Collection[str],
) -> ModelSpec:
    """The fields that only values tell."""
    changes: dict[str, Any] = {}
    has_scores = {"scores", "class_scores", "pixel_scores"} & set(parts[0])
    if spec.task != "embed" and has_scores and "score_kind" not in settled:
        changes["score_kind"] = plausibility.score_kind(parts, spec.task)
        if spec.task == "classify" and dict(spec.file.outputs)["scores"] in contents.linear:
            changes["score_kind"] = "binary_logit" if parts[0]["scores"].size == 1 else "logit"
    says_unit = {role for role, _ in spec.file.outputs} & COMPUTED_COORDINATES
    if "boxes" in parts[0] and "coordinates" not in settled and not says_unit:
        by_values = plausibility.coordinates(parts)
        if by_values is not None:
            changes["coordinates"] = by_values
    is_open = spec.background_class is None and "background_class" not in settled
    if spec.task == "detect" and is_open:
        changes["background_class"] = plausibility.background_class(parts)
    return replace(spec, **changes)


def _says_classes(spec: ModelSpec, parts: Sequence[Mapping[str, Any]], labels: Labels) -> bool:
    """Whether a vector is one of classes: as many as labels, or a softmax."""
    if spec.task != "classify":
        return False
    size = parts[0]["scores"].size
    as_many = bool(labels) and abs(size - len(labels)) <= 1
    return as_many or plausibility.add_up_to_one(parts)


def _name(place: Path, file: Path) -> str:
    """The model's name: the user's file or folder, or the model in a .task file."""
    is_member = place.suffix.lower() == task_archive.SUFFIX
    return file.stem if is_member else place.name.removesuffix(file.suffix)


def _shown(reading: Reading) -> str:
    return f"{reading.task} ({', '.join(role for role, _ in reading.roles)})"


def _check_fields(overrides: Mapping[str, Any], file: Path) -> None:
    fields = ModelSpec.__dataclass_fields__
    if unknown := sorted(set(overrides) - set(fields)):
        raise InvalidModelError(
            f"{file}: a spec has no field {', '.join(unknown)}; the fields are {', '.join(fields)}"
        )


def _implied(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What fields that were given say of others: a mean is one of ``normalization="values"``."""
    implied = {}
    if {"mean", "std", "pixel_scale"} & set(overrides):
        implied["normalization"] = "values"
    if overrides.get("resize_edge") is not None:
        implied["resize"] = "shortest_edge"
    return implied
