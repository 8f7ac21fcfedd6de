"""Read an .onnx file: tensors, Ultralytics' metadata, and what lies beside it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.labels import Labels
from pyspark_vision.bundles.readers import hugging_face, ultralytics
from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.keras import prepared_by
from pyspark_vision.bundles.readers.onnx_graph import (
    linear_outputs,
    load_graph,
    preparing_of_onnx,
)
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines.onnx import COMPANIONS, SIZES_INPUT, start_session

# ONNX Runtime's names of element types that numpy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64"}

# A tensor's entry ("location", file) of `external_data` in onnx.proto, as protobuf writes it.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


def read_onnx(path: Path) -> ModelFound:
    """What :func:`read_graph` reads, and what Hugging Face's and timm's files beside it say."""
    contents = read_graph(path)
    if contents.family is not None or contents.roles:
        return contents
    with_files = hugging_face.with_folder(contents, path)
    return with_files if with_files is not contents else _with_graph(contents, path)


def _with_graph(contents: ModelFound, path: Path) -> ModelFound:
    """With what the graph's first operators do to pixels, which are no bytes, and its last ones."""
    graph = load_graph(path)
    if graph is None:
        return contents
    contents = replace(contents, linear=linear_outputs(graph))
    if len(contents.inputs) != 1 or not contents.inputs[0].dtype.startswith("float"):
        return contents
    own = preparing_of_onnx(graph, contents.inputs[0].name)
    return replace(
        contents,
        fields=(*contents.fields, *own.fields.items()),
        unsaid=(*contents.unsaid, *own.unsaid.items()),
        evidence=contents.evidence or prepared_by(own),
    )


def read_graph(path: Path) -> ModelFound:
    """Inputs and outputs by name; labels and input size where the metadata has them.

    Inputs that the engine fills by itself (``COMPANIONS``) are left out.
    """
    if path.stat().st_size == 0:
        raise InvalidModelError(f"{path} is empty")
    # The file alone travels to the workers; weights beside it would stay behind.
    if has_external_data(path):
        raise InvalidModelError(
            f"{path} keeps its weights in another file (external data); save it as one file: "
            "onnx.save(onnx.load(path), path), or external_data=False in torch.onnx.export"
        )
    try:
        session = start_session(str(path), threads=1)
    except ImportError:
        raise MissingDependencyError(
            "reading .onnx needs ONNX Runtime: pip install 'pyspark_vision[onnx]'"
        ) from None
    except Exception as error:  # its exceptions have no common class of their own
        raise InvalidModelError(
            f"{path} is not a model that ONNX Runtime can run: {error}. Custom operators are not "
            "supported"
        ) from None
    given = [value for value in session.get_inputs() if value.name not in COMPANIONS]
    inputs = tuple(map(_with_batch_axis, map(_tensor, given)))
    outputs = tuple(_tensor(value) for value in session.get_outputs())
    metadata = session.get_modelmeta().custom_metadata_map
    # Every export of Ultralytics has its stride; other exporters' keys may mean something else.
    written = metadata if "stride" in metadata else {}
    size = ultralytics.input_hw_of(written, path)
    contents = ModelFound(
        engine="onnx",
        format="onnx",
        inputs=inputs,
        outputs=outputs,
        labels=ultralytics.labels_of(written, path) or _characters(metadata, outputs),
        fields=(
            *((("input_hw", size),) if size else ()),
            *ultralytics.keypoints_of(written, path).items(),
        ),
        family="unit" if written else None,
        task=ultralytics.task_of(written, path),
        characters=_of_lines(metadata, outputs),
    )
    has_sizes = SIZES_INPUT in [value.name for value in session.get_inputs()]
    return _with_sizes(contents) if has_sizes else contents


def _characters(metadata: Mapping[str, str], outputs: Sequence[TensorFound]) -> Labels:
    """The classes as RapidAI's exports of PaddlePaddle's models hold them, one a line."""
    names = metadata.get("character", "").splitlines()
    fits = any(tensor.shape and tensor.shape[-1] == len(names) for tensor in outputs)
    return tuple(enumerate(names)) if fits else ()


