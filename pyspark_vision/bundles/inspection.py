"""A model file -> a proposed ModelSpec: shapes are read, meanings are guessed and can be named.

What decides, in this order: the caller's overrides; what the file says (tensor names, the operator
that makes an output, labels inside it); a trial run on two drawn pictures, for what only values can
tell (probabilities or logits, normalized or pixel boxes); a default of the field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyspark_vision.bundles.guesses import Guess, guessed, is_detector, is_embedding_name
from pyspark_vision.bundles.labels import NO_LABEL, Labels, read_labels
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.keras import family_of
from pyspark_vision.bundles.readers.raw_detectors import CONVENTIONS, class_count
from pyspark_vision.bundles.spec import DTYPES, TASKS, ModelFile, ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.model_files import sha256_of
from pyspark_vision.executor.preprocess import Preprocessor
from pyspark_vision.executor.raw_heads import split

# Where a model leaves its input size open: the usual one of ImageNet classifiers, and of
# TensorFlow's detectors (which resize again inside).
_OPEN_INPUT_HW = {"classify": (224, 224), "embed": (224, 224), "detect": (640, 640)}

_NAMES = {
    "boxes": ("detection_boxes", "boxes", "bboxes", "box"),
    "scores": ("detection_scores", "scores", "confidence", "score"),
    "classes": ("detection_classes", "classes", "labels", "class_ids"),
    "class_scores": ("class_scores",),
    "count": ("num_detections", "num_boxes", "valid_detections", "count"),
}
_BACKGROUND = ("background", "__background__", "_background_", "bg")

# Detector ids of TensorFlow's Object Detection API start at 1 (its exporter adds one).
_ONE_BASED_NAME = "detection_classes"


def inspect_model(
    path: str | Path,
    task: str | None = None,
    labels: str | Path | Sequence[str] | Mapping[int, str] | None = None,
    *,
    outputs: Mapping[str, str] | None = None,
    signature: str | None = None,
    layer: str | None = None,
    **overrides: Any,
) -> ModelSpec:
    """Read a model and propose its spec; it can be used at once, or saved as a bundle.

    :func:`propose_model` also says which fields are guesses.

    - ``path``: a .tflite, .onnx, .keras, .h5 or .hdf5 file, a frozen .pb, or a SavedModel folder.
    - ``task``: ``classify | detect | embed``; guessed from the outputs if not given.
    - ``labels``: a label file (see :mod:`labels`), a list, or ``{class_id: label}``.
    - ``outputs``: role -> tensor name, where the guess is wrong (``{"scores": "logits"}``).
    - ``signature``: of a SavedModel; ``layer``: of a Keras model, for embeddings.
    - any field of :class:`ModelSpec`, such as ``resize="letterbox"`` or ``box_format="xyxy"``.

    Raises :class:`InvalidModelError` for a file that is not there, cannot be read or run, is
    refused (Lambda layers, pickles), has several or no image inputs, or whose labels are too few.
    """
    return propose_model(
        path, task, labels, outputs=outputs, signature=signature, layer=layer, **overrides
    )[0]


def propose_model(
    path: str | Path,
    task: str | None = None,
    labels: str | Path | Sequence[str] | Mapping[int, str] | None = None,
    *,
    outputs: Mapping[str, str] | None = None,
    signature: str | None = None,
    layer: str | None = None,
    **overrides: Any,
) -> tuple[ModelSpec, dict[str, Guess]]:
    """As :func:`inspect_model`; and the fields that the file does not settle, by their names."""
    file = Path(path).absolute()
    given = {
        *overrides,
        *(f"outputs.{role}" for role in outputs or ()),
        *(["task"] if task or layer else []),
        *(["labels"] if labels is not None else []),
    }
    if task is not None and task not in TASKS:
        raise InvalidModelError(f"task={task!r} is not one of {', '.join(TASKS)}")
    overrides = {**_implied(overrides), **overrides}
    found = read_model(file, signature=signature, layer=layer)
    image = _image_input(found, file)
    chosen_task = task or _guess_task(found)
    if chosen_task == "classify" and not outputs and _guess_task(found) == "detect":
        raise InvalidModelError(
            f"{file}: task='classify' does not fit, for the outputs "
            f"({', '.join(f'{t.name} {t.shape}' for t in found.outputs)}) are a detector's; say "
            "task='detect', or name the output of the classes with outputs={'scores': 'NAME'}"
        )
    known = found.roles if chosen_task == "detect" else ()  # what readers know are detectors
    roles = tuple((outputs or {}).items()) or known or _guess_roles(found, chosen_task, file)
    _check_outputs(roles, found, file)
    fields = _guess_input(image, found, chosen_task, file)
    conventions = _conventions(found, roles, chosen_task, image)
    fields |= conventions
    spec = ModelSpec(
        name=overrides.pop("name", None) or file.name.removesuffix(file.suffix),
        task=chosen_task,
        files=(
            ModelFile(
                engine=found.engine,
                format=found.format,
                path=file.name,
                sha256=sha256_of(file),
                input_tensor=image.name,
                outputs=roles,
                signature=found.signature,
                layer=found.layer,
            ),
        ),
        labels=_labels(labels, found),
        source=overrides.pop("source", str(path)),
        root=str(file.parent),
        **fields,
    ).with_options(**overrides)
    spec = _guess_labels(spec, found, overrides)
    check_fits(spec, found)
    guesses = {name: guess for name, guess in guessed(found, spec).items() if name not in given}
    return _guess_values(spec, conventions | overrides), guesses


def read_model(path: Path, signature: str | None = None, layer: str | None = None) -> ModelFound:
    """Read a model file by what it is; a clear error for the rest."""
    if not path.exists():
        raise InvalidModelError(f"no model at {path}")
    suffix = path.suffix.lower()
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        hint = (
            "; it holds model.json: use ModelSpec.load for a bundle"
            if (path / "model.json").is_file()
            else ""
        )
        raise InvalidModelError(f"{path} is a folder without saved_model.pb{hint}")
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
    raise InvalidModelError(
        f"{path}: no reader for {suffix or 'a file without suffix'!r}; supported are .tflite, "
        ".onnx, .keras, .h5, .hdf5, a frozen graph .pb, and SavedModel folders"
    )


def check_fits(spec: ModelSpec, found: ModelFound | None = None) -> None:
    """Hold a spec against its file's own shapes; raises :class:`InvalidModelError`.

    Input shape and dtype, output names, and that the labels reach as far as the classes do.
    """
    path = Path(spec.path)
    file = spec.file
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
        _trial_runs(spec, np.zeros((*spec.input_hw, 3), np.uint8))
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


def embedding_length(spec: ModelSpec) -> int:
    """How many numbers ``embed_image`` gives with this model: one trial run tells."""
    height, width = spec.input_hw
    gray = np.full((height, width, 3), 128, np.uint8)
    (run,) = _trial_runs(spec, gray)
    return int(run["embedding"][0].size)


def _implied(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What fields that were given say of others: a mean is one of ``normalization="values"``."""
    implied = {}
    if {"mean", "std", "pixel_scale"} & set(overrides):
        implied["normalization"] = "values"
    if overrides.get("resize_edge") is not None:
        implied["resize"] = "shortest_edge"
    return implied


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


