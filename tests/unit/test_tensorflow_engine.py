"""Every TensorFlow format runs, with the numbers that numpy computes for the same model."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow_models as models
from google.protobuf.message import DecodeError

from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.executor.engines import graph_file, keras_archive, load_engine
from pyspark_vision.executor.engines import tensorflow as engine_module
from pyspark_vision.executor.engines.tensorflow import TensorFlowEngine


def classifier(
    model_format: str,
    input_tensor: str | None = "image",
    output: str = "scores",
    *,
    signature: str | None = None,
    layer: str | None = None,
    **fields: Any,
) -> ModelSpec:
    file = ModelFile(
        "tensorflow",
        model_format,
        "model",
        "",
        input_tensor,
        (("scores", output),),
        signature,
        layer,
    )
    return ModelSpec("small", "classify", (file,), models.HW, **fields)


CLASSIFIERS: list[tuple[str, Callable[[Path], Path], str, ModelSpec]] = [
    (
        "Keras 3 export",
        models.export_keras_3,
        "model",
        classifier("saved_model", "image", "output_0", signature="serving_default"),
    ),
    (
        "no signature",
        models.save_without_signature,
        "model",
        classifier("saved_model", output="output_0"),
    ),
    (
        "optimizer slots",
        models.save_with_optimizer_slots,
        "model",
        classifier("saved_model", signature="serving_default"),
    ),
    (
        "lookup table",
        models.save_with_table,
        "model",
        classifier("saved_model", signature="serving_default"),
    ),
    (
        "named signature",
        models.save_two_signatures,
        "model",
        classifier("saved_model", signature="pixels"),
    ),
    (".keras", models.save_keras, "model.keras", classifier("keras")),
    (".h5", models.save_keras, "model.h5", classifier("h5")),
    (".h5 with optimizer", models.save_h5_with_optimizer, "model.h5", classifier("h5")),
    (
        "frozen graph",
        models.save_frozen_classifier,
        "model.pb",
        classifier("frozen_graph", "input:0", "logits:0"),
    ),
]


@pytest.mark.parametrize(
    ("make", "name", "spec"),
    [case[1:] for case in CLASSIFIERS],
    ids=[case[0] for case in CLASSIFIERS],
)
def test_every_format_gives_the_known_scores_for_full_and_smaller_batches(
    make: Callable[[Path], Path], name: str, spec: ModelSpec, tmp_path: Path
) -> None:
    engine = load_engine(spec, str(make(tmp_path / name)), threads=1)
    for count in (engine.batch_size, 1, 3):
        batch = models.pictures(count, seed=count)
        outputs = engine.run(batch)
        assert list(outputs) == ["scores"]
        np.testing.assert_allclose(outputs["scores"], models.expected(batch), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "name", "spec"),
    [case[1:] for case in CLASSIFIERS],
    ids=[case[0] for case in CLASSIFIERS],
)
def test_a_large_model_is_not_frozen_and_gives_the_same_scores(
    make: Callable[[Path], Path],
    name: str,
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "FROZEN_BELOW_BYTES", 0)
    monkeypatch.setattr(graph_file, "LARGE_BYTES", 1)
    monkeypatch.setattr(keras_archive, "LARGE_BYTES", 1)
    monkeypatch.setattr(engine_module, "_frozen", None)  # fails where it is called
    engine = load_engine(spec, str(make(tmp_path / name)), threads=1)
    gc.collect()
    for count in (engine.batch_size, 1):
        batch = models.pictures(count, seed=count)
        np.testing.assert_allclose(engine.run(batch)["scores"], models.expected(batch), atol=1e-6)


@pytest.mark.parametrize("make", [models.save_keras, models.save_h5_with_optimizer])
def test_an_h5_file_is_read_layer_by_layer_and_not_by_load_model(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "model.h5")
    monkeypatch.setattr(keras.models, "load_model", None)
    engine = load_engine(classifier("h5"), str(path), threads=1)
    batch = models.pictures(2, seed=2)
    np.testing.assert_allclose(engine.run(batch)["scores"], models.expected(batch), atol=1e-6)


def test_an_h5_file_with_code_in_it_is_left_to_keras_which_refuses_it(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "model.h5")
    with pytest.raises(ValueError, match="Lambda"):
        load_engine(classifier("h5"), str(tmp_path / "model.h5"), threads=1)


def test_a_large_frozen_graph_keeps_its_weights_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_frozen_classifier(tmp_path / "model.pb")
    monkeypatch.setattr(graph_file, "LARGE_BYTES", 1)
    graph, constants = graph_file.read_graph(path)
    floats = [array for array in constants.values() if array.dtype == np.float32]
    assert [array.tolist() for array in floats] == [models.WEIGHTS.tolist()]
    assert not any(node.attr["value"].tensor.tensor_content for node in graph.node)
    monkeypatch.setattr(graph_file, "LARGE_BYTES", 1 << 20)
    whole, constants = graph_file.read_graph(path)
    assert not constants
    assert whole == type(whole).FromString(path.read_bytes())


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_frozen_graph_that_was_cut_short_is_no_graph(cut: int, tmp_path: Path) -> None:
    path = models.save_frozen_classifier(tmp_path / "model.pb")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DecodeError):
        graph_file.read_graph(path)


def test_what_keras_notes_while_a_model_is_loaded_is_forgotten(tmp_path: Path) -> None:
    """Variables without a value would get one, as large, at the next call of any layer."""
    path = models.save_keras(tmp_path / "model.keras")
    loaded: list[weakref.ref[Any]] = []

    def look(model: Any) -> None:
        loaded.extend(map(weakref.ref, model.variables))

    engine_module.with_keras_model(str(path), None, look)
    gc.collect()
    assert len(loaded) == 1
    assert loaded[0]() is None


def test_garbage_is_collected_after_a_model_of_tensorflow_s_alone(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    small = ModelSpec.load(root / "models" / "demo-classifier")
    collected: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda *_: collected.append("all"))

    load_engine(small, small.path, threads=1)
    assert collected == []
    load_engine(classifier("keras"), str(path), threads=1)
    assert collected
    # What fails on its way has built something, too.
    collected.clear()
    with pytest.raises(ValueError, match="missing"):
        load_engine(classifier("keras"), str(tmp_path / "missing.keras"), threads=1)
    assert collected


def test_a_layer_is_taken_instead_of_the_output(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    engine = TensorFlowEngine(classifier("keras", output="pool", layer="pool"), str(path), 1)
    batch = models.pictures(2)
    np.testing.assert_allclose(engine.run(batch)["scores"], batch.mean(axis=(1, 2)), atol=1e-6)


def detector(model_format: str, suffix: str = "", **fields: Any) -> ModelSpec:
    roles = ("boxes", "scores", "classes")
    outputs = tuple((role, f"detection_{role}{suffix}") for role in roles)
    file = ModelFile(
        "tensorflow",
        model_format,
        "model",
        "",
        "image_tensor:0" if suffix else "input_tensor",
        (*outputs, ("count", f"num_detections{suffix}")),
        None if suffix else "serving_default",
    )
    return ModelSpec("detector", "detect", (file,), (16, 24), input_dtype="uint8", **fields)


def test_a_saved_model_of_the_object_detection_api_runs_with_its_batch_of_one(
    tmp_path: Path,
) -> None:
    path = models.save_detector(tmp_path / "model")
    engine = TensorFlowEngine(detector("saved_model", fixed_batch=1), str(path), 1)
    assert engine.batch_size == 1
    outputs = engine.run(np.full((1, 16, 24, 3), 51, np.uint8))
    assert {role: value.shape for role, value in outputs.items()} == {
        "boxes": (1, 2, 4),
        "scores": (1, 2),
        "classes": (1, 2),
        "count": (1,),
    }
    np.testing.assert_allclose(outputs["boxes"][0, 0], [0, 0, 0.2, 1], atol=1e-6)
    assert outputs["classes"].tolist() == [[3.0, 1.0]]


def test_a_detector_without_signature_runs(tmp_path: Path) -> None:
    path = models.save_called_detector(tmp_path / "model")
    spec = detector("saved_model", fixed_batch=1)
    file = replace(spec.file, signature=None, input_tensor="image")
    outputs = TensorFlowEngine(replace(spec, files=(file,)), str(path), 1).run(
        np.full((1, 16, 24, 3), 51, np.uint8)
    )
    np.testing.assert_allclose(outputs["scores"], [[0.2, 0.25]], atol=1e-6)


@pytest.mark.parametrize("loop", [False, True])
def test_a_frozen_detector_runs_batches(loop: bool, tmp_path: Path) -> None:
    path = models.save_frozen_detector(tmp_path / "model.pb", loop)
    engine = TensorFlowEngine(detector("frozen_graph", ":0"), str(path), 1)
    pixels = np.stack([np.full((16, 24, 3), value, np.uint8) for value in (0, 51, 255)])
    outputs = engine.run(pixels)
    np.testing.assert_allclose(outputs["scores"][:, 0], [0, 0.2, 1], atol=1e-6)
    assert outputs["count"].tolist() == [2.0, 2.0, 2.0]


def test_freezing_changes_no_result_and_what_cannot_be_frozen_runs_unfrozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(models.save_keras(tmp_path / "model.keras"))
    batch = models.pictures(3)
    frozen = TensorFlowEngine(classifier("keras"), path, 1).run(batch)["scores"]

    def refuse(*_: object) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(engine_module, "_ordered", refuse)
    unfrozen = TensorFlowEngine(classifier("keras"), path, 1).run(batch)["scores"]
    np.testing.assert_allclose(frozen, unfrozen, atol=1e-6)


def test_smaller_batches_trace_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    calls = []

    class Counting:
        def __init__(self, model: Any) -> None:
            self.inputs, self.outputs, self._model = model.inputs, model.outputs, model

        def __call__(self, batch: Any, training: bool) -> Any:
            calls.append(batch.shape)
            return self._model(batch, training=training)

    load = engine_module.load_keras
    monkeypatch.setattr(engine_module, "load_keras", lambda *args: Counting(load(*args)))
    engine = TensorFlowEngine(classifier("keras"), str(path), 1)
    for count in (4, 3, 2, 1):
        assert len(engine.run(models.pictures(count))["scores"]) == count
    assert [list(shape) for shape in calls] == [[None, 8, 8, 3]]


def test_two_models_whose_functions_have_the_same_names_live_in_one_process(
    tmp_path: Path,
) -> None:
    path = models.save_with_optimizer_slots(tmp_path / "one")
    spec = classifier("saved_model", signature="serving_default")
    batch = models.pictures(2)
    for _ in range(2):
        engine = TensorFlowEngine(spec, str(path), 1)
        np.testing.assert_allclose(engine.run(batch)["scores"], models.expected(batch), atol=1e-6)


def test_an_output_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="no output logits; the model has scores"):
        TensorFlowEngine(classifier("keras", output="logits"), str(path), 1)


def test_importing_the_engine_imports_neither_tensorflow_nor_the_rest_of_the_package() -> None:
    script = (
        "import sys, pyspark_vision.executor.engines.tensorflow\n"
        "print([m for m in sys.modules if m.startswith(('tensorflow', 'keras'))\n"
        "       or m.startswith('pyspark_vision.') and '.executor' not in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_largest_batch_is_the_first_that_memory_takes(tmp_path: Path, monkeypatch: Any) -> None:
    spec = ModelSpec.inspect(models.save_keras(tmp_path / "model.keras"), accept=True)
    engine = load_engine(spec, spec.path, threads=1)
    assert isinstance(engine, TensorFlowEngine)
    tried: list[int] = []

    def run(batch: Any) -> None:
        tried.append(len(batch))
        if len(batch) > 4:
            raise engine._tensorflow.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(engine, "run", run)
    assert engine.largest_batch(spec, (16, 8, 4, 2, 1)) == 4
    assert tried == [16, 8, 4]
