"""Read TensorFlow's model files on the driver: what goes in, what comes out, what is refused.

SavedModel folders and frozen graphs are here, Keras files in :mod:`.keras`. A SavedModel is
described from its protocol buffer; nothing of it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.graph_input import preparing_of_graph
from pyspark_vision.bundles.readers.keras import (
    family_of,
    one_image_input,
    prepared_by,
    read_keras,
    start_tensorflow,
)
from pyspark_vision.bundles.readers.keras_layers import Preparing, preparing
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines import graph_file
from pyspark_vision.executor.engines import tensorflow as engine
from pyspark_vision.executor.engines.keras_migration import migrated

__all__ = ["read_frozen_graph", "read_keras", "read_saved_model"]

_DEFAULT_SIGNATURE = "serving_default"

# Sides of the largest picture that is encoded for a model in its own size; others become smaller.
_LARGEST_ENCODED_HW = (4096, 4096)

# Signatures that savers add for themselves.
_PRIVATE_SIGNATURE = "__saved_model"

# Outputs of a TF1 Object Detection API graph; `raw_*` and masks beside them are not asked for.
_DETECTION_TENSORS = (
    "detection_boxes:0",
    "detection_scores:0",
    "detection_classes:0",
    "num_detections:0",
)

# Python functions that exist only in the process that made the model, and a file writer that no
# vision model needs: a SavedModel is a program.
_REFUSED_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "WriteFile")

_VARIABLE_OPS = ("Variable", "VariableV2", "VarHandleOp")


def read_saved_model(path: str | Path, signature: str | None = None) -> ModelFound:
    """Inputs and outputs of a SavedModel folder, by the names of its signature.

    ``signature`` defaults to ``serving_default``, else the only one, else the object's own call
    (``ModelFound.signature`` is then ``None``). One that takes encoded pictures is read as if it
    took pixels, which the engine encodes for it. Raises :class:`InvalidModelError` for a damaged
    folder, an unknown signature, several inputs, or operators that cannot run.
    """
    folder = Path(path)
    start_tensorflow()
    meta_graph = _meta_graph(folder)
    _check_ops(meta_graph.graph_def, folder)
    _check_variables(folder)
    signatures = {
        name: definition
        for name, definition in meta_graph.signature_def.items()
        if not name.startswith(_PRIVATE_SIGNATURE) and definition.outputs
    }
    chosen = _chosen_signature(signatures, signature, folder)
    if chosen is None:
        inputs, outputs = _call_tensors(folder)
    else:
        inputs = _infos(signatures[chosen].inputs)
        outputs = _infos(signatures[chosen].outputs)
    encoded = None if chosen is None else _encoded_input(inputs)
    if encoded is not None:
        return ModelFound(
            engine="tensorflow",
            format="saved_model",
            inputs=(replace(encoded, shape=(-1, -1, -1, 3), dtype="uint8"),),
            outputs=outputs,
            signature=chosen,
            fields=(("resize", "keep_aspect"), ("input_hw", _LARGEST_ENCODED_HW)),
            evidence=f"its signature {chosen!r} takes encoded pictures ({encoded.name})",
        )
    one_image_input(inputs, folder, _other_signatures(signatures, chosen))
    own = _own_preparation(folder, inputs[0].shape)
    if not own.layers and chosen is not None:
        (input_info,) = signatures[chosen].inputs.values()
        own = preparing_of_graph(meta_graph.graph_def, input_info.name)
    return ModelFound(
        engine="tensorflow",
        format="saved_model",
        inputs=inputs,
        outputs=outputs,
        signature=chosen,
        family=None if "normalization" in {*own.fields, *own.unsaid} else _keras_2_family(folder),
        fields=tuple(own.fields.items()),
        unsaid=tuple(own.unsaid.items()),
        evidence=prepared_by(own),
    )


def _encoded_input(inputs: tuple[TensorFound, ...]) -> TensorFound | None:
    """The input that takes encoded pictures; ``key`` beside it is AutoML's, and handed through."""
    given = [tensor for tensor in inputs if tensor.name not in engine.PASSED_THROUGH]
    is_one = len(given) == 1 and given[0].dtype == "string" and len(given[0].shape) <= 1
    return given[0] if is_one else None