def _guess_task(found: ModelFound) -> str:
    if found.layer:
        return "embed"
    named = {tensor.name.lower().split(":")[0] for tensor in found.outputs}
    boxes = any(len(t.shape) == 3 and t.shape[-1] == 4 for t in found.outputs)
    if is_detector(found) or boxes or named & set(_NAMES["boxes"]):
        return "detect"
    if any(map(is_embedding_name, named)):
        return "embed"
    return "classify"


def _guess_roles(found: ModelFound, task: str, path: Path) -> tuple[tuple[str, str], ...]:
    described = ", ".join(f"{t.name} {t.shape}" for t in found.outputs)
    if task != "detect":
        role = "embedding" if task == "embed" else "scores"
        named = [t for t in found.outputs if role.rstrip("s") in t.name.lower()]
        candidates = found.outputs if len(found.outputs) == 1 else named
        if len(candidates) != 1:
            raise InvalidModelError(
                f"{path} has several outputs ({described}); name the one with "
                f"outputs={{'{role}': 'NAME'}}"
            )
        return ((role, candidates[0].name),)
    roles: dict[str, str] = {}
    for role, known in _NAMES.items():
        for tensor in found.outputs:
            if tensor.name.lower().split(":")[0].rsplit("/", 1)[-1] in known:
                roles.setdefault(role, tensor.name)
    for tensor in found.outputs:
        if len(tensor.shape) == 3 and tensor.shape[-1] == 4:
            roles.setdefault("boxes", tensor.name)
    scores = next((t for t in found.outputs if t.name == roles.get("scores")), None)
    if scores is not None and len(scores.shape) == 3 and "classes" not in roles:
        roles["class_scores"] = roles.pop("scores")
    if "boxes" not in roles or not {"scores", "class_scores"} & set(roles):
        raise InvalidModelError(
            f"{path}: cannot tell boxes and scores among the outputs ({described}); name them with "
            "outputs={'boxes': …, 'scores': …, 'classes': …, 'count': …}, or class_scores for "
            "scores of each class"
        )
    if "class_scores" in roles:
        roles.pop("scores", None)
        roles.pop("classes", None)
    return tuple(roles.items())


