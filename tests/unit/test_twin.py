"""A LiteRT twin of every TensorFlow format agrees with it; one that does not is refused."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

import keras
import tensorflow_models as models
from PIL import Image

from pyspark_vision.bundles import twin
from pyspark_vision.bundles.agreement import Agreement, compare
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.twin import add_twin, make_litert_twin, with_twin
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines import tensorflow as engine

DATA = Path(
    os.environ.get("PYSPARK_VISION_TEST_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)


def png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    """Eight pictures of noise, each lighter than the one before."""
    rng = np.random.default_rng(0)
    return [png(rng.integers(0, 31 * (n + 1), (12, 20, 3), dtype=np.uint8)) for n in range(8)]


CLASSIFIERS = [
    pytest.param(make, name, id=make.__name__, marks=[pytest.mark.slow] if is_slow else [])
    for make, name, is_slow in [
        (models.export_keras_3, "model", False),
        (models.save_without_signature, "model", False),
        (models.save_with_optimizer_slots, "model", True),
        (models.save_keras, "model.keras", True),
        (models.save_h5_with_optimizer, "model.h5", False),
        (models.save_frozen_classifier, "model.pb", True),
    ]
]


@pytest.mark.parametrize(("make", "name"), CLASSIFIERS)
def test_the_twin_of_every_format_agrees(
    make: Callable[[Path], Path], name: str, images: list[bytes], tmp_path: Path
) -> None:
    spec = ModelSpec.inspect(
        make(tmp_path / name), task="classify", normalization="unit", accept=True
    )
    twinned = add_twin(spec, images, folder=tmp_path / "bundle")
    assert [file.format for file in twinned.files] == [spec.file.format, "tflite"]
    assert twinned.file.engine == "litert"
    assert dict(twinned.file.outputs) == {"scores": "scores"}
    assert (tmp_path / "bundle" / twinned.file.path).is_file()
    agreement = compare(spec, twinned, images)
    assert (agreement.images, agreement.top1_agreement) == (8, 1.0)
    assert agreement.max_score_difference < 1e-5


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (models.save_detector, "model"),
        pytest.param(models.save_frozen_detector, "model.pb", marks=pytest.mark.slow),
    ],
)
def test_the_twin_of_a_detector_agrees_on_boxes_and_classes(
    make: Callable[[Path], Path], name: str, images: list[bytes], tmp_path: Path
) -> None:
    spec = ModelSpec.inspect(make(tmp_path / name), input_hw=(16, 24), accept=True)
    assert spec.task == "detect"
    agreement = compare(spec, add_twin(spec, images), images)
    assert agreement.top1_agreement == 1.0
    assert agreement.max_score_difference < 1e-5
    assert agreement.min_box_iou is not None
    assert agreement.mean_box_iou is not None
    assert 0.999 < agreement.min_box_iou <= agreement.mean_box_iou


@pytest.mark.slow
def test_the_twin_of_an_embedding_agrees(images: list[bytes], tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    spec = ModelSpec.inspect(path, layer="pool", normalization="unit", accept=True)
    assert spec.task == "embed"
    agreement = compare(spec, add_twin(spec, images), images)
    assert agreement.top1_agreement == 1.0
    assert agreement.max_score_difference < 1e-6


@pytest.mark.slow
def test_a_twinned_bundle_is_saved_and_loaded_again(images: list[bytes], tmp_path: Path) -> None:
    spec = ModelSpec.inspect(
        models.save_keras(tmp_path / "model.keras"), labels=["a", "b", "c", "d"], accept=True
    )
    twinned = add_twin(spec, images)
    loaded = ModelSpec.load(twinned.save(tmp_path / "bundle"))
    assert loaded == twinned
    assert compare(loaded, loaded, images).top1_agreement == 1.0


def test_a_twin_that_disagrees_is_refused_with_the_figures(
    images: list[bytes], tmp_path: Path
) -> None:
    spec = ModelSpec.inspect(
        models.save_keras(tmp_path / "model.keras"), normalization="unit", accept=True
    )
    other = models.keras_model()
    other.set_weights([models.WEIGHTS + np.array([0, 0, 0, -0.2], np.float32)])
    other.save(tmp_path / "other.keras")
    of_other = with_twin(
        ModelSpec.inspect(tmp_path / "other.keras", normalization="unit", accept=True),
        tmp_path / "other",
    )
    agreement = compare(spec, of_other, images)
    assert agreement.max_score_difference > 0.01
    with pytest.raises(InvalidModelError, match=r"score difference 0\.\d+; required .* 0.001"):
        agreement.check(1e-3, "small")


@pytest.mark.parametrize(
    ("agreement", "agrees"),
    [
        (Agreement(4, 1.0, 1e-4), True),
        (Agreement(4, 0.75, 1e-4), False),
        (Agreement(4, 1.0, 2e-3), False),
        (Agreement(4, 1.0, float("nan")), False),
        (Agreement(4, 1.0, 1e-4, 0.995, 0.999), True),
        (Agreement(4, 1.0, 1e-4, 0.9, 0.999), False),
    ],
)
def test_the_tolerance_covers_top_1_scores_and_boxes(agreement: Agreement, agrees: bool) -> None:
    if agrees:
        agreement.check(1e-3, "model")
        return
    with pytest.raises(InvalidModelError, match="the twin disagrees"):
        agreement.check(1e-3, "model")


@pytest.mark.slow
def test_a_swapped_detector_disagrees(images: list[bytes], tmp_path: Path) -> None:
    spec = ModelSpec.inspect(
        models.save_detector(tmp_path / "model"), input_hw=(16, 24), accept=True
    )
    twinned = add_twin(spec, images)
    swapped = twinned.with_options(box_format="xyxy")
    agreement = compare(spec, swapped, images)
    assert agreement.top1_agreement < 1.0
    assert agreement.min_box_iou is not None
    assert agreement.min_box_iou < 0.9


@pytest.mark.slow
def test_images_that_cannot_be_decoded_are_left_out(images: list[bytes], tmp_path: Path) -> None:
    spec = ModelSpec.inspect(models.save_keras(tmp_path / "model.keras"), accept=True)
    twinned = with_twin(spec)
    assert compare(spec, twinned, [b"no picture", *images]).images == 8
    with pytest.raises(InvalidModelError, match="none of the 2 sample images can be decoded"):
        compare(spec, twinned, [b"no picture", b""])


def test_a_model_that_litert_cannot_run_says_which_operators(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = models.save_frozen_detector(tmp_path / "model.pb", loop=True)
    spec = ModelSpec.inspect(path, input_hw=(16, 24), accept=True)
    capfd.readouterr()
    with pytest.raises(InvalidModelError, match=r"no kernel for .*TensorArrayV3.*twin=False"):
        make_litert_twin(spec, tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_large_models_twin_is_made_in_a_process_of_its_own(
    images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    spec = ModelSpec.inspect(path, normalization="unit", accept=True)
    monkeypatch.setattr(engine, "FROZEN_BELOW_BYTES", 0)
    monkeypatch.setattr(twin, "convert", None)  # not here
    agreement = compare(spec, add_twin(spec, images, folder=tmp_path / "bundle"), images)
    assert (agreement.images, agreement.top1_agreement) == (8, 1.0)
    assert agreement.max_score_difference < 1e-5


@pytest.mark.slow
def test_a_large_model_that_litert_cannot_run_says_which_operators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save_frozen_detector(tmp_path / "model.pb", loop=True)
    spec = ModelSpec.inspect(path, input_hw=(16, 24), accept=True)
    monkeypatch.setattr(engine, "FROZEN_BELOW_BYTES", 0)
    with pytest.raises(InvalidModelError, match=r"no kernel for .*TensorArrayV3.*twin=False"):
        make_litert_twin(spec, tmp_path)


def test_a_twins_process_that_is_killed_says_memory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec.inspect(models.save_keras(tmp_path / "model.keras"), accept=True)
    monkeypatch.setattr(engine, "FROZEN_BELOW_BYTES", 0)
    kill = tmp_path / "python"
    kill.write_text("#!/bin/sh\nkill -9 $$\n")
    kill.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(kill))
    with pytest.raises(InvalidModelError, match=r"signal 9: memory ran out.*twin=False"):
        make_litert_twin(spec, tmp_path)


def test_only_tensorflow_models_have_twins(images: list[bytes], tmp_path: Path) -> None:
    twinned = with_twin(ModelSpec.inspect(models.save_keras(tmp_path / "model.keras"), accept=True))
    alone = dataclasses.replace(twinned, files=twinned.files[1:])
    with pytest.raises(InvalidModelError, match="no TensorFlow file to make a twin of"):
        add_twin(alone, images)


def test_the_twin_of_a_convolutional_network_agrees_in_every_element(
    images: list[bytes], tmp_path: Path
) -> None:
    """Strided and depthwise convolutions, normalization and ReLU6, as MobileNets have them."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 3), name="image")
    for layer in (
        keras.layers.Conv2D(16, 3, strides=2, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(6.0),
        keras.layers.DepthwiseConv2D(3, padding="same"),
        keras.layers.Conv2D(32, 1),
        keras.layers.GlobalAveragePooling2D(),
    ):
        x = layer(x)
    keras.Model(image, x).save(tmp_path / "model.keras")
    spec = ModelSpec.inspect(
        tmp_path / "model.keras", task="embed", normalization="tf", accept=True
    )
    agreement = compare(spec, with_twin(spec), images)
    assert agreement.top1_agreement == 1.0
    assert agreement.max_score_difference < 1e-5


@pytest.mark.slow
def test_the_twin_of_the_cifar10_model_of_mlperf_tiny_agrees_on_photos() -> None:
    path, photos = DATA / "models" / "cifar10_resnet8.h5", DATA / "photos"
    if not path.exists():
        pytest.skip(f"no test data at {DATA}; set PYSPARK_VISION_TEST_DATA")
    spec = ModelSpec.inspect(path, normalization="none", accept=True)
    pictures = [photo.read_bytes() for photo in sorted(photos.iterdir())[:6]]
    agreement = compare(spec, with_twin(spec), pictures)
    assert agreement.images > 0
    assert agreement.top1_agreement == 1.0
    assert agreement.max_score_difference < 1e-4
