"""TensorFlow itself: runs every format that it can load; small models frozen to constants.

Whatever the file is, it becomes one function of one batch: ``(N, …) tensor -> {name: tensor}``,
traced once with an open batch, so that a smaller last batch traces nothing again. TensorFlow is
imported when the first model is loaded: a job without one never pays for it, and the daemon that
forks Spark's Python workers never holds it.
"""

from __future__ import annotations

import functools
import gc
import itertools
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pyspark_vision.executor.engines import aligned, graph_file, keras_archive
from pyspark_vision.executor.engines.quiet import quiet_stderr

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelFile, ModelSpec

Array = np.ndarray[Any, Any]

# TensorFlow's objects carry no types: they are Any here.
Outputs = dict[str, Any]
BatchFunction = Callable[[Any], Outputs]
Result = TypeVar("Result")

# Measured with Keras' MobileNetV2 at 224x224 and one thread, images per CPU second by batch of
# 1, 4, 8, 16, 32: frozen 60, 69, 50, 41, 37; with variables 51, 56, 47, 43, 34. Larger batches
# spend their time on fresh memory.
BATCH_SIZE = 4

# On a GPU, the first of these that its memory takes: larger ones gain little and wait longer.
GPU_BATCH_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)

# TensorFlow copies a frozen model's weights into each form of its graph (20 times a ResNet50's were
# in memory), and the larger a model is, the less it gains.
FROZEN_BELOW_BYTES = 32 * 1024 * 1024

SERVING_TAG = "serve"

# Height and width of the trial batch where a model leaves them open: networks that shrink their
# input refuse one of a few pixels.
_OPEN_SIZE = 224

# Inputs of a signature that only come out again: AutoML's.
PASSED_THROUGH = ("key",)

_graph_numbers = itertools.count()


@dataclass(frozen=True)
class LoadedFunction:
    """A function of a batch, the variables that it reads, and what else has to live as long."""

    run: BatchFunction
    variables: tuple[Any, ...] = ()
    owner: object = None

    def __call__(self, batch: Any) -> Outputs:
        """``(N, …)`` tensor -> ``{role: (N, …) tensor}``."""
        return self.run(batch)


class TensorFlowEngine:
    """A SavedModel, ``.keras``, ``.h5`` or frozen graph, run by TensorFlow on whole batches."""

    def __init__(self, spec: ModelSpec, path: str, threads: int) -> None:
        """Load ``spec.file`` from ``path``; only the outputs that have a role are computed.

        TensorFlow's thread pools are a setting of the process: the first model's ``threads`` hold.
        """
        self._tensorflow = start_tensorflow(threads)
        try:
            self._function = load_function(spec.file, path)
        finally:
            collect_garbage()
        self.batch_size = spec.fixed_batch or BATCH_SIZE
        takes_many = spec.fixed_batch is None and spec.resize != "keep_aspect"
        if takes_many and self._tensorflow.config.list_logical_devices("GPU"):
            self.batch_size = self.largest_batch(spec, GPU_BATCH_SIZES)

    def run(self, batch: Array) -> dict[str, Array]:
        """``(N, …)`` in the spec's layout and dtype -> role -> ``(N, …)``; N <= ``batch_size``."""
        outputs = self._function(self._tensorflow.constant(batch))
        return {role: value.numpy() for role, value in outputs.items()}

    def largest_batch(self, spec: ModelSpec, sizes: Sequence[int]) -> int:
        """The first of ``sizes`` (falling) that the device's memory takes; raises if none does."""
        *larger, smallest = sizes
        for images in larger:
            try:
                self.run(np.zeros(spec.input_shape(images), spec.input_dtype))
            except self._tensorflow.errors.ResourceExhaustedError:
                continue
            return images
        self.run(np.zeros(spec.input_shape(smallest), spec.input_dtype))
        return smallest


def collect_garbage() -> None:
    """Free what Keras and TensorFlow have built on the way: their objects refer to one another."""
    gc.collect()


