"""LiteRT (TensorFlow Lite) on the CPU: loads in about 0.03 s, one image per run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.engines.quiet import quiet_stderr

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]


class LiteRTEngine:
    """One interpreter; quantized outputs come back as the real numbers they stand for."""

    # Measured with MobileNetV2 (benchmarks/quick.py): batches do not beat single images on a CPU,
    # and most .tflite files have their batch fixed at 1 anyway.
    batch_size = 1

    def __init__(self, spec: ModelSpec, path: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        shape = spec.input_shape(1)
        with quiet_stderr():  # it reports its delegate, once for each model and worker
            self._interpreter: Any = Interpreter(model_path=path, num_threads=threads)
            # One input: models with more are refused when their spec is made.
            self._input = self._interpreter.get_input_details()[0]
            if tuple(self._input["shape"]) != shape:
                self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()
        names = tensor_names(self._interpreter)
        by_name = {names[d["index"]]: d for d in self._interpreter.get_output_details()}
        self._outputs = {role: by_name[name] for role, name in spec.file.outputs}

    def run(self, batch: Array) -> dict[str, Array]:
        """``(1, …)`` in, role -> ``(1, …)`` out."""
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        return {role: self._real(detail) for role, detail in self._outputs.items()}

    def _real(self, detail: dict[str, Any]) -> Array:
        values: Array = self._interpreter.get_tensor(detail["index"])
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
