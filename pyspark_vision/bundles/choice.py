"""Which of a bundle's files runs, on which engine, and why."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidModelError

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelFile

# What OpenVINO's front ends read of what a bundle can hold, in the order of preference.
_OPENVINO_READS = ("tflite", "onnx")

# The package of an engine that can stand in for another where only it is installed.
_STANDS_IN = {"onnx": ("onnxruntime", "openvino")}


def choose(
    name: str, files: Sequence[ModelFile], engine: str, precision: str
) -> tuple[ModelFile, str]:
    """``(file with the engine that runs it, why)`` for a spec's ``engine`` and ``precision``.

    The file follows from the bundle alone, so that driver and workers choose the same one; its
    engine also from what is installed here. Measured with MobileNetV2 in float32 on one thread,
    LiteRT took 3.9 ms, OpenVINO 4.2 and ONNX Runtime 4.6 on an AMD EPYC (benchmarks/NOTES.md); so
    ``auto`` takes LiteRT where the bundle has a file for it, and a file's own engine elsewhere.
    """
    wanted = "int8" if precision == "int8" else "float32"
    fitting = [file for file in files if file.precision == wanted]
    if precision == "bf16":
        if engine not in ("auto", "openvino"):
            raise InvalidModelError(
                f"model {name!r}: precision='bf16' runs on openvino, not on {engine}; leave engine "
                "at 'auto', or precision at 'float32'"
            )
        return _for_openvino(name, fitting, f"precision is bf16{_natively()}")
    if engine == "openvino":
        return _for_openvino(name, fitting, "engine is openvino")
    if engine != "auto":
        for file in fitting:
            if file.engine == engine:
                return file, f"engine is {engine}"
    elif fitting:
        for file in fitting:
            if file.engine == "litert":
                kind = "an int8 LiteRT file" if wanted == "int8" else "a LiteRT file"
                return file, f"the model has {kind}"
        return _with_what_is_installed(fitting[0])
    held = ", ".join(sorted({file.engine for file in files}))
    of_precision = "" if precision == "float32" else f" of precision {precision!r}"
    raise InvalidModelError(
        f"model {name!r}: engine={engine!r} has no file{of_precision} in this bundle; it holds "
        f"files for: {held}. A twin is made by `pyspark-vision bundle build`"
        + (" `precision` int8" if precision == "int8" else "")
    )


def has_bf16() -> bool | None:
    """Whether OpenVINO computes in bf16 here; None where nothing tells (not Linux).

    On processors with the type, and on those with AVX-512, where it makes bf16 of float32's halves
    (seen on one whose flags do not name the type).
    """
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = {
                flag
                for line in file
                if line.startswith(("flags", "Features"))
                for flag in line.split(":", 1)[1].split()
            }
    except OSError:
        return None
    # x86: AVX-512 or tiles; Arm: the bfloat16 extension.
    has_type = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    return has_type or flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def _natively() -> str:
    native = has_bf16()
    if native is None:
        return ""
    return ", which this processor has" if native else ", which this processor computes in float32"


def _for_openvino(name: str, files: Sequence[ModelFile], reason: str) -> tuple[ModelFile, str]:
    for wanted in _OPENVINO_READS:
        for file in files:
            if file.format == wanted:
                return replace(file, engine="openvino"), reason
    held = ", ".join(sorted({file.format for file in files})) or "none"
    raise InvalidModelError(
        f"model {name!r}: OpenVINO runs {' and '.join(_OPENVINO_READS)} files, and the bundle "
        f"holds {held}. A LiteRT twin is made by `pyspark-vision bundle build`"
    )


def _with_what_is_installed(file: ModelFile) -> tuple[ModelFile, str]:
    package, other = _STANDS_IN.get(file.engine, (None, ""))
    if file.format in _OPENVINO_READS and package and not _installed(package) and _installed(other):
        return replace(file, engine=other), f"{package} is not installed, and {other} is"
    return file, f"{file.engine} runs the model's {file.format} file"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