def start_tensorflow(threads: int | None = None) -> Any:
    """Import TensorFlow, quietly, with ``threads`` compute threads and no grab of all GPU memory.

    Raises ``ImportError`` where it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The log level above comes too late for what TensorFlow says while it is being loaded.
    with nullcontext() if "tensorflow" in sys.modules else quiet_stderr():
        with _tensorflow_backend():  # TensorFlow imports Keras
            import tensorflow as tf

        try:
            if threads is not None:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # The runtime is up already: an earlier model, or the caller's own TensorFlow, set it.
            pass
    return tf


class KerasBackendError(RuntimeError):
    """Keras runs on another backend in this process; the functions made here need TensorFlow's."""


def import_keras() -> Any:
    """Keras on TensorFlow, whatever ``KERAS_BACKEND`` and ``~/.keras/keras.json`` say.

    Raises :class:`KerasBackendError` where it was imported before, on another one.
    """
    with _tensorflow_backend():
        import keras
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise KerasBackendError(
            f"Keras was imported with the backend {backend!r} in this process, and models are read "
            "with 'tensorflow': set KERAS_BACKEND=tensorflow, or read it in a process of its own"
        )
    return keras


@contextmanager
def _tensorflow_backend() -> Iterator[None]:
    """Keras asks the environment once, when it is imported; afterwards it is the user's again."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before


def load_function(file: ModelFile, path: str) -> LoadedFunction:
    """The model at ``path`` as a function of one batch -> ``{role: tensor}`` for ``file.outputs``.

    The variables of a small model (``FROZEN_BELOW_BYTES``) are frozen to constants, and the
    function unfrozen only where that fails (lookup tables, models that change their own
    variables). Raises what TensorFlow raises.
    """
    start_tensorflow()
    if file.format == "frozen_graph":
        return _frozen_file_function(file, path)
    if file.format == "saved_model":
        return _saved_model_function(file, path)
    return with_keras_model(path, file.layer, functools.partial(_keras_function, file=file))


def with_keras_model(path: str, layer: str | None, use: Callable[[Any], Result]) -> Result:
    """``use(model)``: of the Keras model at ``path``, cut at ``layer``'s output if one is named.

    Its weights are variables of TensorFlow that this call holds; who traces a function in it keeps
    those that it needs. Keras by itself would draw random first values for each, read the file's,
    copy them, and then have both.
    """
    keras = import_keras()

    def apart() -> Result:
        with keras.StatelessScope(initialize_variables=False) as scope:
            return use(load_keras(path, layer, scope))

    # Keras notes variables without a value for the thread that made them, to initialize them all
    # at its next chance. With the thread they are forgotten.
    with ThreadPoolExecutor(1, "keras") as thread:
        return thread.submit(apart).result()


def load_keras(path: str, layer: str | None, scope: Any) -> Any:
    """A Keras model (``.keras``, ``.h5``) whose values are in ``scope``, a ``StatelessScope``.

    ``compile=False``: inference needs no optimizer, and Keras 3 cannot read those of Keras 2.
    ``safe_mode`` refuses Python code inside the file.
    """
    import tensorflow as tf

    keras = import_keras()
    with warnings.catch_warnings():
        # Files of Keras 2 build their layers in a way that Keras 3 advises against, at length.
        warnings.simplefilter("ignore")
        if path.endswith(".keras") and zipfile.is_zipfile(path):
            model = keras_archive.load_archive(keras, path)
        elif path.endswith((".h5", ".hdf5")):
            model = keras_archive.load_h5(keras, path)
        else:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
    for variable in model.variables:
        value = scope.get_current_value(variable)
        if value is None:  # not in the file
            value = variable.value
        scope.add_update((variable, tf.Variable(value, name=variable.name)))
    return model if layer is None else cut_at(model, layer)


def cut_at(model: Any, layer: str) -> Any:
    """A Keras model that ends with the output of one of ``model``'s layers."""
    keras = import_keras()
    return keras.Model(model.inputs, model.get_layer(layer).output)


def output_names(outputs: Any) -> list[str]:
    """Names for what a function returns: a dictionary's sorted keys, else ``output_0``, … in order.

    >>> output_names({"scores": 1, "boxes": 2}), output_names([1, 2]), output_names(1)
    (['boxes', 'scores'], ['output_0', 'output_1'], ['output_0'])
    """
    if isinstance(outputs, dict) and not any(
        isinstance(value, dict | list | tuple) for value in outputs.values()
    ):
        return sorted(outputs)
    return [f"output_{index}" for index, _ in enumerate(flatten(outputs))]


