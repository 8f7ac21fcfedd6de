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
from pyspark_vision.bundles.foreign_formats import why_no_folder, why_not_read
from pyspark_vision.bundles.labels import NO_LABEL, Labels, read_labels
from pyspark_vision.bundles.proposal import plausibility
from pyspark_vision.bundles.proposal.anchor_file import read_anchors
from pyspark_vision.bundles.proposal.grid_readings import grid_readings
from pyspark_vision.bundles.proposal.guesses import Proposal, guessed
from pyspark_vision.bundles.proposal.keypoint_readings import keypoint_readings
from pyspark_vision.bundles.proposal.mask_readings import mask_readings, masked_boxes
from pyspark_vision.bundles.proposal.readings import (
    COMPUTED_COORDINATES,
    CONVENTIONS,
    Reading,
    class_count,
    readings,
)
from pyspark_vision.bundles.proposal.small_readings import small_readings
from pyspark_vision.bundles.proposal.trial import (
    NoAxisOfPicturesError,
    trial_hw,
    trial_pictures,
    trial_runs,
)
from pyspark_vision.bundles.readers import hugging_face, task_archive
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.keras import family_of
from pyspark_vision.bundles.readers.preparation import of_pixels
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.spec import DTYPES, DUAL_ENCODER, ROLES, TASKS, ModelFile, ModelSpec
from pyspark_vision.bundles.text_readers import check_text_reader
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.models.model_files import sha256_of
from pyspark_vision.executor.outputs.heads import EmbedOptions, embed
from pyspark_vision.executor.outputs.poses import columns_of_points
from pyspark_vision.executor.outputs.raw_heads import LAYOUTS, TABLES
from pyspark_vision.executor.outputs.segments import channel_axis

# Where a model leaves its input size open: the usual one of ImageNet classifiers, and of
# detectors (TensorFlow's resize again inside), class maps (SegFormer) and MoveNet.
_OPEN_INPUT_HW = {
    "classify": (224, 224),
    "embed": (224, 224),
    "detect": (640, 640),
    "segment": (512, 512),
    "keypoints": (256, 256),
}
# What a task's outputs are, and how to name them by hand.
_WANTED_OUTPUTS = {"segment": "a map of classes, or boxes with masks,", "keypoints": "points"}
_OUTPUT_ROLES = {
    "segment": (
        "'pixel_scores': …",
        "'pixel_classes': …",
        "'yolov8': …, 'prototypes': …",
        "'boxes': …, 'scores': …, 'classes': …, 'masks': …",
    ),
    "keypoints": ("'keypoints': …, 'presence': …", "'multipose': …", "'yolov8': …"),
}
_BACKGROUND = ("background", "__background__", "_background_", "bg")

# Detector ids of TensorFlow's Object Detection API start at 1 (its exporter adds one).
_ONE_BASED_NAME = "detection_classes"

# What a quantized input's whole range stands for, by the normalization that it comes from.
_QUANTIZED_RANGES = {"none": (0.0, 255.0), "unit": (0.0, 1.0), "tf": (-1.0, 1.0)}
_QUANTIZED_ROUNDING = 0.02
# By how many levels the ends of 0..255 may miss those of the input: a file's scale is rounded.
_ROUNDED_LEVELS = 1.5