def read_frozen_graph(path: str | Path) -> ModelFound:
    """The placeholder and the results of a frozen TF1 graph (``.pb``), by tensor name.

    Results are the Object Detection API's where their names are there, else what no other node
    consumes. Raises :class:`InvalidModelError` for a file that is no graph, a graph with variables
    (not frozen), unknown operators, and inputs that are not one batch of images.
    """
    file = Path(path)
    tf = start_tensorflow()
    from google.protobuf.message import DecodeError

    try:
        graph_def, _ = graph_file.read_graph(file, values=False)
    except (OSError, DecodeError) as error:
        raise InvalidModelError(
            f"{file} is no frozen TensorFlow graph (GraphDef): {file.name} is missing, damaged or "
            f"cut short ({error})"
        ) from None
    if not graph_def.node:
        raise InvalidModelError(
            f"{file} holds no node of a frozen graph; a SavedModel is named by its folder"
        )
    variables = [node.name for node in graph_def.node if node.op in _VARIABLE_OPS]
    if variables:
        raise InvalidModelError(
            f"{file} is not frozen: it has variables ({', '.join(variables[:3])}, …) and no values "
            "for them; freeze it (convert_variables_to_constants) or give the SavedModel"
        )
    _check_ops(graph_def, file)
    with tf.Graph().as_default() as graph:
        try:
            tf.compat.v1.import_graph_def(graph_def, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise InvalidModelError(f"{file} cannot be imported: {error}") from None
    inputs = [op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"]
    image = tuple(_tensor(tensor.name, tensor) for tensor in inputs)
    one_image_input(image, file)
    outputs = tuple(_tensor(tensor.name, tensor) for tensor in _graph_outputs(graph, inputs))
    if not outputs:
        raise InvalidModelError(f"{file} has no output: every tensor of it is consumed inside")
    own = preparing_of_graph(graph_def, inputs[0].name)
    return ModelFound(
        engine="tensorflow",
        format="frozen_graph",
        inputs=image,
        outputs=outputs,
        fields=tuple(own.fields.items()),
        unsaid=tuple(own.unsaid.items()),
        evidence=prepared_by(own),
    )


def _meta_graph(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    _parse(saved_model, folder / "saved_model.pb", f"{folder} is no SavedModel")
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {engine.SERVING_TAG}:
            return meta_graph
    tags = [sorted(graph.meta_info_def.tags) for graph in saved_model.meta_graphs]
    raise InvalidModelError(
        f"{folder} has no graph tagged {engine.SERVING_TAG!r}, only {tags}; export it for serving"
    )


def _parse(message: Any, file: Path, otherwise: str) -> None:
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise InvalidModelError(
            f"{otherwise}: {file.name} is missing, damaged or cut short ({error})"
        ) from None


def _check_variables(folder: Path) -> None:
    """Read every variable once: TensorFlow checks their sizes and checksums on the way."""
    import tensorflow as tf

    prefix = folder / "variables" / "variables"
    if not prefix.with_name("variables.index").is_file():
        return
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    # An IndexError is what TensorFlow makes of a file that is too short.
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise InvalidModelError(
            f"{folder} is damaged: its variables cannot be read ({str(error).splitlines()[0]}); "
            "copy or export it again"
        ) from None


def _chosen_signature(signatures: dict[str, Any], wanted: str | None, folder: Path) -> str | None:
    if wanted is not None:
        if wanted in signatures:
            return wanted
        raise InvalidModelError(
            f"{folder} has no signature {wanted!r}; "
            f"it has {', '.join(sorted(signatures)) or 'none'}"
        )
    if _DEFAULT_SIGNATURE in signatures:
        return _DEFAULT_SIGNATURE
    if len(signatures) > 1:
        raise InvalidModelError(
            f"{folder} has several signatures; choose one with signature=…: "
            f"{', '.join(sorted(signatures))}"
        )
    return next(iter(signatures), None)


def _other_signatures(signatures: dict[str, Any], chosen: str | None) -> str:
    """Advice for a signature that takes no images: one that does, if the model has it."""
    for name, definition in sorted(signatures.items()):
        infos = _infos(definition.inputs)
        fits = len(infos) == 1 and infos[0].dtype != "string" and len(infos[0].shape) == 4
        if name != chosen and fits:
            return f"choose the signature that takes images with signature={name!r}"
    return (
        "export it with one batch of images as its only input (Object Detection API: "
        "--input_type image_tensor)"
    )


def _call_tensors(
    folder: Path,
) -> tuple[tuple[TensorFound, ...], tuple[TensorFound, ...]]:
    """Inputs and outputs of a SavedModel that is called: only its loaded functions know them."""
    import tensorflow as tf

    try:
        # Its functions are looked at, not run: they need no values.
        options = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
        loaded = tf.saved_model.load(str(folder), [engine.SERVING_TAG], options)
    except Exception as error:  # of many kinds, by what is damaged; the caller learns which model
        raise InvalidModelError(
            f"{folder} has no signature and cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    endpoint = engine.callable_endpoint(loaded)
    if endpoint is None:
        raise InvalidModelError(
            f"{folder} has no signature, and no call with one tensor as input; export it with a "
            "signature: tf.saved_model.save(model, FOLDER, signatures=…)"
        )
    _, function = endpoint
    (image,) = engine.free_inputs(function)
    outputs = function.structured_outputs
    names = engine.output_names(outputs)
    return (
        (_tensor(image.name.partition(":")[0], image),),
        tuple(
            _tensor(name, tensor)
            for name, tensor in zip(names, engine.flatten(outputs), strict=True)
        ),
    )


def _infos(infos: Any) -> tuple[TensorFound, ...]:
    """A signature's tensors, sorted by name (a protocol buffer's map has no order)."""
    import tensorflow as tf

    return tuple(
        _described(name, tf.TensorShape(tensor_info.tensor_shape), tf.as_dtype(tensor_info.dtype))
        for name, tensor_info in sorted(infos.items())
    )


def _tensor(name: str, tensor: Any) -> TensorFound:
    return _described(name, tensor.shape, tensor.dtype)


def _described(name: str, shape: Any, dtype: Any) -> TensorFound:
    # An unknown rank is taken for an image batch: the first run tells, and image models of TF1
    # leave it open.
    sizes = (None,) * 4 if shape.rank is None else shape.as_list()
    return TensorFound(name, tuple(-1 if size is None else size for size in sizes), dtype.name)


def _graph_outputs(graph: Any, inputs: list[Any]) -> list[Any]:
    names = {op.name for op in graph.get_operations()}
    detections = [name for name in _DETECTION_TENSORS if name.partition(":")[0] in names]
    if "detection_boxes:0" in detections:
        return [graph.get_tensor_by_name(name) for name in detections]
    return [
        tensor
        for op in graph.get_operations()
        for tensor in op.outputs
        if not tensor.consumers() and op.type != "Const" and tensor is not inputs[0]
    ]


def _graph_nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _check_ops(graph_def: Any, path: Path) -> None:
    """Refuse operators that this TensorFlow does not know, and those that are Python or write."""
    from tensorflow.python.framework import op_def_registry

    ops = {node.op for node in _graph_nodes(graph_def)}
    # A node can call one of the graph's own functions by its name.
    functions = {function.signature.name for function in graph_def.library.function}
    refused = sorted(ops & set(_REFUSED_OPS))
    if refused:
        raise InvalidModelError(
            f"{path} is refused: it uses {', '.join(refused)}, which runs Python of the process "
            "that made it, or writes files"
        )
    unknown = {op for op in ops - functions if op_def_registry.get(op) is None}
    if unknown:
        raise InvalidModelError(
            f"{path} uses operators that TensorFlow does not have: "
            f"{', '.join(sorted(unknown))}; custom operators are not supported"
        )


def _keras_2_family(folder: Path) -> str | None:
    """The family by the model's own name, which Keras 2 wrote beside the SavedModel as JSON."""
    name = _keras_2_metadata(folder).get("name")
    return family_of(name) if isinstance(name, str) else None


def _own_preparation(folder: Path, shape: tuple[int, ...]) -> Preparing:
    """By the configuration that Keras 2 wrote; an adapted Normalization is not in it."""
    metadata = _keras_2_metadata(folder)
    config = metadata.get("model_config") or metadata
    if not isinstance(config, dict):
        return Preparing()
    return preparing(migrated(config), -1 in shape[1:])


def _keras_2_metadata(folder: Path) -> dict[str, Any]:
    """Of the whole model, which comes first in ``keras_metadata.pb``; empty where there is none."""
    try:
        text = (folder / "keras_metadata.pb").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    start = text.find('{"')
    try:
        metadata, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else ({}, 0)
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
