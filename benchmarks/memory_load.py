"""One load in a process of its own, for `benchmarks.memory`: prints what it took, as JSON.

`python -m benchmarks.memory_load load|inspect|twin ENGINE FORMAT PATH OUTPUT [LAYER]`
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    what, engine, model_format, path, output = sys.argv[1:6]
    layer = sys.argv[6] if len(sys.argv) > 6 else None

    from pyspark_vision.bundles.inspection import inspect_model
    from pyspark_vision.bundles.spec import ModelFile, ModelSpec
    from pyspark_vision.bundles.twin import make_litert_twin
    from pyspark_vision.executor.engines import load_engine

    for module in _MODULES[engine]:
        importlib.import_module(module)
    gc.collect()
    floor = memory_bytes("VmRSS")
    file = ModelFile(
        {"onnx": "onnx", "tflite": "litert"}.get(model_format, "tensorflow"),
        model_format,
        Path(path).name,
        "",
        {"frozen_graph": "image:0"}.get(model_format),
        (("embedding", output),),
        "serving_default" if model_format == "saved_model" else None,
        layer,
    )
    layout = "NCHW" if model_format == "onnx" else "NHWC"
    spec = ModelSpec(
        "model",
        "embed",
        (file,),
        (224, 224),
        input_layout=layout,
        engine=engine,
        root=str(Path(path).parent),
    )
    started = time.monotonic()
    kept: object
    if what == "load":
        kept = load_engine(spec, path, THREADS)
    elif what == "inspect":
        kept = inspect_model(path, "embed", layer=layer, accept=True)
    else:
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            kept = make_litert_twin(spec, Path(folder))
    load_s = time.monotonic() - started
    gc.collect()
    print(
        json.dumps(
            {
                "floor": floor,
                "peak": memory_bytes("VmHWM") - floor,
                "rest": memory_bytes("VmRSS") - floor,
                "load_s": load_s,
                "kept": kept is not None,
            }
        )
    )


if __name__ == "__main__":
    main()
