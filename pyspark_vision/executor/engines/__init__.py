"""Engines run a model on a prepared batch; one module each, behind one small protocol."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pyspark_vision.executor.models.memory import give_back
from pyspark_vision.executor.models.model_files import IMAGE_TOWER

if TYPE_CHECKING:
    import numpy as np

    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.models.shared_weights import SharedFolder


class Engine(Protocol):
    """A loaded model. ``batch_size`` is the number of images that one ``run`` likes best."""

    batch_size: int

    def run(self, batch: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """``(N, H, W, C)`` or NCHW as the spec says, in its dtype -> role -> ``(N, …)`` array."""


def load_engine(
    spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None = None
) -> Engine:
    """Load ``spec.file`` from ``path`` (file or folder) with ``threads`` compute threads.

    ``shared``: where the workers of one executor keep a large model's weights for all of them.
    Memory that loading took and no longer needs is given back to the system. Raises
    ``ImportError`` naming the extra to install where the engine's package is missing.
    """
    try:
        return _loaded(spec, path, threads, shared)
    finally:
        give_back()


def _loaded(spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None) -> Engine:
    engine = spec.file.engine
    if spec.file.format == "dual_encoder":
        path = str(Path(path, IMAGE_TOWER))
    try:
        if engine == "litert":
            from pyspark_vision.executor.engines import litert

            return litert.LiteRTEngine(spec, path, threads, shared)
        if engine == "onnx":
            from pyspark_vision.executor.engines import onnx

            return onnx.OnnxEngine(spec, path, threads, shared)
        if engine == "openvino":
            from pyspark_vision.executor.engines import openvino

            return openvino.OpenVinoEngine(spec, path, threads, shared)
        from pyspark_vision.executor.engines import tensorflow

        return tensorflow.TensorFlowEngine(spec, path, threads)
    except ImportError as error:
        raise ImportError(
            f"model {spec.name!r} runs on {engine}, which {sys.executable} lacks ({error}): "
            f"pip install 'pyspark_vision[{engine}]' there"
        ) from error
