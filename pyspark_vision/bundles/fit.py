"""Whether a spec and the file that it names belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyspark_vision.bundles.model_source import read_model
from pyspark_vision.bundles.proposal.class_labels import class_count_of
from pyspark_vision.bundles.proposal.trial import (
    trial_hw,
    trial_pictures,
    trial_runs,
)
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.spec_choices import DTYPES
from pyspark_vision.bundles.text_readers import check_text_reader
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.heads import EmbedOptions, embed


def check_fits(spec: ModelSpec, contents: ModelFound | None = None) -> None:
    """Hold a spec against its file's own shapes; raises :class:`InvalidModelError`.

    Input shape and dtype, output names, and that the labels reach as far as the classes do.
    """
    path = Path(spec.path)
    file = spec.file
    if spec.task == "ocr":
        check_text_reader(spec)
        return
    if contents is None:
        contents = read_model(path, signature=file.signature, layer=file.layer)
    image = image_input(contents, path)
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
    check_outputs(file.outputs, contents, path)
    if file.engine == "openvino":  # it has no operators of its users, and not all of LiteRT's
        trial_runs(spec, [np.zeros((*spec.input_hw, 3), np.uint8)])
    classes = class_count_of(spec, contents)
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


def image_input(contents: ModelFound, path: Path) -> TensorFound:
    described = ", ".join(f"{t.name} {t.shape} {t.dtype}" for t in contents.inputs) or "none"
    if len(contents.inputs) != 1:
        raise InvalidModelError(
            f"{path} has {len(contents.inputs)} inputs ({described}); one image input is supported"
        )
    image = contents.inputs[0]
    if len(image.shape) != 4 or image.dtype not in DTYPES:
        raise InvalidModelError(
            f"{path}: the input is {described}; supported is one image batch of four dimensions "
            f"(NHWC or NCHW) in {', '.join(DTYPES)}. Export the model with such an input"
        )
    return image


def check_outputs(outputs: Sequence[tuple[str, str]], contents: ModelFound, path: Path) -> None:
    names = [tensor.name for tensor in contents.outputs]
    for role, name in outputs:
        if name not in names:
            raise InvalidModelError(
                f"{path}: no output {name!r} for {role}; the model has {', '.join(names)}"
            )