def keras_output_names(model: Any) -> list[str]:
    """Names of a Keras model's outputs: the layers that make them, numbered where two are one."""
    names = [tensor._keras_history.operation.name for tensor in flatten(model.outputs)]
    return names if len(set(names)) == len(names) else output_names(names)


def callable_endpoint(loaded: Any) -> tuple[Any, Any] | None:
    """What to call on a SavedModel without signature: (endpoint, its traced function), or None.

    ``__call__``, or the ``serve`` of a Keras 3 export. A traced function fits when it has exactly
    one tensor among its inputs; that of inference comes before that of training.
    """
    for name in ("__call__", "serve"):
        endpoint = getattr(loaded, name, None)
        fitting = [
            function
            for function in getattr(endpoint, "concrete_functions", [])
            if len(free_inputs(function)) == 1
        ]
        if fitting:
            return endpoint, min(fitting, key=lambda function: _trains(function))
    return None


def free_inputs(function: Any) -> list[Any]:
    """The inputs of a concrete function that a caller gives (not the variables it captured)."""
    captured = len(function.captured_inputs)
    return list(function.inputs[: len(function.inputs) - captured])


def _saved_model_function(file: ModelFile, path: str) -> LoadedFunction:
    import tensorflow as tf

    # A large one's variables are read when it is known which of them are used: Keras 3 exports each
    # twice, and TensorFlow keeps the memory of both.
    large = _checkpoint_bytes(path) >= FROZEN_BELOW_BYTES
    try:
        loaded = tf.saved_model.load(
            path, [SERVING_TAG], tf.saved_model.LoadOptions(experimental_skip_checkpoint=large)
        )
        function = _loaded_function(loaded, file, path)
        if large and not _restored(function, loaded, path):
            loaded = tf.saved_model.load(path, [SERVING_TAG])
            function = _loaded_function(loaded, file, path)
    except AttributeError as error:
        # Keras 2 saved its optimizer's slots in the object graph, and nothing can take them:
        # "'_UserObject' object has no attribute 'add_slot'". The graph itself is whole.
        if "add_slot" not in str(error) or file.signature is None:
            raise
        return _session_function(file, path)
    return _quickest(function, loaded)


def _checkpoint_bytes(path: str) -> int:
    return sum(file.stat().st_size for file in Path(path, "variables").glob("variables.data-*"))


def _restored(function: Any, loaded: Any, path: str) -> bool:
    """Read the values of what ``function`` uses, if these are all in the model's ``variables``."""
    import tensorflow as tf

    variables = list(getattr(loaded, "variables", ()))
    known = {id(variable.handle) for variable in variables}
    if any(
        weight.dtype.name == "resource" and id(weight) not in known for weight in _weights(function)
    ):
        return False
    # In the object graph the list is a child of the root, and so is this one.
    checkpoint = tf.train.Checkpoint(variables=variables)
    status = checkpoint.read(str(Path(path, "variables", "variables"))).expect_partial()
    try:
        status.assert_existing_objects_matched()
    except AssertionError:  # another object has this name
        return False
    return True


def _loaded_function(loaded: Any, file: ModelFile, path: str) -> Any:
    import tensorflow as tf

    if file.signature is None:
        entry = callable_endpoint(loaded)
        if entry is None:
            raise ValueError(f"{path} has neither a signature nor a callable with one input")
        endpoint, traced = entry

        def call(batch: Any) -> Outputs:
            outputs = endpoint(batch)
            return dict(zip(output_names(outputs), flatten(outputs), strict=True))

    else:
        traced = loaded.signatures[file.signature]
        inputs = traced.structured_input_signature[1]
        input_name = file.input_tensor or next(iter(inputs))
        if inputs[input_name].dtype == tf.string:
            picture = tf.TensorSpec((1, None, None, 3), tf.uint8)
            return _with_roles(_encoding(traced, inputs, input_name), picture, file)

        def call(batch: Any) -> Outputs:
            outputs: Outputs = traced(**{input_name: batch})
            return outputs

    spec = tf.TensorSpec.from_tensor(free_inputs(traced)[0])
    return _with_roles(call, spec, file)


