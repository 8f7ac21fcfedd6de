"""Keras models that prepare pictures themselves, and configurations of Keras 2."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.readers.keras_layers import preparing
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.engines.keras_migration import migrated
from pyspark_vision.executor.outputs.heads import EmbedOptions
from pyspark_vision.executor.predictor import Predictor

Array = np.ndarray[Any, Any]
layers = keras.layers


def headed(*first: Any, sides: tuple[int | None, int | None] = (8, 8)) -> Any:
    """A model whose answer is the mean of each colour, after its ``first`` layers."""
    pooled = [layers.Conv2D(3, 1, use_bias=False, name="conv"), layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((*sides, 3)), *first, *pooled])
    model.get_layer("conv").set_weights([np.eye(3, dtype=np.float32)[None, None]])
    return model


def adapted() -> Any:
    layer = layers.Normalization(name="adapted")
    rng = np.random.default_rng(0)
    layer.adapt(rng.integers(0, 256, (4, 8, 8, 3)).astype(np.float32))
    return layer


def of_operators() -> Any:
    """``preprocess_input`` of the ``tf`` family, called on a model's input."""
    image = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1, name="conv")(image / 127.5 - 1.0))
    return keras.Model(image, pooled)


def vector(spec: ModelSpec, pixels: Array) -> Any:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    predictor = Predictor(
        spec, load_engine(spec, spec.path, 1), DecodeOptions(), EmbedOptions(False)
    )
    (row,) = predictor.predict([file.getvalue()])
    assert row.error is None, row.error
    return row.value