# What says a normalization.
_VALUES = ("normalization", "mean", "std", "pixel_scale")
# What goes with a field's value.
_BELONGING = {
    "resize": (
        *("resize_edge", "stride", "crop_rounding"),
        *("letterbox_anchor", "letterbox_rounding"),
    ),
    "normalization": ("mean", "std", "pixel_scale"),
}


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
    - ``labels``: a label file (see :mod:`labels`), a list, or ``{class_id: label}``; of a text
      reader its dictionary.
    - ``outputs``: role -> tensor name (``{"scores": "logits"}``).
    - ``signature``: of a SavedModel; ``layer``: of a Keras model, for embeddings; ``member``: the
      model in a .task file that has several.
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
    """As :func:`inspect_model`, with what the spec rests on and the guesses that are in it."""
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
    found = read_model(file, signature=signature, layer=layer)
    image = _image_input(found, file)
    if found.format == "onnx" and _is_other_size(image, overrides.get("input_hw")):
        file = _with_open_sides(file)
        found = read_model(file)
        image = _image_input(found, file)
    named = _labels(labels, found)
    hw = overrides.get("input_hw") or dict(found.fields).get("input_hw")
    found = _measured(found, image, file, hw)
    candidates = _candidates(found, image, file, task, outputs, hw, named)
    common = {
        "name": overrides.pop("name", None) or _name(place, file),
        "source": overrides.pop("source", str(path)),
        "root": str(file.parent),
        "labels": named,
    }
    sha256 = sha256_of(file)
    said = {*overrides, *dict(found.fields)}
    plausible: list[tuple[Reading, ModelSpec, list[dict[str, Any]]]] = []
    problems = []
    for reading in candidates:
        _check_outputs(reading.roles, found, file)
        fields = _fields(found, image, reading, file, overrides)
        record = ModelFile(
            engine=found.engine,
            format=found.format,
            path=file.name,
            sha256=sha256,
            input_tensor=image.name,
            outputs=reading.roles,
            signature=found.signature,
            layer=found.layer,
        )
        own = {"labels": reading.labels} if reading.labels and not named else {}
        spec = ModelSpec(
            **{"task": reading.task, "files": (record,), **common, **own, **fields, **overrides}
        )
        spec = _pooled(spec, found, said)
        spec = _guess_labels(spec, found, overrides)
        if not plausible:  # of the reading that counts: its message names what does not fit
            check_fits(spec, found)
        try:
            runs = _tried(spec, found)
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
            f"{file}: its outputs ({_described(found.outputs)}) cannot be read: "
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
    spec = _by_values(spec, found, parts, {*said, *({"score_kind"} & {*reading.fields})})
    # Ultralytics' boxes are in pixels of ONNX's input, whatever they are in TFLite's.
    is_said = found.task is not None and found.format == "onnx"
    if spec.task == "detect" and not is_said and plausibility.coordinates(parts) is None:
        why = "the model found nothing in the drawn pictures, which would show it"
        found = replace(found, unsaid=(*found.unsaid, ("coordinates", why)))
    if _says_classes(spec, parts, named):
        given.add("task")
    evidence = found.evidence or hugging_face.lacking(place)
    why = "; ".join(dict.fromkeys(filter(None, (reading.why, evidence))))
    is_share = plausibility.are_shares(parts, spec.task)
    guesses = guessed(found, spec, reading, others, given, is_share=is_share)
    return Proposal(spec, why, guesses)


def _tried(spec: ModelSpec, found: ModelFound) -> list[dict[str, Any]]:
    """The model's answers to the drawn pictures; where it has none, what it was taken for."""
    try:
        return trial_runs(spec, trial_pictures(trial_hw(spec)))
    except NoAxisOfPicturesError:  # another reading may have none
        raise
    except InvalidModelError as error:
        taken_for = f"; {found.evidence}" if found.evidence else ""
        raise InvalidModelError(f"{error}{taken_for}") from error


def _measured(
    found: ModelFound, image: TensorFound, file: Path, hw: tuple[int, int] | None
) -> ModelFound:
    """Outputs that leave all their sides open (Ultralytics' ``dynamic=True``), with what they are.

    A run on a blank picture tells; where that fails, or gives nothing, they stay as they are.
    """
    is_open = [len(tensor.shape) == 3 and max(tensor.shape[1:]) < 0 for tensor in found.outputs]
    if not any(is_open) or found.roles:
        return found
    fields = _guess_input(image, found, "detect", file)
    if hw and -1 in image.shape[1:]:
        fields["input_hw"] = hw
    measured = []
    for tensor, leaves_open in zip(found.outputs, is_open, strict=True):
        record = ModelFile(
            engine=found.engine,
            format=found.format,
            path=file.name,
            sha256="",
            input_tensor=image.name,
            outputs=(("embedding", tensor.name),),
            signature=found.signature,
        )
        spec = ModelSpec(name="m", task="embed", files=(record,), root=str(file.parent), **fields)
        if leaves_open:
            try:
                (run,) = trial_runs(spec, [np.full((*spec.input_hw, 3), 128, np.uint8)])
            except InvalidModelError:
                return found
            sides = run["embedding"].shape
            if len(sides) == len(tensor.shape) - 1 and 0 not in sides:
                tensor = replace(tensor, shape=(tensor.shape[0], *sides))
        measured.append(tensor)
    return replace(found, outputs=tuple(measured))


