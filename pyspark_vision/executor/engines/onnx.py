"""ONNX Runtime on the CPU: what PyTorch's exporters write, run as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyspark_vision.executor.engines.quiet import quiet_stderr

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# ONNX Runtime's own number for "fatal only": what goes wrong is raised, and need not be logged too.
_LOG_FATAL = 4


class OnnxEngine:
    """One session; only the outputs that have a role are computed."""

    def __init__(self, spec: ModelSpec, path: str, threads: int) -> None:
        self._session = start_session(path, threads)
        # One input: models with more are refused when their spec is made.
        self._input_name = self._session.get_inputs()[0].name
        self._roles = [role for role, _ in spec.file.outputs]
        self._names = [name for _, name in spec.file.outputs]
        # One image holds the least memory; ONNX Runtime is not what `auto` chooses for speed.
        self.batch_size = spec.fixed_batch or 1

    def run(self, batch: Array) -> dict[str, Array]:
        """``(N, …)`` in the spec's layout and dtype -> role -> ``(N, …)``; N <= ``batch_size``."""
        values = self._session.run(self._names, {self._input_name: batch})
        return dict(zip(self._roles, values, strict=True))


def start_session(path: str, threads: int) -> Any:
    """A session on the CPU with ``threads`` compute threads, which sleep while there is no work.

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
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
