"""LiteRT (TensorFlow Lite) on the CPU: loads in about 0.03 s, one image per run.

An interpreter repacks the weights into memory of its own. A large model's are shared by the workers
of an executor (:mod:`~pyspark_vision.executor.models.shared_weights`): LiteRT's compiled model,
which runs the same kernels, keeps them in a file that it maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.engines.quiet import quiet_stderr
from pyspark_vision.executor.models.shared_weights import is_large

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.models.shared_weights import SharedFolder

Array = np.ndarray[Any, Any]

# The name in an executor's folder of a large model's weights, as XNNPACK lays them out.
_WEIGHTS = "weights.xnnpack"


class LiteRTEngine:
    """One interpreter; quantized outputs come back as the real numbers they stand for."""

    # Measured with MobileNetV2 (benchmarks/quick.py): batches do not beat single images on a CPU,
    # and most .tflite files have their batch fixed at 1 anyway.
    batch_size = 1

    def __init__(
        self, spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None = None
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter

        shape = spec.input_shape(1)
        with quiet_stderr():  # it reports its delegate, once for each model and worker
            self._interpreter: Any = Interpreter(model_path=path, num_threads=threads)
            # One input: models with more are refused when their spec is made.
            self._input = self._interpreter.get_input_details()[0]
            has_shape = tuple(self._input["shape"]) == shape
            self._compiled: _Compiled | None = None
            if shared is not None and has_shape and is_large(path):
                batch = np.zeros(shape, self._input["dtype"])
                self._compiled = _compiled(path, threads, shared, batch)
            if self._compiled is None:
                if not has_shape:
                    self._interpreter.resize_tensor_input(self._input["index"], shape)
                self._interpreter.allocate_tensors()
        names = tensor_names(self._interpreter)
        by_name = {names[d["index"]]: d for d in self._interpreter.get_output_details()}
        self._outputs = {role: by_name[name] for role, name in spec.file.outputs}
        if self._compiled is not None:
            del self._interpreter  # it has mapped the model's file

    def run(self, batch: Array) -> dict[str, Array]:
        """``(1, …)`` in, role -> ``(1, …)`` out."""
        if self._compiled is not None:
            tensors = self._compiled.run(batch)
            return {
                role: _real(details, tensors[details["name"]])
                for role, details in self._outputs.items()
            }
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        return {
            role: _real(details, self._interpreter.get_tensor(details["index"]))
            for role, details in self._outputs.items()
        }


class _Compiled:
    """LiteRT's compiled model of one input; its weights lie in ``weights``, made if not there."""

    def __init__(self, path: str, threads: int, weights: Path, batch: Array) -> None:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Environment, Options
        from ai_edge_litert.environment import EnvironmentOptions

        cpu = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=str(weights))
        self._model: Any = CompiledModel.from_file(
            path,
            # Its default environment also looks for GPUs.
            environment=Environment.create(options=EnvironmentOptions()),
            options=Options(cpu_options=cpu),
        )
        (signature,) = self._model.get_signature_list().values()
        key = next(iter(self._model.get_signature_list()))
        details = self._model.get_output_tensor_details(key)
        self._details = [details[name] for name in signature["outputs"]]
        if any(side < 1 for detail in self._details for side in detail["shape"]):
            raise ValueError("an output's shape is known only when it has run")
        self._inputs = self._model.create_input_buffers(0)
        self._outputs = self._model.create_output_buffers(0)
        # A type that it does not take is refused here; and it chats once more when it first runs.
        self.run(batch)

    def run(self, batch: Array) -> dict[str, Array]:
        """``(1, …)`` in, the tensors' own names -> ``(1, …)`` out."""
        self._inputs[0].write(batch)
        self._model.run_by_index(0, self._inputs, self._outputs)
        tensors = {}
        for detail, output in zip(self._details, self._outputs, strict=True):
            size = int(np.prod(detail["shape"]))
            values = output.read(size, np.dtype(detail["dtype"]).type)
            tensors[detail["name"]] = values.reshape(detail["shape"])
        return tensors


def _compiled(path: str, threads: int, shared: SharedFolder, batch: Array) -> _Compiled | None:
    """``None`` where there is no room for the weights, or a model is not of this kind."""

    def write(folder: Path) -> None:
        _Compiled(path, threads, folder / _WEIGHTS, batch)

    paths = shared.files("litert", (_WEIGHTS,), write)
    return None if paths is None else _Compiled(path, threads, paths / _WEIGHTS, batch)


def _real(detail: dict[str, Any], values: Array) -> Array:
    scale, zero_point = detail["quantization"]
    if values.dtype.kind in "ui" and scale:
        return real_numbers(values, scale, zero_point)
    return values


def real_numbers(quantized: Array, scale: float, zero_point: int) -> Array:
    """What a quantized tensor's integers stand for, in float32 (TensorFlow Lite's own formula)."""
    real: Array = (quantized.astype(np.float32) - zero_point) * np.float32(scale)
    return real


def tensor_names(interpreter: Any) -> dict[int, str]:
    """Names by tensor index: the signature's (``boxes``) where the model has one, else its own.

    A converter's tensor names (``StatefulPartitionedCall_1:0``) say nothing; signatures do.
    """
    details = interpreter.get_input_details() + interpreter.get_output_details()
    names = {int(detail["index"]): str(detail["name"]) for detail in details}
    signatures = list(interpreter._get_full_signature_list().values())
    if len(signatures) == 1:
        for side in ("inputs", "outputs"):
            names.update({int(index): name for name, index in signatures[0][side].items()})
    return names
