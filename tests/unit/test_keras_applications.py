"""keras.applications by name: the right file names, given weights and labels, no internet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")

import keras
from keras.src.utils import file_utils

from pyspark_vision.bundles.readers import keras_applications
from pyspark_vision.bundles.readers.keras import family_of, read_keras
from pyspark_vision.bundles.readers.keras_applications import (
    APPLICATIONS,
    application,
    build_application,
    imagenet_labels,
)
from pyspark_vision.errors import InvalidModelError


def no_internet(*_: object, **__: object) -> Any:
    raise OSError("no internet here")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of MobileNet, as a user would supply them."""
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    keras.applications.MobileNet(weights=None).save_weights(path)
    return path


@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_application_is_one_of_keras_and_of_the_family_its_name_tells(name: str) -> None:
    app = APPLICATIONS[name]
    assert callable(getattr(keras.applications, app.builder))
    assert family_of(app.builder) == app.normalization
    assert app.color_order == ("bgr" if app.normalization == "caffe" else "rgb")


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "mobilenet_v3_small", "resnet50_v2"])
def test_the_weights_file_is_the_one_that_keras_asks_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def get_file(fname: str, *args: object, **kwargs: object) -> Any:
        asked.append(fname)
        raise OSError("no internet here")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(InvalidModelError) as refused:
        build_application(name, "unused")
    assert asked == [APPLICATIONS[name].weights_file]
    for said in ("no internet", f"`weights` FILE: {asked[0]}", "`labels` FILE", "1000 lines"):
        assert said in str(refused.value)


@pytest.mark.parametrize("spelled", ["mobilenet_v2", "MobileNetV2", "mobilenetv2", "MOBILENET-V2"])
def test_names_are_found_however_they_are_spelled(spelled: str) -> None:
    assert application(spelled) is APPLICATIONS["mobilenet_v2"]


def test_an_unknown_name_lists_the_names() -> None:
    assert application("mobilenet_v9") is None
    with pytest.raises(
        InvalidModelError, match=r"'mobilenet_v9' is not .* mobilenet, mobilenet_v2"
    ):
        build_application("mobilenet_v9", "unused")


def test_a_model_is_built_from_given_weights_without_internet(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_utils, "get_file", no_internet)
    path = build_application("MobileNet", tmp_path, weights)
    assert path == tmp_path / "mobilenet.keras"
    found = read_keras(path)
    assert found.family == "tf"
    assert found.inputs[0].shape == (-1, 224, 224, 3)
    assert found.outputs[0].shape == (-1, 1000)


def test_weights_that_are_missing_or_do_not_fit_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"no weights file at .*mobilenet_1_0_224_tf.h5"):
        build_application("mobilenet", tmp_path, tmp_path / "absent.h5")
    with pytest.raises(
        InvalidModelError, match=r"do not fit mobilenet_v3_small.*_small_224_1.0_fl"
    ):
        build_application("mobilenet_v3_small", tmp_path, weights)


def test_labels_come_from_the_given_file(tmp_path: Path) -> None:
    lines = tmp_path / "labels.txt"
    lines.write_text("".join(f"class {n}\n" for n in range(1000)))
    assert imagenet_labels(tmp_path, lines) == lines
    index = tmp_path / "imagenet_class_index.json"
    index.write_text(json.dumps({str(n): [f"n{n:08}", f"class_{n}"] for n in range(1000)}))
    assert imagenet_labels(tmp_path, index) == index
    lines.write_text("cat\ndog\n")
    with pytest.raises(InvalidModelError, match=r"has 2 labels; .* 1000"):
        imagenet_labels(tmp_path, lines)


def test_labels_that_cannot_be_downloaded_name_the_file_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.urlopen", no_internet)
    with pytest.raises(InvalidModelError, match=r"no internet here.*imagenet_class_index.json"):
        imagenet_labels(tmp_path)


def test_labels_are_downloaded_where_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served.json"
    served.write_text(json.dumps({str(n): [f"n{n:08}", f"class_{n}"] for n in range(1000)}))
    monkeypatch.setattr(keras_applications, "_CLASS_INDEX_URL", served.as_uri())
    assert imagenet_labels(tmp_path / "work").read_text() == served.read_text()