def _candidates(
    found: ModelFound,
    image: TensorFound,
    file: Path,
    task: str | None,
    outputs: Mapping[str, str] | None,
    hw: tuple[int, int] | None,
    labels: Labels,
) -> list[Reading]:
    """The readings to try: the caller's alone, where the caller has named outputs."""
    if outputs:
        roles = tuple(outputs.items())
        of_roles = next((t for t in TASKS if {*outputs} <= {*ROLES[t]}), "detect")
        conventions = {k: v for r in outputs for k, v in CONVENTIONS.get(r, {}).items()}
        # Exports of DETR's family differ in how pixels are scaled; the others' layouts do not.
        said = {"box_format"} if any(r.startswith("detr") for r in outputs) else {*conventions}
        settled = tuple(said & {"box_format", "normalization"})
        return [Reading(task or of_roles, roles, "as named", conventions, True, settled)]
    if _reads_lines(found, image):
        what = (
            f"its metadata has {found.characters:,} characters"
            if found.characters
            else "a picture of a fixed height and any width"
        )
        raise InvalidModelError(
            f"{file}: {what}, and an output of steps ({_described(found.outputs)}): it reads a "
            "line of text. read_text reads with it, in a folder with the detector that finds the "
            "lines (docs/text.md)"
        )
    size = hw or _shape_hw(image) or _OPEN_INPUT_HW["detect"]
    classes = labels[-1][0] + 1 if labels else None
    known = list(readings(found, size, classes))
    if not (found.roles and found.task):  # else the file says what its outputs are
        known = [
            *keypoint_readings(found, size, classes),
            *mask_readings(found, size, classes),
            *grid_readings(found, size),
            *small_readings(found, size, classes),
            *known,
            *masked_boxes(found),
        ]
    wanted = task or found.task
    fitting = [reading for reading in known if wanted in (None, reading.task)]
    if not fitting:
        described = _described(found.outputs)
        if wanted in ("classify", "embed") and len(found.outputs) > 1:
            raise InvalidModelError(
                f"{file} has several outputs ({described}); name the one with "
                f"outputs={{{ROLES[wanted][0]!r}: 'NAME'}}"
            )
        if wanted == "detect":
            raise InvalidModelError(
                f"{file}: cannot tell boxes and scores among the outputs ({described}); name them "
                "with outputs={'boxes': …, 'scores': …, 'classes': …, 'count': …}, class_scores "
                f"for scores of each class, or one of {', '.join(LAYOUTS)}"
            )
        if wanted in ("segment", "keypoints"):
            raise InvalidModelError(
                f"{file}: cannot tell {_WANTED_OUTPUTS[wanted]} among the outputs ({described}); "
                "name them with "
                f"{' or '.join('outputs={' + roles + '}' for roles in _OUTPUT_ROLES[wanted])}"
            )
        raise InvalidModelError(
            f"{file}: task={wanted!r} does not fit the outputs ({described}); name the output "
            f"with outputs={{{ROLES[wanted or 'classify'][0]!r}: 'NAME'}}"
            if wanted
            else f"{file} has outputs that no known reading has ({described}); name task and "
            "outputs, as task='classify', outputs={'scores': 'NAME'}"
        )
    # Rows of seven numbers are as well the scores of seven classes.
    is_vector = all(len(tensor.shape) == 2 for tensor in found.outputs)
    is_detector = known[0].task == "detect" and known[0].is_certain and not is_vector
    if task == "classify" and is_detector:
        raise InvalidModelError(
            f"{file}: task='classify' does not fit, for the outputs ({_described(found.outputs)}) "
            "are a detector's; say task='detect', or name the output of the classes with "
            "outputs={'scores': 'NAME'}"
        )
    return fitting