def _encoding(traced: Any, inputs: Mapping[str, Any], input_name: str) -> BatchFunction:
    """For a signature that takes encoded pictures: one's pixels, as a PNG, which loses nothing."""
    import tensorflow as tf

    def call(batch: Any) -> Outputs:
        texts = {name: tf.constant("") for name in inputs}
        texts[input_name] = tf.io.encode_png(batch[0], compression=1)
        # A batch of one, or a text by itself.
        shapes = {name: () if spec.shape.rank == 0 else (1,) for name, spec in inputs.items()}
        outputs: Outputs = traced(**{n: tf.reshape(text, shapes[n]) for n, text in texts.items()})
        return outputs

    return call


def _keras_function(model: Any, file: ModelFile) -> LoadedFunction:
    import tensorflow as tf

    if len(model.inputs) != 1:
        raise ValueError(f"the model has {len(model.inputs)} inputs, not one")
    names = keras_output_names(model)

    def call(batch: Any) -> Outputs:
        return dict(zip(names, flatten(model(batch, training=False)), strict=True))

    keras_input = model.inputs[0]
    spec = tf.TensorSpec(keras_input.shape, keras_input.dtype)
    return _quickest(_with_roles(call, spec, file), None)


def _with_roles(call: Callable[[Any], Outputs], spec: Any, file: ModelFile) -> Any:
    """``call`` traced once for ``spec``, its outputs picked and renamed to their roles."""
    import tensorflow as tf

    def function(batch: Any) -> Outputs:
        outputs = call(batch)
        missing = {name for _, name in file.outputs} - set(outputs)
        if missing:
            raise ValueError(
                f"no output {', '.join(sorted(missing))}; the model has {', '.join(outputs)}"
            )
        return {role: outputs[name] for role, name in file.outputs}

    return tf.function(function, input_signature=[spec]).get_concrete_function()


def _quickest(function: Any, owner: object) -> LoadedFunction:
    """The concrete ``function`` frozen if it is small, and as it is where that fails.

    ``owner``: of what the function uses beside its variables.
    """
    variables = tuple(function.graph.variables)
    if sum(map(_bytes, [*_weights(function), *variables])) < FROZEN_BELOW_BYTES:
        try:
            return LoadedFunction(_frozen(function))
        except Exception:  # of many kinds; what fails for good fails again unfrozen
            pass
    return LoadedFunction(function, variables, owner)


def _weights(function: Any) -> list[Any]:
    """Tensors that a concrete function holds on to: weights, and handles of variables."""
    return list({id(tensor): tensor for tensor in function.captured_inputs}.values())


def _bytes(weight: Any) -> int:
    """What a tensor or a variable holds; the handle of a variable, nothing."""
    elements: int = weight.shape.num_elements() or 0
    return elements * int(weight.dtype.size)


