"""OpenVINO on the CPU: ``.tflite`` and ``.onnx`` files, in float32 or bf16."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.engines.litert import real_numbers, tensor_names
from pyspark_vision.executor.engines.quiet import quiet_stderr
from pyspark_vision.executor.models.shared_weights import is_large

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.models.shared_weights import SharedFolder

Array = np.ndarray[Any, Any]

# Measured with MobileNetV2 on one thread, ms per image by batch of 1, 2, 4, 8, 16: bf16 2.30, 2.21,
# 2.07, 2.17, 2.60; float32 4.15, 3.88, 3.97, 4.44, 4.73.
BATCH_SIZE = 4

# Between one image alone and the same in a batch only the order of additions differs; in bf16 that
# is a matter of its eight bits.
_SAME_WITHIN = 0.02

# The names in an executor's folder of a large model, in OpenVINO's own format, whose weights it
# maps.
_GRAPH, _WEIGHTS = "model.xml", "model.bin"


@dataclass(frozen=True)
class _Output:
    """A tensor, and how its integers stand for real numbers (no ``scale``: they do not)."""

    tensor: str
    scale: float = 0.0
    zero_point: int = 0

    def real(self, values: Array) -> Array:
        """A copy, since the next run writes over ``values``."""
        if values.dtype.kind in "ui" and self.scale:
            return real_numbers(values, self.scale, self.zero_point)
        return values.copy()


class OpenVinoEngine:
    """One compiled model for single images, and one for batches where the model takes them."""

    def __init__(
        self, spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None = None
    ) -> None:
        self._outputs = {role: _Output(name) for role, name in spec.file.outputs}
        if spec.file.format == "tflite":
            self._outputs = _tflite_outputs(path, spec.file.outputs)
        # Each request repacks the weights into memory of its own: of a large model there is one.
        may_batch = spec.batched_outputs and spec.fixed_batch in (None, 1) and not is_large(path)
        if shared is not None and is_large(path):
            path = _mapped(path, shared)
        self._single = self._request(spec, path, threads, spec.fixed_batch or 1)
        self._many: Any = None
        self.batch_size = 1
        if may_batch and self._takes_batches(spec, path, threads):
            self.batch_size = BATCH_SIZE

    def run(self, batch: Array) -> dict[str, Array]:
        """``(N, …)`` in the spec's layout and dtype -> role -> ``(N, …)``; N <= ``batch_size``."""
        if self._many is not None and len(batch) == BATCH_SIZE:
            return self._run(self._many, batch)
        if len(batch) == 1 or self._many is None:
            return self._run(self._single, batch)
        # A last, smaller batch is rare; padding it would cost as much as a whole one.
        singles = [self._run(self._single, batch[i : i + 1]) for i in range(len(batch))]
        return {
            role: np.concatenate([outputs[role] for outputs in singles]) for role in self._outputs
        }

    def _run(self, request: Any, batch: Array) -> dict[str, Array]:
        request.infer({0: batch}, share_inputs=True)
        return {
            role: output.real(request.get_tensor(output.tensor).data)
            for role, output in self._outputs.items()
        }

    def _takes_batches(self, spec: ModelSpec, path: str, threads: int) -> bool:
        """Whether a batch gives what its images give alone.

        Converters write the batch of one into reshapes and box arithmetic; such a graph refuses
        another batch, or takes it and mixes its images.
        """
        shape = spec.input_shape(BATCH_SIZE)
        pixels = np.random.default_rng(0).integers(0, 128, shape, dtype=np.int8)
        batch = pixels.astype(spec.input_dtype)
        try:
            many = self._request(spec, path, threads, BATCH_SIZE)
            together = self._run(many, batch)
        except RuntimeError:
            return False
        for index in range(BATCH_SIZE):
            alone = self._run(self._single, batch[index : index + 1])
            for role, values in together.items():
                if values.shape != (BATCH_SIZE, *alone[role].shape[1:]):
                    return False
                scale = max(1.0, float(np.abs(alone[role]).max(initial=0)))
                # Written so that NaN counts as another answer.
                if not np.abs(values[index] - alone[role][0]).max() <= _SAME_WITHIN * scale:
                    return False
        self._many = many
        return True

    def _request(self, spec: ModelSpec, path: str, threads: int, images: int) -> Any:
        with quiet_stderr():
            import openvino
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape(list(spec.input_shape(images)))
        element = openvino.Type.bf16 if spec.precision == "bf16" else openvino.Type.f32
        settings = {
            # Without it, OpenVINO takes bf16 by itself where the processor has it.
            "INFERENCE_PRECISION_HINT": element,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Spark gives cores to tasks; a task's threads run where the system lets them.
            "ENABLE_CPU_PINNING": False,
        }
        return core.compile_model(model, "CPU", settings).create_infer_request()


def _mapped(path: str, shared: SharedFolder) -> str:
    def write(folder: Path) -> None:
        with quiet_stderr():
            import openvino
        # Not in halves, which would be other weights.
        model = openvino.Core().read_model(path)
        openvino.save_model(model, str(folder / _GRAPH), compress_to_fp16=False)

    paths = shared.files("openvino", (_GRAPH, _WEIGHTS), write)
    return path if paths is None else str(paths / _GRAPH)


def _tflite_outputs(path: str, outputs: Iterable[tuple[str, str]]) -> dict[str, _Output]:
    """Outputs under the tensors' own names, which OpenVINO has; a spec has the signature's.

    OpenVINO also leaves a quantized output as it is; LiteRT knows what it stands for.
    """
    from ai_edge_litert.interpreter import Interpreter

    with quiet_stderr():
        interpreter = Interpreter(model_path=path)
        names = tensor_names(interpreter)
    by_name = {names[d["index"]]: d for d in interpreter.get_output_details()}
    return {
        role: _Output(by_name[name]["name"], *by_name[name]["quantization"])
        for role, name in outputs
    }