def _fields(
    found: ModelFound,
    image: TensorFound,
    reading: Reading,
    file: Path,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """What the shapes say, then the layout's conventions, then the file, then its quantization."""
    fields = _guess_input(image, found, reading.task, file)
    said = dict(found.fields)
    if reading.task != "keypoints":
        for name in ("keypoint_names", "keypoint_format"):
            said.pop(name, None)
    if -1 not in image.shape[1:]:
        said.pop("input_hw", None)  # the shape says it, and knows better
    for field, of_it in _BELONGING.items():
        if field in overrides:  # what was said of another value has no meaning for this one
            said = {name: value for name, value in said.items() if name not in (field, *of_it)}
    if _is_without_batch(found, image, reading):
        fields["batched_outputs"] = False
    fields |= dict(reading.fields) | said
    if fields.get("batched_outputs") is False:
        fields["fixed_batch"] = 1
    if not image.dtype.startswith("float"):
        values = {name: fields.pop(name) for name in _VALUES if name in said}
        fields["normalization"] = "none"
        if found.quantization is not None:
            fields |= _quantized(found.quantization, image.dtype, overrides, values)
    return fields


def _is_without_batch(found: ModelFound, image: TensorFound, reading: Reading) -> bool:
    """Whether outputs begin with something else than pictures, as scores (C,) that were squeezed.

    Of a detector each layout says so itself.
    """
    named = {name for _, name in reading.roles}
    shapes = [tensor.shape for tensor in found.outputs if tensor.name in named and tensor.shape]
    one_picture = image.shape[0] in (-1, 1)
    # Pictures come second in the steps of a text line, (T, 1, C).
    is_of_steps = any(len(shape) == 3 and shape[1] == 1 for shape in shapes)
    is_whole = bool(shapes) and min(shape[0] for shape in shapes) > 1 and not is_of_steps
    return reading.task != "detect" and one_picture and is_whole


def _quantized(
    quantization: tuple[float, int],
    dtype: str,
    overrides: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Scale and zero point, where the pixel itself is not what the input takes.

    ``values``: the normalization that the file says, if it does.
    """
    scale, zero_point = quantization
    limits = np.iinfo(dtype)
    if values and "normalization" not in overrides:
        mean, std = map(np.array, of_pixels(values))
        ends = np.array([(pixel - mean) / std / scale + zero_point for pixel in (0, 255)])
        off = np.abs(ends - np.array([[limits.min], [limits.max]]))
        if off.max() < _ROUNDED_LEVELS:
            return {}
        return {**values, "input_scale": scale, "input_zero_point": zero_point}
    low, high = (scale * (limit - zero_point) for limit in (limits.min, limits.max))
    for name, (from_, to) in _QUANTIZED_RANGES.items():
        rounding = _QUANTIZED_ROUNDING * (to - from_)
        is_whole_range = abs(low - from_) <= rounding and abs(high - to) <= rounding
        if is_whole_range and overrides.get("normalization", name) == name:
            return {}
    return {"input_scale": scale, "input_zero_point": zero_point}


def _pooled(spec: ModelSpec, found: ModelFound, said: Collection[str]) -> ModelSpec:
    """An output of tokens or places needs a pooling: the class token, or the mean of the map."""
    if spec.task != "embed" or "pooling" in said:
        return spec
    name = dict(spec.file.outputs)["embedding"]
    shape = next(tensor.shape[1:] for tensor in found.outputs if tensor.name == name)
    if sum(size != 1 for size in shape) < 2:
        return spec
    return spec.with_options(pooling="map" if len(shape) == 3 else "cls")


def _by_values(
    spec: ModelSpec, found: ModelFound, parts: Sequence[Mapping[str, Any]], settled: Collection[str]
) -> ModelSpec:
    """The fields that only values tell."""
    changes: dict[str, Any] = {}
    has_scores = {"scores", "class_scores", "pixel_scores"} & set(parts[0])
    if spec.task != "embed" and has_scores and "score_kind" not in settled:
        changes["score_kind"] = plausibility.score_kind(parts, spec.task)
        if spec.task == "classify" and dict(spec.file.outputs)["scores"] in found.linear:
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


def _described(tensors: Sequence[TensorFound]) -> str:
    return ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)


def model_file(path: Path, member: str | None = None) -> Path:
    """The file to read of what a user names: a folder's ONNX file, a model of a .task file.

    That is unpacked for this process.
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


def _is_other_size(image: TensorFound, input_hw: Any) -> bool:
    """Whether the user says a size that is not the one a model was exported with."""
    own = _shape_hw(image)
    return own is not None and isinstance(input_hw, tuple) and input_hw != own


def _with_open_sides(file: Path) -> Path:
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


def check_fits(spec: ModelSpec, found: ModelFound | None = None) -> None:
    """Hold a spec against its file's own shapes; raises :class:`InvalidModelError`.

    Input shape and dtype, output names, and that the labels reach as far as the classes do.
    """
    path = Path(spec.path)
    file = spec.file
    if spec.task == "ocr":
        check_text_reader(spec)
        return
    if found is None:
        found = read_model(path, signature=file.signature, layer=file.layer)
    image = _image_input(found, path)
    wanted = spec.input_shape(spec.fixed_batch or -1)
    fits = len(image.shape) == 4 and all(
        has in (-1, wants) or (axis == 0 and wants == -1)
        for axis, (has, wants) in enumerate(zip(image.shape, wanted, strict=True))
    )
    if not fits or image.dtype != spec.input_dtype:
        raise InvalidModelError(
            f"model {spec.name!r}: the spec says input {wanted} {spec.input_dtype} "
            f"({spec.input_layout}), the model has {image.name} {image.shape} {image.dtype}; "
            "correct input_hw, input_layout, color_order or input_dtype"
        )
    _check_outputs(file.outputs, found, path)
    if file.engine == "openvino":  # it has no operators of its users, and not all of LiteRT's
        trial_runs(spec, [np.zeros((*spec.input_hw, 3), np.uint8)])
    classes = _class_count(spec, found)
    if classes is None or not spec.labels:
        return
    last = spec.labels[-1][0]
    needed = classes - 1 + spec.label_offset
    if spec.background_class == classes - 1:
        needed -= 1
    if last < needed:
        raise InvalidModelError(
            f"model {spec.name!r} has {classes} classes, ids up to {needed} with "
            f"label_offset={spec.label_offset}; the label file ends at id {last}. Give the label "
            "file that belongs to this model, or the right label_offset"
        )
    least = needed if spec.background_class != classes - 1 else needed + 1
    if spec.task == "classify" and last > least:
        raise InvalidModelError(
            f"model {spec.name!r} has {classes} classes, ids up to {least} with "
            f"label_offset={spec.label_offset}; the label file has {len(spec.labels)} labels, up "
            f"to id {last}. Give the label file that belongs to this model"
        )


def embedding_length(spec: ModelSpec) -> int:
    """How many numbers ``embed_image`` gives with this model: one trial run tells."""
    (run,) = trial_runs(spec, trial_pictures(trial_hw(spec))[:1])
    return int(embed(spec, run, EmbedOptions(normalize=False)).size)


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


def _shape_hw(image: TensorFound) -> tuple[int, int] | None:
    """Height and width as the input's shape says them, ``None`` where it leaves one open."""
    _, *rest = image.shape
    height, width = rest[:2] if rest[2] in (1, 3) or rest[0] not in (1, 3) else rest[1:]
    return (height, width) if height > 0 and width > 0 else None


def _reads_lines(found: ModelFound, image: TensorFound) -> bool:
    """Whether a model is a recognizer of text lines: of any width, which its steps follow.

    Or one whose metadata says its characters.
    """
    if found.characters:
        return True
    channels_last = image.shape[3] in (1, 3)
    height, width = image.shape[1:3] if channels_last else image.shape[2:]
    shapes = [tensor.shape for tensor in found.outputs]
    is_of_steps = len(shapes) == 1 and len(shapes[0]) == 3 and -1 in shapes[0][:2]
    return height > 0 and width == -1 and is_of_steps and found.task is None


def _image_input(found: ModelFound, path: Path) -> TensorFound:
    described = ", ".join(f"{t.name} {t.shape} {t.dtype}" for t in found.inputs) or "none"
    if len(found.inputs) != 1:
        raise InvalidModelError(
            f"{path} has {len(found.inputs)} inputs ({described}); one image input is supported"
        )
    image = found.inputs[0]
    if len(image.shape) != 4 or image.dtype not in DTYPES:
        raise InvalidModelError(
            f"{path}: the input is {described}; supported is one image batch of four dimensions "
            f"(NHWC or NCHW) in {', '.join(DTYPES)}. Export the model with such an input"
        )
    return image


def _check_outputs(outputs: Sequence[tuple[str, str]], found: ModelFound, path: Path) -> None:
    names = [tensor.name for tensor in found.outputs]
    for role, name in outputs:
        if name not in names:
            raise InvalidModelError(
                f"{path}: no output {name!r} for {role}; the model has {', '.join(names)}"
            )


def _guess_input(image: TensorFound, found: ModelFound, task: str, path: Path) -> dict[str, Any]:
    batch, *rest = image.shape
    channels_last = rest[2] in (1, 3) or rest[0] not in (1, 3)
    if "input_layout" in dict(found.fields):  # where all sides are open
        channels_last = dict(found.fields)["input_layout"] == "NHWC"
    height, width, channels = rest if channels_last else (rest[1], rest[2], rest[0])
    if channels not in (-1, 1, 3):
        raise InvalidModelError(
            f"{path}: the input {image.shape} has {channels} channels, not 1 or 3"
        )
    open_height, open_width = _OPEN_INPUT_HW[task]
    # Names are those of Keras Applications; most models in NCHW come from PyTorch.
    family = found.family or (family_of(path.name) if channels_last else "torch")
    normalization = family if family and image.dtype.startswith("float") else "none"
    if "normalization" in dict(found.fields):  # which says BGR, too, where it is
        normalization = "none"
    gray = channels == 1
    # torchvision's classifiers, and Ultralytics', crop the centre; detectors say otherwise.
    is_torch = found.format == "onnx" and (
        found.family == "unit" or (channels != 1 and not channels_last)
    )
    return {
        "resize": "center_crop" if is_torch and task in ("classify", "embed") else "stretch",
        "input_hw": (
            height if height > 0 else open_height,
            width if width > 0 else open_width,
        ),
        "input_layout": "NHWC" if channels_last else "NCHW",
        "input_dtype": image.dtype,
        "fixed_batch": batch if batch > 0 else None,
        "color_order": "gray" if gray else "bgr" if normalization == "caffe" else "rgb",
        "normalization": "none" if gray else normalization,
    }


def _labels(
    labels: str | Path | Sequence[str] | Mapping[int, str] | None, found: ModelFound
) -> Labels:
    if labels is None:
        return found.labels
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    try:
        pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
        named = sorted((int(class_id), str(label)) for class_id, label in pairs)
    except (TypeError, ValueError) as error:
        raise InvalidModelError(
            f"labels={str(labels)[:100]} is no label file, list or {{class_id: label}}: {error}"
        ) from None
    return tuple((class_id, label) for class_id, label in named if label not in NO_LABEL)


def _class_count(spec: ModelSpec, found: ModelFound) -> int | None:
    """How many classes the model scores, where a shape says it."""
    outputs = dict(spec.file.outputs)
    shapes = {tensor.name: tensor.shape for tensor in found.outputs}
    raw = class_count(outputs, shapes)
    if raw is not None:
        return raw - _columns_behind(spec, shapes)
    if "pixel_scores" in outputs:
        channels = _map_channels(spec, shapes[outputs["pixel_scores"]])
        return channels if channels > 1 else None
    name = outputs.get("class_scores") or (
        outputs.get("scores") if spec.task == "classify" else None
    )
    for tensor in found.outputs:
        if tensor.name == name and tensor.shape and tensor.shape[-1] > 0:
            return tensor.shape[-1]
    return None


def _columns_behind(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many columns of a table are none of its boxes' own: coefficients, or points."""
    outputs = dict(spec.file.outputs)
    if "prototypes" in outputs:
        return _map_channels(spec, shapes[outputs["prototypes"]])
    return columns_of_points(spec) if set(TABLES) & set(outputs) else 0


def _map_channels(spec: ModelSpec, shape: tuple[int, ...]) -> int:
    own = shape[1:]
    if len(own) != 3:
        return 1
    return own[channel_axis(own, spec.input_hw, spec.input_layout)]


def _guess_labels(spec: ModelSpec, found: ModelFound, overrides: Mapping[str, Any]) -> ModelSpec:
    """``label_offset`` and ``background_class`` from how labels and classes count."""
    if not spec.labels or "label_offset" in overrides or "background_class" in overrides:
        return spec
    names = dict(spec.labels)
    classes = _class_count(spec, found)
    last = spec.labels[-1][0]
    has_zero = 0 in names and names[0].lower() not in _BACKGROUND
    if spec.task == "segment" and classes != last + 1 and not has_zero and 0 not in names:
        return spec
    if spec.task == "segment" and "pixel_scores" in dict(spec.file.outputs):
        if classes is None and last == 0 and has_zero:  # one channel, and one label: what it is of
            return spec.with_options(label_offset=-1)
        return spec if has_zero else spec.with_options(background_class=0)
    if spec.task == "classify" and classes == last + 2:
        return spec.with_options(label_offset=-1, background_class=0)
    if spec.task == "classify" and classes == last and not has_zero:
        # TensorFlow's 1,001 ImageNet labels for a Keras model of 1,000 classes.
        return spec.with_options(label_offset=1)
    outputs = dict(spec.file.outputs)
    if spec.task == "detect" and "classes" in outputs:
        one_based = outputs["classes"].split(":")[0].endswith(_ONE_BASED_NAME)
        if one_based and has_zero:
            return spec.with_options(label_offset=-1)
        if not one_based and not has_zero:
            return spec.with_options(label_offset=1)
    return spec
