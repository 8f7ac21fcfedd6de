"""What runs in Python workers imports neither Spark nor an engine, nor the rest of the package."""

from __future__ import annotations

import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyspark_vision.executor as executor
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.models.model_files import PublishedFile
from pyspark_vision.executor.outputs.heads import ClassifyOptions
from pyspark_vision.executor.pipeline import Inference

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    executor.__name__,
    *(found.name for found in pkgutil.walk_packages(executor.__path__, f"{executor.__name__}.")),
]
HEAVY = ("tensorflow", "keras", "ai_edge_litert", "onnxruntime", "pyspark")

# Each import in a fork of its own, of a parent that has what they share by others.
LOADED_MODULES = """
import importlib, os, sys
import numpy, pyarrow, PIL.Image
for module in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module(module)
        print(module, *sys.modules, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, module
"""
IMPORT_AFTER_PYSPARK = """
import sys
import pyspark
for name in [n for n in sys.modules if n.split('.')[0] == 'pyspark_vision']:
    del sys.modules[name]
import pyspark_vision
print(*[n for n in sys.modules if n.split('.')[0] == 'pyspark_vision'])
"""


def run_fresh(code: str, *arguments: str) -> list[str]:
    """The lines that ``code`` prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def loaded_by() -> dict[str, set[str]]:
    """Names of modules in ``sys.modules`` by the module that was imported alone."""
    lines = [line.split() for line in run_fresh(LOADED_MODULES, *MODULES)]
    return {module: set(loaded) for module, *loaded in lines}


def test_the_walk_finds_the_engines_too() -> None:
    assert {
        "pyspark_vision.executor.pipeline",
        "pyspark_vision.executor.engines",
        "pyspark_vision.executor.engines.litert",
        "pyspark_vision.executor.engines.onnx",
        "pyspark_vision.executor.engines.tensorflow",
    } <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_executor_module_imports_nothing_else_of_the_package(
    module: str, loaded_by: dict[str, set[str]]
) -> None:
    loaded = loaded_by[module]
    assert module in loaded
    outside = {
        name
        for name in loaded
        if name.startswith("pyspark_vision.") and not name.startswith("pyspark_vision.executor")
    }
    assert outside == set()


@pytest.mark.parametrize("module", MODULES)
def test_executor_module_imports_no_spark_and_no_engine(
    module: str, loaded_by: dict[str, set[str]]
) -> None:
    loaded = loaded_by[module]
    assert module in loaded
    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_unpickling_an_inference_imports_leaves_beside_the_executor(tmp_path: Path) -> None:
    spec = ModelSpec.load(ROOT / "models" / "demo-classifier")
    published = PublishedFile(spec.path, spec.sha256, False, on_every_node=True)
    inference = Inference(spec, published, DecodeOptions(), ClassifyOptions(1, 0.0))
    file = tmp_path / "inference"
    file.write_bytes(pickle.dumps(inference))

    load = f"pickle.load(open({str(file)!r}, 'rb'))"
    loaded = run_fresh(f"import pickle, sys; {load}; print(*sys.modules, sep='\\n')")

    package = {name for name in loaded if name.startswith("pyspark_vision.")}
    assert {name for name in package if not name.startswith("pyspark_vision.executor")} == {
        "pyspark_vision.bundles",
        "pyspark_vision.bundles.choice",
        "pyspark_vision.bundles.proof",
        "pyspark_vision.bundles.spec",
        "pyspark_vision.bundles.spec_checks",
        "pyspark_vision.bundles.spec_choices",
        "pyspark_vision.errors",
    }
    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_importing_the_package_after_pyspark_loads_no_further_module_of_it() -> None:
    [modules] = run_fresh(IMPORT_AFTER_PYSPARK)
    assert modules == "pyspark_vision"


def test_the_names_that_users_import_come_from_the_package_itself() -> None:
    import pyspark_vision
    from pyspark_vision import functions, transformations

    assert pyspark_vision.ModelSpec is ModelSpec
    by_module = {
        name: getattr(functions, name, None) or getattr(transformations, name)
        for name in pyspark_vision.__all__
        if name != "ModelSpec"
    }
    assert {name: getattr(pyspark_vision, name) for name in by_module} == by_module
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        pyspark_vision.classify  # noqa: B018
