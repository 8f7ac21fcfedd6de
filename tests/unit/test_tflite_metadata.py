"""TensorFlow Lite's metadata: normalization, labels, how a detector's outputs are read."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tflite_metadata import (
    boxes,
    label_file,
    normalization,
    put_bytes,
    put_metadata,
    tensor,
    threshold,
)

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.readers.tflite import read_tflite
from pyspark_vision.bundles.readers.tflite_metadata import Metadata, read_metadata
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions
from pyspark_vision.executor.predictor import Predictor

LABELS = {"labels.txt": "red\ngreen\nblue\n"}


@pytest.fixture
def classifier(tiny_tflite: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_tflite, tmp_path / "classifier.tflite"))


@pytest.fixture(scope="session")
def raw_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four outputs whose names say nothing: a box, its class, its score, the count."""
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
    def detect(image: Any) -> dict[str, Any]:
        light = tf.reduce_mean(image)
        box = tf.constant([[[0.15, 0.3, 0.35, 0.7]]])
        rows = {"a": box, "b": tf.constant([[1.0]]), "c": tf.constant([[0.9]]), "d": [1.0]}
        return {name: values + 0 * light for name, values in rows.items()}

    module = tf.Module()
    module.detect = detect
    functions = [detect.get_concrete_function()]
    path = tmp_path_factory.mktemp("raw") / "raw.tflite"
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, module)
    path.write_bytes(converter.convert())
    return path


def answer(spec: Any, head: Any, colour: tuple[int, int, int] = (0, 64, 32)) -> Any:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, "PNG")
    (row,) = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), head).predict(
        [file.getvalue()]
    )
    assert row.error is None, row.error
    return row.value