def _guess_input(image: TensorFound, found: ModelFound, task: str, path: Path) -> dict[str, Any]:
    batch, *rest = image.shape
    channels_last = rest[2] in (1, 3) or rest[0] not in (1, 3)
    height, width, channels = rest if channels_last else (rest[1], rest[2], rest[0])
    if channels not in (-1, 1, 3):
        raise InvalidModelError(
            f"{path}: the input {image.shape} has {channels} channels, not 1 or 3"
        )
    open_height, open_width = _OPEN_INPUT_HW[task]
    family = found.family or family_of(path.name)
    normalization = family if family and image.dtype.startswith("float") else "none"
    gray = channels == 1
    return {
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


def _conventions(
    found: ModelFound, roles: Sequence[tuple[str, str]], task: str, image: TensorFound
) -> dict[str, Any]:
    """What the file says of itself, then what is usual for a detector with such an output."""
    fields = dict(found.fields)
    if task == "detect":
        fields.pop("resize", None)  # a crop, for classifiers
    if -1 not in image.shape[1:]:
        fields.pop("input_hw", None)  # the shape says it, and knows better
    for role, _ in roles:
        fields |= CONVENTIONS.get(role, {})
    if not image.dtype.startswith("float"):
        fields.pop("normalization", None)
    return fields


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
    raw = class_count(outputs, {tensor.name: tensor.shape for tensor in found.outputs})
    if raw is not None:
        return raw
    name = outputs.get("class_scores") or (
        outputs.get("scores") if spec.task == "classify" else None
    )
    for tensor in found.outputs:
        if tensor.name == name and tensor.shape and tensor.shape[-1] > 0:
            return tensor.shape[-1]
    return None


def _guess_labels(spec: ModelSpec, found: ModelFound, overrides: Mapping[str, Any]) -> ModelSpec:
    """``label_offset`` and ``background_class`` from how labels and classes count."""
    if not spec.labels or "label_offset" in overrides or "background_class" in overrides:
        return spec
    names = dict(spec.labels)
    classes = _class_count(spec, found)
    last = spec.labels[-1][0]
    has_zero = 0 in names and names[0].lower() not in _BACKGROUND
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


def _guess_values(spec: ModelSpec, overrides: Mapping[str, Any]) -> ModelSpec:
    """Run the model on two drawn pictures: that it runs at all, and what its values look like."""
    rng = np.random.default_rng(0)
    height, width = spec.input_hw
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], noise.shape).astype(np.uint8)
    runs = [split(run) for run in _trial_runs(spec, noise, ramp)]
    changes: dict[str, Any] = {}
    scores_role = "class_scores" if "class_scores" in runs[0] else "scores"
    if spec.task != "embed" and "score_kind" not in overrides:
        # Logits of two pictures all within [0,1] would be a coincidence. Their sum says less:
        # quantized probabilities are rounded, and sigmoids need not add up to one.
        scores = np.concatenate([_real(run, scores_role).reshape(-1) for run in runs])
        within = bool((scores >= -1e-3).all() and (scores <= 1 + 1e-3).all())
        changes["score_kind"] = "probability" if within else "logit"
    if spec.task == "detect" and "coordinates" not in overrides:
        # Normalized boxes reach a little over 1 at the border, pixel boxes far over it.
        largest = max(float(np.nanmax(np.abs(_real(run, "boxes")), initial=0.0)) for run in runs)
        changes["coordinates"] = "pixel" if largest > 4 else "normalized"
    return dataclasses.replace(spec, **changes)


def _real(run: Mapping[str, np.ndarray[Any, Any]], role: str) -> np.ndarray[Any, Any]:
    """An output's values that count: padding is whatever memory held, and says nothing."""
    if "count" not in run:
        return run[role]
    return run[role][:, : max(0, int(run["count"].reshape(-1)[0]))]


def _trial_runs(
    spec: ModelSpec, *pictures: np.ndarray[Any, Any]
) -> list[dict[str, np.ndarray[Any, Any]]]:
    """What the model says of each picture, given as its pixels; it is loaded once."""
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(spec.fixed_batch or 1)
    runs = []
    try:
        engine = load_engine(spec, spec.path, threads=1)
        for pixels in pictures:
            for index in range(len(batch)):
                preprocessor.fill(batch, index, Image.fromarray(pixels))
            runs.append(engine.run(batch))
    except Exception as error:  # whatever an engine raises, the caller learns which model it was
        raise InvalidModelError(
            f"{spec.path} cannot run on {spec.file.engine} with a {batch.shape} {batch.dtype} "
            f"input: {type(error).__name__}: {error}"
        ) from error
    return runs
