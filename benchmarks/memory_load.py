"""One load in a process of its own, for `benchmarks.memory`: prints what it took, as JSON.

`python -m benchmarks.memory_load load|alone|inspect|twin ENGINE FORMAT PATH OUTPUT TINY_PATH
TINY_OUTPUT`: the tiny model is loaded and run first, and what the process then holds is the floor.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pyspark_vision.bundles.spec import ModelFile, ModelSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

THREADS = 2
_MODULES = {
    "tensorflow": ("tensorflow", "keras", "h5py"),
    "litert": ("ai_edge_litert.interpreter",),
    "onnx": ("onnxruntime",),
    # It reads .tflite files' tensors with LiteRT.
    "openvino": ("openvino", "ai_edge_litert.interpreter"),
}


def memory_bytes(name: str) -> int:
    """A line of `/proc/self/status`: VmRSS is what is resident now, VmHWM the most so far."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def _children_bytes() -> int:
    """The peak of a process that this one started and that has ended: a twin's."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def main() -> None:
    what, engine, model_format, path, output, tiny_path, tiny_output = sys.argv[1:8]

    from pyspark_vision.bundles.inspection import inspect_model
    from pyspark_vision.bundles.twin import make_litert_twin
    from pyspark_vision.executor.engines import load_engine
    from pyspark_vision.executor.models.shared_weights import SharedFolder

    for module in _MODULES[engine]:
        importlib.import_module(module)
    spec = _spec(engine, model_format, Path(path), output)
    tiny = _spec(engine, model_format, Path(tiny_path), tiny_output)
    load_engine(tiny, tiny.path, THREADS).run(np.zeros(tiny.input_shape(1), np.float32))
    gc.collect()
    floor, own_floor = memory_bytes("VmRSS"), memory_bytes("RssAnon")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts anew
    started = time.monotonic()
    kept: object
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        if what in ("load", "alone"):
            shared = SharedFolder(folder, "0") if what == "load" else None
            kept = load_engine(spec, path, THREADS, shared)
        elif what == "inspect":
            kept = inspect_model(path, "embed", accept=True)
        else:
            kept = make_litert_twin(spec, Path(folder))
        load_s = time.monotonic() - started
    gc.collect()
    print(
        json.dumps(
            {
                "floor": floor,
                "peak": max(memory_bytes("VmHWM"), _children_bytes()) - floor,
                "rest": memory_bytes("VmRSS") - floor,
                "own": memory_bytes("RssAnon") - own_floor,
                "load_s": load_s,
                "kept": kept is not None,
            }
        )
    )


def _spec(engine: str, model_format: str, path: Path, output: str) -> ModelSpec:
    file = ModelFile(
        {"onnx": "onnx", "tflite": "litert"}.get(model_format, "tensorflow"),
        model_format,
        path.name,
        "",
        {"frozen_graph": "image:0"}.get(model_format),
        (("embedding", output),),
        "serving_default" if model_format == "saved_model" else None,
    )
    return ModelSpec(
        "model",
        "embed",
        (file,),
        (224, 224),
        input_layout="NCHW" if model_format == "onnx" else "NHWC",
        engine=engine,
        root=str(path.parent),
    )


if __name__ == "__main__":
    main()