def test_a_classifier_with_metadata_is_known_and_right(classifier: Path) -> None:
    put_metadata(
        classifier,
        [tensor("image", units=[normalization([127.5], [127.5])])],
        [tensor("probability", units=[threshold(0.25)], files=[label_file("labels.txt")])],
        LABELS,
    )

    proposal = propose_model(classifier)

    assert proposal.verdict == (
        "known: its metadata (normalization, labels, scores count from 0.25 on)"
    )
    assert (proposal.spec.task, proposal.spec.normalization) == ("classify", "tf")
    assert proposal.spec.labels == ((0, "red"), (1, "green"), (2, "blue"))
    found = answer(proposal.spec, ClassifyOptions(3, 0.0))
    weights = np.exp((np.array([64, 32, 0]) / 127.5 - 1) / 32)
    np.testing.assert_allclose(found.scores, weights / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "fields"),
    [
        ([0.0], [1.0], {"normalization": "none"}),
        ([0.0], [255.0], {"normalization": "unit"}),
        (
            [120.0, 110.0, 100.0],
            [60.0, 59.0, 58.0],
            {"normalization": "values", "mean": (120, 110, 100), "std": (60, 59, 58)},
        ),
    ],
)
def test_normalization_is_that_of_the_metadata(
    mean: list[float], std: list[float], fields: dict[str, Any], classifier: Path
) -> None:
    put_metadata(
        classifier, [tensor("image", units=[normalization(mean, std)])], [tensor("scores")]
    )

    spec = propose_model(classifier).spec

    assert {name: getattr(spec, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("kind", "index", "coordinates", "expected"),
    [
        (1, (1, 0, 3, 2), 0, ("yxyx", "normalized")),
        (1, (0, 1, 2, 3), 1, ("xyxy", "pixel")),
        (2, (), 0, ("xywh", "normalized")),
        (3, (0, 1, 2, 3), 0, ("cxcywh", "normalized")),
    ],
)
def test_a_detectors_outputs_are_read_in_the_order_of_the_metadata(
    kind: int,
    index: tuple[int, ...],
    coordinates: int,
    expected: tuple[str, str],
    raw_detector: Path,
    tmp_path: Path,
) -> None:
    path = Path(shutil.copy(raw_detector, tmp_path / "d.tflite"))
    names = {(1, 1, 4): "location", (1,): "number of detections"}
    outputs = []
    for output in read_tflite(path).outputs:
        if output.shape in names:
            content = boxes(kind, index, coordinates) if output.shape == (1, 1, 4) else None
            outputs.append(tensor(names[output.shape], content))
        else:
            is_class = output.name == "b"
            files = [label_file("labels.txt", 3)] if is_class else []
            outputs.append(tensor("category" if is_class else "score", files=files))
    put_metadata(path, [tensor("image", units=[normalization([0], [255])])], outputs, LABELS)

    proposal = propose_model(path)

    assert proposal.open_fields == []
    assert (proposal.spec.box_format, proposal.spec.coordinates) == expected
    assert dict(proposal.spec.file.outputs) == {
        "boxes": "a",
        "classes": "b",
        "scores": "c",
        "count": "d",
    }
    if expected == ("yxyx", "normalized"):
        found = answer(proposal.spec, DetectOptions(0.5, 10, None))
        np.testing.assert_allclose(found.xyxy, [[0.3, 0.15, 0.7, 0.35]], atol=1e-6)


def test_an_order_of_sides_that_is_none_of_ours_is_open(raw_detector: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(raw_detector, tmp_path / "d.tflite"))
    names = {"a": "location", "b": "category", "c": "score", "d": "number of detections"}
    outputs = [
        tensor(names[output.name], boxes(1, (0, 2, 1, 3)) if output.name == "a" else None)
        for output in read_tflite(path).outputs
    ]
    put_metadata(path, [tensor("image", units=[normalization([0], [255])])], outputs)

    assert propose_model(path).open_fields == ["box_format"]


def test_the_operators_outputs_are_its_own_whatever_the_metadata_calls_them(
    tiny_detector: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(tiny_detector, tmp_path / "d.tflite"))
    before = read_tflite(path).roles
    put_metadata(path, [tensor("image")], [tensor("score", boxes(3))] * 4)

    found = read_tflite(path)

    assert found.roles == before
    assert dict(found.fields) == {}


def test_labels_of_the_readers_own_language_come_first(classifier: Path) -> None:
    files = [label_file("de.txt", 2, "de"), label_file("en.txt", 2, "en")]
    put_metadata(
        classifier,
        [tensor("image")],
        [tensor("scores", files=files)],
        {"de.txt": "rot\ngrün\nblau\n", "en.txt": "red\ngreen\nblue\n"},
    )

    assert read_tflite(classifier).labels[0] == (0, "red")


def quantized(path: Path, low: float, high: float) -> Path:
    """An int8 classifier whose input was calibrated on ``low`` to ``high``."""
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
    def classify(image: Any) -> dict[str, Any]:
        return {"scores": tf.nn.softmax(tf.reduce_mean(image, [1, 2]))}

    module = tf.Module()
    module.classify = classify
    functions = [classify.get_concrete_function()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    drawn = np.random.default_rng(0).uniform(low, high, (4, 1, 8, 8, 3)).astype(np.float32)
    drawn[:, 0, 0, 0, 0], drawn[:, 0, 0, 0, 1] = low, high
    converter.representative_dataset = lambda: ([one] for one in drawn)
    converter.inference_input_type = tf.int8
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize(
    ("low", "high", "fields"),
    [
        (-0.5, 0.5, {"normalization": "tf"}),
        # Of the whole range it takes the pixel itself, less 128.
        (-1.0, 1.0, {"normalization": "none", "input_scale": None}),
    ],
)
def test_a_quantized_input_takes_the_metadatas_normalization_with_its_scale(
    low: float, high: float, fields: dict[str, Any], tmp_path: Path
) -> None:
    path = quantized(tmp_path / "q.tflite", low, high)
    units = [normalization([127.5], [127.5])]
    put_metadata(path, [tensor("image", units=units)], [tensor("scores")])

    spec = propose_model(path, "classify").spec

    assert {name: getattr(spec, name) for name in fields} == fields
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(1)
    preprocessor.fill(batch, 0, Image.new("RGB", (8, 8), (255, 128, 90)))
    real = np.array([255, 128, 90]) / 127.5 - 1
    scale = (high - low) / 255
    expected = np.clip(np.rint(np.clip(real, low, high) / scale - 0.5), -128, 127)
    assert np.abs(batch[0, 0, 0] - expected).max() <= 1


def test_a_model_without_metadata_has_none(classifier: Path) -> None:
    assert read_metadata(classifier) == Metadata()
    put_metadata(classifier, [], [])
    assert read_metadata(classifier) == Metadata()


@pytest.mark.parametrize("metadata", [b"\xff" * 40, b"\x04", b"\x10\0\0\0" + b"\x7f" * 60])
def test_damaged_metadata_is_an_invalid_model(metadata: bytes, classifier: Path) -> None:
    put_bytes(classifier, metadata)

    with pytest.raises(InvalidModelError, match=r"its metadata is damaged"):
        read_tflite(classifier)


@pytest.mark.parametrize(("mean", "std"), [([0, 0], [1, 1]), ([0], [0]), ([0], []), ([0], [-1])])
def test_a_normalization_that_is_none_is_refused(
    mean: list[float], std: list[float], classifier: Path
) -> None:
    units = [normalization(mean, std)]
    put_metadata(classifier, [tensor("image", units=units)], [tensor("scores")])

    with pytest.raises(InvalidModelError, match="its metadata normalizes with mean"):
        read_tflite(classifier)


def test_the_preparation_of_the_metadata_is_its_formula(classifier: Path) -> None:
    units = [normalization([120.0, 110.0, 100.0], [60.0, 59.0, 58.0])]
    put_metadata(classifier, [tensor("image", units=units)], [tensor("scores")])
    preprocessor = Preprocessor(propose_model(classifier).spec)
    batch = preprocessor.empty_batch(1)

    preprocessor.fill(batch, 0, Image.new("RGB", (8, 8), (255, 0, 7)))

    expected = [(255 - 120) / 60, -110 / 59, (7 - 100) / 58]
    np.testing.assert_allclose(batch[0, 0, 0], expected, atol=1e-5)