def _of_lines(metadata: Mapping[str, str], outputs: Sequence[TensorFound]) -> int:
    """How many characters a recognizer names, whose classes have a blank, and a space, besides."""
    count = len(metadata.get("character", "").splitlines())
    is_of_steps = len(outputs) == 1 and len(outputs[0].shape) == 3
    return count if is_of_steps and outputs[0].shape[-1] - count in (1, 2) else 0


def _with_sizes(contents: ModelFound) -> ModelFound:
    """RT-DETR's and D-FINE's own exports (``tools/export_onnx.py``): boxes come in pixels.

    Their pictures are stretched and divided by 255.
    """
    named = {tensor.name for tensor in contents.outputs}
    if not {"labels", "boxes", "scores"} <= named:
        return contents
    return replace(
        contents,
        task="detect",
        roles=(("boxes", "boxes"), ("scores", "scores"), ("classes", "labels")),
        fields=(
            ("box_format", "xyxy"),
            ("coordinates", "pixel"),
            ("normalization", "unit"),
            ("input_layout", "NCHW"),
        ),
        evidence=f"boxes in the pixels of {SIZES_INPUT}, as RT-DETR and D-FINE export themselves",
    )


def has_external_data(path: Path) -> bool:
    """Whether an .onnx file keeps weights in another file beside it."""
    if path.stat().st_size == 0:  # cannot be mapped
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_EXTERNAL_DATA) != -1


def as_one_file(path: Path, folder: Path) -> Path:
    """A copy of an .onnx file in ``folder`` that holds its weights itself.

    Raises :class:`InvalidModelError` where that cannot be: the weights are not there, or more than
    the 2 GB that such a file can hold; :class:`MissingDependencyError` without the package onnx.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError(
            f"{path} keeps its weights in another file: pip install onnx, which makes it one"
        ) from None
    target = folder / path.name
    try:
        onnx.save(onnx.load(path), target)
    # A damaged protocol buffer, files that are missing, too many bytes: by many classes.
    except Exception as error:
        raise InvalidModelError(f"{path} cannot be made one file: {error}") from None
    return target


def with_open_sides(path: Path, folder: Path) -> Path:
    """A copy of an .onnx file in ``folder`` whose input has any number and size of pictures.

    Exports name a size that a network of convolutions does not need: OpenCV takes no notice of it,
    and ONNX Runtime refuses others. Raises :class:`InvalidModelError` where the file cannot be
    changed, :class:`MissingDependencyError` without the package onnx.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError(
            f"{path} was exported for another size: pip install onnx, which opens it to others"
        ) from None
    target = folder / path.name
    try:
        model = onnx.load(path)
        weights = {tensor.name for tensor in model.graph.initializer}
        [image] = [value for value in model.graph.input if value.name not in weights]
        sides = [size.dim_value for size in image.type.tensor_type.shape.dim]
        is_first = sides[1] in (1, 3)
        names = ("pictures", "", "height", "width") if is_first else ("pictures", "height", "width")
        for name, size in zip(names, image.type.tensor_type.shape.dim, strict=False):
            if name:
                size.dim_param = name
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        onnx.save(onnx.shape_inference.infer_shapes(model), target)
    except Exception as error:  # as above
        raise InvalidModelError(f"{path} cannot be opened to other sizes: {error}") from None
    return target


def _with_batch_axis(tensor: TensorFound) -> TensorFound:
    """One picture without an axis of pictures, ``(3, H, W)``, as a batch of one.

    torchvision's detectors take a list of such, and the engine feeds one.
    """
    is_picture = len(tensor.shape) == 3 and tensor.shape[0] == 3
    return replace(tensor, shape=(1, *tensor.shape)) if is_picture else tensor


def _tensor(value: Any) -> TensorFound:
    # An open dimension is a name or None.
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    element = re.sub(r"^tensor\((.*)\)$", r"\1", value.type)
    return TensorFound(value.name, shape, _DTYPES.get(element, element))
