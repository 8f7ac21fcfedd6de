"""Models made here, with known answers: inspected, saved, loaded and run."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.proposal import trial
from pyspark_vision.bundles.readers.tflite import read_tflite
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, HeadOptions
from pyspark_vision.executor.predictor import Predictor


def predict(spec: ModelSpec, head: HeadOptions, colour: tuple[int, int, int]) -> Any:
    """What the model finds in a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(file, "PNG")
    engine = load_engine(spec, spec.path, threads=1)
    (row,) = Predictor(spec, engine, DecodeOptions(), head).predict([file.getvalue()])
    assert row.error is None, row.error
    return row.value


def with_labels_inside(model: Path, target: Path, name: str, labels: str) -> Path:
    """The model with a zip at its end, as TensorFlow Lite's metadata is stored."""
    shutil.copyfile(model, target)
    with zipfile.ZipFile(target, "a") as zipped:
        zipped.writestr(name, labels)
    return target


def test_classifier_gives_the_probabilities_of_its_mean_colours(tiny_tflite: Path) -> None:
    spec = ModelSpec.inspect(tiny_tflite, labels=["red", "green", "blue"], accept=True)
    found = predict(spec, ClassifyOptions(3, 0.0), (0, 64, 32))
    weights = np.exp([2.0, 1.0, 0.0])
    assert found.class_ids.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.scores, weights / weights.sum(), rtol=1e-5)


def test_classifier_is_understood_from_its_file(tiny_tflite: Path) -> None:
    spec = ModelSpec.inspect(tiny_tflite, accept=True)
    assert (spec.task, spec.input_hw, spec.input_dtype) == ("classify", (8, 8), "float32")
    assert (spec.score_kind, spec.fixed_batch) == ("probability", 1)


def test_the_detection_operator_settles_the_task(tiny_detector: Path, tiny_tflite: Path) -> None:
    assert not {"task", "box_format"} & propose_model(tiny_detector).guesses.keys()
    assert "task" not in propose_model(tiny_tflite).guesses  # its scores add up to one


def test_detection_operator_gives_the_roles_whatever_outputs_are_called(
    tiny_detector: Path,
) -> None:
    assert dict(read_tflite(tiny_detector).roles) == {
        "boxes": "third",
        "classes": "first",
        "scores": "fourth",
        "count": "second",
    }


def test_detector_gives_its_anchors_as_boxes(tiny_detector: Path) -> None:
    spec = ModelSpec.inspect(tiny_detector, labels=["whole", "corner"], accept=True)
    assert (spec.task, spec.coordinates, spec.box_format) == ("detect", "normalized", "yxyx")
    found = predict(spec, DetectOptions(0.2, 10, None), (204, 204, 204))
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.8, 0.4], atol=1e-5)
    boxes = [[0.25, 0.25, 0.75, 0.75], [0.625, 0.125, 0.875, 0.375]]
    np.testing.assert_allclose(found.xyxy, boxes, atol=1e-5)


def test_labels_inside_the_file_are_used(tiny_tflite: Path, tmp_path: Path) -> None:
    model = with_labels_inside(tiny_tflite, tmp_path / "m.tflite", "labels.txt", "r\ng\nb\n")
    assert ModelSpec.inspect(model, accept=True).labels == ((0, "r"), (1, "g"), (2, "b"))


def test_labels_given_beat_those_inside_the_file(tiny_tflite: Path, tmp_path: Path) -> None:
    model = with_labels_inside(tiny_tflite, tmp_path / "m.tflite", "labels.txt", "r\ng\nb\n")
    assert ModelSpec.inspect(model, labels=["x", "y", "z"], accept=True).labels[0] == (0, "x")


def test_one_label_less_than_classes_means_class_zero_is_background(tiny_tflite: Path) -> None:
    spec = ModelSpec.inspect(tiny_tflite, labels=["green", "blue"], accept=True)
    assert (spec.label_offset, spec.background_class) == (-1, 0)
    found = predict(spec, ClassifyOptions(3, 0.0), (255, 64, 32))
    assert found.class_ids.tolist() == [0, 1]


def test_label_file_too_short_names_both_numbers(tiny_tflite: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\n")
    with pytest.raises(InvalidModelError, match=r"has 3 classes.*ends at id 0"):
        ModelSpec.inspect(tiny_tflite, labels=labels, accept=True)


def test_sparse_labels_of_a_detector_survive_a_bundle(tiny_detector: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("whole\nn/a\ncorner\n")
    spec = ModelSpec.inspect(tiny_detector, labels=labels, accept=True)
    assert ModelSpec.load(spec.save(tmp_path / "bundle")).labels == ((0, "whole"), (2, "corner"))


def test_input_size_that_the_file_does_not_have_is_refused(tiny_tflite: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"\(1, 9, 8, 3\).*image \(1, 8, 8, 3\)"):
        ModelSpec.inspect(tiny_tflite, input_hw=(9, 8), accept=True)


@pytest.mark.parametrize("garbage", [-1e9, 1e9, np.nan])
def test_padding_says_nothing_about_coordinates_and_scores(
    garbage: float, tiny_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Padded:
        """One box that counts; what the operator leaves behind it is whatever memory held."""

        def run(self, batch: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
            return {
                "boxes": np.array([[[0.25, 0.25, 0.75, 0.75], [garbage] * 4]], np.float32),
                "classes": np.array([[1, garbage]], np.float32),
                "scores": np.array([[0.75, garbage]], np.float32),
                "count": np.array([1], np.float32),
            }

    monkeypatch.setattr(trial, "load_engine", lambda *_, **__: Padded())
    spec = ModelSpec.inspect(tiny_detector, accept=True)
    assert (spec.coordinates, spec.score_kind) == ("normalized", "probability")