def _frozen(function: Any) -> BatchFunction:
    """The concrete ``function`` with its weights as constants; raises where that fails."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Functional control flow is what LiteRT's converter understands (`twin.py`).
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    run = _ordered(frozen, sorted(function.structured_outputs))
    # What cannot run frozen (a lookup table, an assignment) says so on its first batch.
    batch, *image = frozen.inputs[0].shape
    shape = [batch or 1, *(size or _OPEN_SIZE for size in image)]
    run(tf.zeros(shape, frozen.inputs[0].dtype))
    return run


def _ordered(function: Any, roles: Sequence[str]) -> BatchFunction:
    """A frozen function returns a list in the order of the sorted names: name it again."""

    def run(batch: Any) -> Outputs:
        return dict(zip(roles, flatten(function(batch)), strict=True))

    return run


def _frozen_file_function(file: ModelFile, path: str) -> LoadedFunction:
    """A frozen graph; the constants of a large one as variables beside it."""
    import tensorflow as tf

    graph_def, arrays = graph_file.read_graph(path)
    if sum(array.nbytes for array in arrays.values()) < FROZEN_BELOW_BYTES:
        for node in graph_def.node:
            if node.name in arrays:
                node.attr["value"].tensor.tensor_content = arrays.pop(node.name).tobytes()
    weights = {f"{name}:0": tf.Variable(aligned.tensor(array)) for name, array in arrays.items()}
    return _graph_function(graph_def, file, weights)


def _graph_function(
    graph_def: Any, file: ModelFile, weights: Mapping[str, Any], *, handles: bool = False
) -> LoadedFunction:
    """A graph as a function; ``weights``: variables in the place of its tensors of these names.

    With ``handles`` those tensors are not the values, but what the graph reads them from.
    """
    import tensorflow as tf

    _rename_functions(graph_def)

    def load() -> None:
        inputs = {
            name: tf.identity(variable.handle if handles else variable)
            for name, variable in weights.items()
        }
        tf.compat.v1.import_graph_def(graph_def, input_map=inputs, name="")

    wrapped = tf.compat.v1.wrap_function(load, [])
    outputs = {role: wrapped.graph.get_tensor_by_name(name) for role, name in file.outputs}
    input_tensor = wrapped.graph.get_tensor_by_name(file.input_tensor)
    return LoadedFunction(wrapped.prune(input_tensor, outputs), tuple(weights.values()))


def _rename_functions(graph_def: Any) -> None:
    """Give the graph's own functions names that no other model in this process has.

    TensorFlow keeps one table of functions for the process; two models whose files name different
    functions alike (``__inference__wrapped_model_123``) would refuse each other.
    """
    prefix = f"model_{next(_graph_numbers)}_"
    functions = {function.signature.name for function in graph_def.library.function}
    for function in graph_def.library.function:
        function.signature.name = prefix + function.signature.name
        for node in function.node_def:
            _rename_calls(node, functions, prefix)
    for node in graph_def.node:
        _rename_calls(node, functions, prefix)
    for gradient in graph_def.library.gradient:
        gradient.function_name = prefix + gradient.function_name
        if gradient.gradient_func in functions:
            gradient.gradient_func = prefix + gradient.gradient_func


def _rename_calls(node: Any, functions: set[str], prefix: str) -> None:
    if node.op in functions:
        node.op = prefix + node.op
    for attribute in node.attr.values():
        called = [attribute.func] if attribute.HasField("func") else attribute.list.func
        for function in called:
            if function.name in functions:
                function.name = prefix + function.name


def _session_function(file: ModelFile, path: str) -> LoadedFunction:
    """A SavedModel through TensorFlow 1's loader, which reads the graph and not the objects."""
    import tensorflow as tf

    # On this way TensorFlow warns, four times, that its compat.v1 functions are old.
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            meta_graph = tf.compat.v1.saved_model.load(session, [SERVING_TAG], path)
            signature = meta_graph.signature_def[file.signature]
            (input_info,) = signature.inputs.values()
            outputs = tuple((role, signature.outputs[name].name) for role, name in file.outputs)
            nodes = sorted({name.partition(":")[0] for _, name in outputs})
            graph_def = session.graph.as_graph_def()
            values: dict[str, Array] = {}
            if _checkpoint_bytes(path) < FROZEN_BELOW_BYTES:
                graph_def = tf.compat.v1.graph_util.convert_variables_to_constants(
                    session, graph_def, nodes
                )
            else:
                graph_def = tf.compat.v1.graph_util.extract_sub_graph(graph_def, nodes)
                values = _session_values(session, graph_def)
    finally:
        logger.setLevel(level)
    named = replace(file, input_tensor=input_info.name, outputs=outputs)
    variables = {name: tf.Variable(aligned.tensor(array)) for name, array in values.items()}
    return _graph_function(graph_def, named, variables, handles=True)


def _session_values(session: Any, graph_def: Any) -> dict[str, Array]:
    """The values of the graph's variables, by the tensors of their handles."""
    import tensorflow as tf

    values = {}
    for node in graph_def.node:
        if node.op == "VarHandleOp":
            handle = session.graph.get_tensor_by_name(f"{node.name}:0")
            dtype = tf.as_dtype(node.attr["dtype"].type)
            value = session.run(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype))
            values[handle.name] = aligned.empty(value.shape, value.dtype)
            values[handle.name][...] = value
    return values


def flatten(values: Any) -> list[Any]:
    """The leaves of nested outputs in TensorFlow's order: dictionaries by their sorted keys."""
    import tensorflow as tf

    return list(tf.nest.flatten(values))


def _trains(function: Any) -> bool:
    arguments, options = function.structured_input_signature
    return any(value is True for value in (*arguments, *options.values()))
