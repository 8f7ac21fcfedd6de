"""OpenVINO behind the engine protocol: the same answers as a file's own engine, and bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import save_classifier, save_constant, save_custom_operator
from pictures import asymmetric, encoded
from pyspark.sql import SparkSession

import pyspark_vision.functions as V
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.choice import has_bf16
from pyspark_vision.bundles.fit import check_fits
from pyspark_vision.bundles.model_source import read_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.engines.openvino import BATCH_SIZE

MODELS = Path(__file__).resolve().parent.parent.parent / "models"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def outputs_of(spec: ModelSpec, images: int) -> dict[str, Any]:
    """What the spec's engine makes of random pixels, run in batches as it likes them."""
    rng = np.random.default_rng(1)
    batch = rng.integers(0, 127, spec.input_shape(images)).astype(spec.input_dtype)
    engine = load_engine(spec, spec.path, threads=1)
    size = engine.batch_size
    runs = [engine.run(batch[start : start + size]) for start in range(0, images, size)]
    return {role: np.concatenate([run[role] for run in runs]) for role in runs[0]}


@pytest.mark.parametrize("model", ["demo-classifier", "demo-detector", "demo-embedder"])
@pytest.mark.parametrize("images", [1, 2, 2 * BATCH_SIZE + 1])
def test_a_tflite_model_gives_what_litert_gives(model: str, images: int) -> None:
    spec = ModelSpec.load(MODELS / model)
    ours = outputs_of(spec.with_options(engine="openvino"), images)
    for role, values in outputs_of(spec.with_options(engine="litert"), images).items():
        np.testing.assert_allclose(ours[role], values, atol=1e-5, rtol=1e-5)


def test_an_onnx_model_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    spec = ModelSpec.inspect(save_classifier(tmp_path / "m.onnx"), accept=True)
    ours = outputs_of(spec.with_options(engine="openvino"), 6)
    np.testing.assert_allclose(ours["scores"], outputs_of(spec, 6)["scores"], rtol=1e-5)


def test_bf16_differs_by_its_eight_bits_and_float32_does_not() -> None:
    spec = ModelSpec.load(MODELS / "demo-classifier")
    exact = outputs_of(spec, BATCH_SIZE)["scores"]
    lowered = outputs_of(spec.with_options(precision="bf16"), BATCH_SIZE)["scores"]
    np.testing.assert_allclose(lowered, exact, atol=0.1)
    assert bool(np.abs(lowered - exact).max() > 1e-5) == bool(has_bf16())


def test_a_model_that_mixes_the_images_of_a_batch_is_given_one_at_a_time(tmp_path: Path) -> None:
    """As converters write the batch of one into a graph: here, scores less the batch's mean."""
    path = save_classifier(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "raw"
    mean = helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0], keepdims=1)
    model.graph.node.extend([mean, helper.make_node("Sub", ["raw", "mean"], ["logits"])])
    onnx.save(model, path)
    spec = ModelSpec.inspect(path, engine="openvino", accept=True)
    assert load_engine(spec, spec.path, threads=1).batch_size == 1


def test_a_fixed_batch_of_one_that_refuses_another_is_given_one_at_a_time(tmp_path: Path) -> None:
    boxes = save_constant(tmp_path / "m.onnx", {"output0": np.zeros((1, 5, 6))})
    spec = ModelSpec.inspect(boxes, engine="openvino", accept=True)
    assert load_engine(spec, spec.path, threads=1).batch_size == 1
    assert outputs_of(spec, 3)["end_to_end"].shape == (3, 5, 6)


def test_an_operator_that_openvino_lacks_is_refused_on_the_driver(tmp_path: Path) -> None:
    path = save_classifier(tmp_path / "m.onnx")
    spec, found = ModelSpec.inspect(path, accept=True), read_model(path)
    save_custom_operator(path)
    with pytest.raises(InvalidModelError, match="cannot run on openvino"):
        check_fits(spec.with_options(engine="openvino"), found)


@pytest.mark.slow
def test_a_quantized_output_is_the_real_number_it_stands_for() -> None:
    path = DATA / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    spec = ModelSpec.inspect(path, accept=True)
    ours = outputs_of(spec.with_options(engine="openvino"), 1)["scores"]
    theirs = outputs_of(spec, 1)["scores"]
    assert (ours.dtype, ours.max() <= 1.0) == (np.float32, True)
    # One quantized model differs by up to 0.07 between kernels (pitfalls).
    np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_the_row_contract_holds_with_bf16(spark: SparkSession) -> None:
    spec = ModelSpec.load(MODELS / "demo-classifier").with_options(precision="bf16")
    pictures = [(0, encoded(asymmetric(), "JPEG")), (1, b"no picture"), (2, None), (3, b"")]
    frame = spark.createDataFrame(pictures, "id int, content binary")
    rows = frame.select("id", V.classify_image("content", spec, top_k=1).alias("r")).collect()
    found = {row.id: row.r for row in rows}
    assert len(found[0].predictions) == 1
    assert (found[0].model, found[0].model_sha256) == (spec.name, spec.sha256)
    assert [found[i].error.code for i in (1, 2, 3)] == [
        "unsupported_format",
        "null_input",
        "empty_input",
    ]