@pytest.mark.parametrize(
    ("make", "family", "by"),
    [
        (lambda: headed(layers.Rescaling(1 / 255)), "none", "Rescaling"),
        (lambda: headed(layers.Rescaling(2.0, offset=-1.0)), "unit", "Rescaling"),
        (
            lambda: headed(layers.Normalization(mean=[120] * 3, variance=[3600] * 3)),
            "none",
            "Normalization",
        ),
        (lambda: headed(layers.Normalization(mean=0.45, variance=0.05)), "unit", "Normalization"),
        (lambda: headed(adapted()), "none", "Normalization"),
        (
            lambda: headed(
                keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1)])
            ),
            "none",
            "Rescaling",
        ),
        (of_operators, "none", "TrueDivide, Subtract"),
        # The input's sides are fixed: what is resized inside is the model's own affair.
        (
            lambda: headed(layers.Resizing(4, 4), layers.Rescaling(1 / 255)),
            "none",
            "Resizing, Rescaling",
        ),
    ],
    ids=["Rescaling", "0..1", "mean", "of 0..1", "adapted", "augmented", "operators", "fixed"],
)
def test_what_a_model_does_itself_is_not_done_twice(
    make: Any, family: str, by: str, tmp_path: Path
) -> None:
    model = make()
    model.save(tmp_path / "m.keras")
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    proposal = propose_model(tmp_path / "m.keras", "embed")

    assert proposal.open_fields == []
    assert proposal.spec.normalization == family
    assert proposal.why.endswith(f"it begins with its own {by}")
    fed = pixels[None] / (255.0 if family == "unit" else 1.0)
    expected = np.asarray(model(fed.astype(np.float32), training=False))[0]
    np.testing.assert_allclose(vector(proposal.spec, pixels), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("resizing", "fields"),
    [
        ({}, {"resize": "stretch", "resize_filter": "opencv_bilinear"}),
        ({"crop_to_aspect_ratio": True}, {"resize": "center_crop"}),
        ({"pad_to_aspect_ratio": True}, {"resize": "letterbox", "pad_value": 0}),
        ({"interpolation": "nearest"}, {"resize_filter": "nearest"}),
    ],
)
def test_a_resizing_layer_says_which_pictures_a_model_of_any_size_takes(
    resizing: dict[str, Any], fields: dict[str, Any], tmp_path: Path
) -> None:
    first = (layers.Resizing(8, 6, **resizing), layers.Rescaling(1 / 255))
    headed(*first, sides=(None, None)).save(tmp_path / "m.keras")

    proposal = propose_model(tmp_path / "m.keras", "embed")

    assert proposal.open_fields == []
    assert proposal.spec.input_hw == (8, 6)
    assert {name: getattr(proposal.spec, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("first", "name", "why"),
    [
        # Neither of 0..255 nor of 0..1 it makes what networks are fed with.
        ([layers.Rescaling(0.1)], "normalization", r"\(Rescaling\) make 0 to 25.5 of pixels"),
        ([], "normalization", "how pixels are scaled"),
        (
            [layers.Resizing(8, 8, interpolation="bicubic"), layers.Rescaling(1 / 255)],
            "resize_filter",
            "interpolates by 'bicubic'",
        ),
        ([layers.CenterCrop(4, 4), layers.Rescaling(1 / 255)], "input_hw", "takes any size"),
    ],
)
def test_what_the_first_layers_leave_open_is_a_proposal(
    first: list[Any], name: str, why: str, tmp_path: Path
) -> None:
    sides = (None, None) if name != "normalization" else (8, 8)
    headed(*first, sides=sides).save(tmp_path / "m.keras")

    proposal = propose_model(tmp_path / "m.keras", "embed")

    assert proposal.open_fields == [name]
    assert proposal.guesses[name].why
    with pytest.raises(InvalidModelError, match=why):
        raise InvalidModelError(proposal.question())


def test_layers_behind_a_fork_or_the_first_weights_say_nothing() -> None:
    image = keras.Input((8, 8, 3))
    fork = keras.Model(image, layers.Add()([layers.Rescaling(1 / 255)(image), image]))
    late = keras.Model(image, layers.Rescaling(1 / 255)(layers.Conv2D(3, 1)(image)))

    for model in (fork, late):
        config = {"class_name": "Functional", "config": model.get_config()}
        assert preparing(json.loads(json.dumps(config, default=str)), False).layers == ()
    assert preparing({}, True).layers == ()


def as_keras_2(path: Path, change: Any) -> Path:
    """Rewrite the layers of an ``.h5`` file as Keras 2 wrote them."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        waiting = [config]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                change(part)
                waiting.extend(part.values())
            elif isinstance(part, list):
                waiting.extend(part)
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.4.0"
    return path


def with_groups(part: dict[str, Any]) -> None:
    if part.get("class_name") in ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"):
        part["config"]["groups"] = 1


def test_an_h5_of_keras_2_with_groups_in_its_layers_is_loaded(tmp_path: Path) -> None:
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.DepthwiseConv2D(3),
            layers.SeparableConv2D(4, 1),
            layers.Conv2DTranspose(5, 2),
            layers.GlobalAveragePooling2D(),
        ],
        name="sequential_1",
    )
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, layers.Dense(2)], name="sequential_4")
    model.save(tmp_path / "m.h5")
    path = as_keras_2(tmp_path / "m.h5", with_groups)
    (tmp_path / "labels.txt").write_text("0 Class 1\n1 Class 2\n")
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    spec = propose_model(path, "embed", normalization="unit").spec

    expected = np.asarray(model(pixels[None].astype(np.float32) / 255, training=False))[0]
    np.testing.assert_allclose(vector(spec, pixels), expected, atol=1e-5)
    labelled = propose_model(path, labels=tmp_path / "labels.txt").spec
    assert labelled.labels == ((0, "Class 1"), (1, "Class 2"))


def test_arithmetic_that_keras_2_wrote_as_operators_becomes_rescaling(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3), name="input_1")
    halved = layers.Rescaling(1 / 127.5, name="tf.math.truediv")(image)
    moved = layers.Rescaling(1.0, offset=-1.0, name="tf.math.subtract")(halved)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(moved))
    model = keras.Model(image, pooled)
    model.save(tmp_path / "m.h5")

    def as_operator(part: dict[str, Any]) -> None:
        fields = part.get("config")
        if part.get("class_name") != "Rescaling" or not isinstance(fields, dict):
            return
        name = fields["name"]
        source, number = ("input_1", 127.5) if "truediv" in name else ("tf.math.truediv", 1.0)
        part["class_name"] = "TFOpLambda"
        part.pop("module", None)
        part.pop("registered_name", None)
        part["config"] = {"name": name, "trainable": True, "function": name.removeprefix("tf.")}
        part["inbound_nodes"] = [[source, 0, 0, {"y": number, "name": None}]]

    path = as_keras_2(tmp_path / "m.h5", as_operator)
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)

    proposal = propose_model(path, "embed")

    assert proposal.open_fields == []
    assert proposal.spec.normalization == "none"
    expected = np.asarray(model(pixels[None].astype(np.float32), training=False))[0]
    np.testing.assert_allclose(vector(proposal.spec, pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"class_name": "DepthwiseConv2D", "config": {"groups": 2}},
            r"layer 'depthwise\w*' \(DepthwiseConv2D\): .*groups.*Save it again with the Keras",
        ),
        (
            {"class_name": "TFOpLambda", "config": {"function": "nn.bias_add"}},
            r"layer 'depthwise\w*' is of TFOpLambda, which Keras 3\S* lacks\. Save it again",
        ),
    ],
)
def test_what_cannot_be_migrated_names_the_layer_and_the_way(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    image = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3)(image))
    keras.Model(image, pooled).save(tmp_path / "m.h5")

    def rewrite(part: dict[str, Any]) -> None:
        if part.get("class_name") == "DepthwiseConv2D":
            part["class_name"] = change["class_name"]
            part["config"] = {**part["config"], **change["config"]}
            part.pop("module", None)

    path = as_keras_2(tmp_path / "m.h5", rewrite)

    with pytest.raises(InvalidModelError, match=said):
        propose_model(path, "embed")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("math.truediv", {"y": 0}),
        ("math.truediv", {"y": None}),
        ("math.subtract", {"y": ["other", 0, 0]}),
        ("nn.relu", {}),
    ],
)
def test_operators_that_are_no_arithmetic_with_numbers_stay(
    function: str, arguments: dict[str, Any]
) -> None:
    config = {
        "class_name": "TFOpLambda",
        "config": {"name": "op", "function": function},
        "inbound_nodes": [["input", 0, 0, arguments]],
    }
    assert migrated(config) == config


@pytest.mark.parametrize("value", [None, [], {}, "text", {"class_name": 3, "config": []}])
def test_what_is_no_configuration_comes_back(value: Any) -> None:
    assert migrated(value) == value
