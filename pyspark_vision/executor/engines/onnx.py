"""ONNX Runtime on the CPU: what PyTorch's exporters write, run as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.engines.quiet import quiet_stderr
from pyspark_vision.executor.models.shared_weights import is_large

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.models.shared_weights import SharedFolder

Array = np.ndarray[Any, Any]

# ONNX Runtime's own number for "fatal only": what goes wrong is raised, and need not be logged too.
_LOG_FATAL = 4

# The names in an executor's folder of a large model: its graph, and its weights beside it, which
# ONNX Runtime maps.
_GRAPH, _WEIGHTS = "model.onnx", "weights"
# Weights below it stay in the graph.
_LEAST_WEIGHT_BYTES = 1024
_NO_PACKING = "session.disable_prepacking"


def _mask(batch: Array, shape: Sequence[Any]) -> Array:
    """No place of the picture is padding: DETR, Conditional and Deformable DETR."""
    sides = [
        side if isinstance(side, int) else n
        for side, n in zip(shape[1:], batch.shape[2:], strict=True)
    ]
    return np.ones((len(batch), *sides), np.int64)


def _sizes(batch: Array, shape: Sequence[Any]) -> Array:
    """Width and height of the picture that boxes are scaled to: the input's.

    RT-DETR's and D-FINE's own exports (``tools/export_onnx.py``).
    """
    height, width = batch.shape[2:]
    return np.tile(np.array([[width, height]], np.int64), (len(batch), 1))


SIZES_INPUT = "orig_target_sizes"
# Inputs beside the picture that follow from it, by the names that exporters give them:
# ``(batch, the input's shape) -> its value``.
COMPANIONS: dict[str, Callable[[Array, Sequence[Any]], Array]] = {
    "pixel_mask": _mask,
    SIZES_INPUT: _sizes,
}
_DTYPES = {"tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(float)": np.float32}


class OnnxEngine:
    """One session; only the outputs that have a role are computed."""

    def __init__(
        self, spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None = None
    ) -> None:
        self._session = _load(path, threads, shared)
        inputs = self._session.get_inputs()
        self._companions = [tensor for tensor in inputs if tensor.name in COMPANIONS]
        # One image input: models with more are refused when their spec is made.
        image = next(tensor for tensor in inputs if tensor.name not in COMPANIONS)
        self._input_name = image.name
        self._is_one_picture = len(image.shape) == 3
        self._roles = [role for role, _ in spec.file.outputs]
        self._names = [name for _, name in spec.file.outputs]
        # One image holds the least memory; ONNX Runtime is not what `auto` chooses for speed.
        self.batch_size = spec.fixed_batch or 1

    def run(self, batch: Array) -> dict[str, Array]:
        """``(N, …)`` in the spec's layout and dtype -> role -> ``(N, …)``; N <= ``batch_size``."""
        inputs = {self._input_name: batch[0] if self._is_one_picture else batch}
        for companion in self._companions:
            value = COMPANIONS[companion.name](batch, companion.shape)
            inputs[companion.name] = value.astype(_DTYPES.get(companion.type, np.int64))
        values = self._session.run(self._names, inputs)
        return dict(zip(self._roles, values, strict=True))


def _load(path: str, threads: int, shared: SharedFolder | None) -> Any:
    if shared is not None and is_large(path):
        paths = shared.files("onnx", (_GRAPH, _WEIGHTS), lambda folder: _write_shared(path, folder))
        if paths is not None:
            # What is packed is in memory of one's own; and the graph was optimized when written.
            settings = {_NO_PACKING: "1"}
            graph = str(paths / _GRAPH)
            return start_session(graph, threads, settings, optimizes=False, keeps_arena=False)
    return start_session(path, threads)


def _write_shared(path: str, folder: Path) -> None:
    """The graph as optimized for this very machine: its weights in the layout that kernels take."""
    settings = {
        _NO_PACKING: "1",
        "session.optimized_model_external_initializers_file_name": _WEIGHTS,
        "session.optimized_model_external_initializers_min_size_in_bytes": f"{_LEAST_WEIGHT_BYTES}",
    }
    start_session(path, 1, settings, optimized_path=str(folder / _GRAPH))


def start_session(
    path: str,
    threads: int,
    settings: Mapping[str, str] | None = None,
    *,
    optimizes: bool = True,
    keeps_arena: bool = True,
    optimized_path: str | None = None,
) -> Any:
    """A session on the CPU with ``threads`` compute threads, which sleep while there is no work.

    ``settings``: of ``onnxruntime_session_options_config_keys.h``; ``keeps_arena``: whether memory
    of one run is kept for the next (a VGG16's is 40 MB of each worker, and no run is faster for
    it); ``optimized_path``: where the graph is written as it was optimized.

    Raises ``ImportError`` where ONNX Runtime is not installed, and what it raises for the file.
    """
    with quiet_stderr():  # while it is loaded, it reports the devices it did not find
        import onnxruntime
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_FATAL
    # Spinning threads take the cores that Spark gave to other tasks.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in (settings or {}).items():
        options.add_session_config_entry(name, value)
    options.enable_cpu_mem_arena = keeps_arena
    if not optimizes:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized_path is not None:
        options.optimized_model_filepath = optimized_path
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
