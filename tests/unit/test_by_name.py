"""Which model a classifier's flags name, and how its pixels are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from face_models import save_yunet
from onnx_models import save_yolo_masks, save_yolo_points

from pyspark_vision.bundles import ModelSpec, by_name
from pyspark_vision.bundles.watched import WatchedBundle, load_before_spark
from pyspark_vision.errors import InvalidModelError


@pytest.fixture(scope="module")
def h5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Keras classifier of three classes, which does not say what pixels it wants."""
    keras: Any = pytest.importorskip("keras")
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("h5") / "model.h5"
    model.save(path)
    return path


@pytest.mark.parametrize(
    ("model_type", "normalization", "color_order"),
    [
        ("mobilenet_v2", "tf", "rgb"),
        ("MobileNetV2", "tf", "rgb"),
        ("mobilenet", "tf", "rgb"),
        ("resnet50", "caffe", "bgr"),
        ("vgg16", "caffe", "bgr"),
    ],
)
def test_a_family_prepares_the_pixels_of_the_model_at_the_path(
    model_type: str, normalization: str, color_order: str, h5: Path
) -> None:
    spec = by_name.classifier(model_type, str(h5), None)

    assert (spec.normalization, spec.color_order) == (normalization, color_order)
    assert spec.task == "classify"


def test_a_custom_file_whose_pixels_are_unknown_is_refused_with_the_way_on(h5: Path) -> None:
    with pytest.raises(
        InvalidModelError, match=r"only a proposal: .* normalization .*bundle build"
    ):
        by_name.classifier("custom", str(h5), None)


def test_labels_are_those_of_the_file(h5: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")

    spec = by_name.classifier("resnet50", h5.as_uri(), str(tmp_path / "labels.txt"))

    assert dict(spec.labels) == {0: "red", 1: "green", 2: "blue"}


def test_a_bundle_says_itself_how_it_is_run(root: Path) -> None:
    spec = by_name.classifier("mobilenet_v2", str(root / "models" / "demo-classifier"), None)

    assert spec.name == "demo-classifier"


SEVERAL = ("detect", "segment", "keypoints", "ocr")


@pytest.mark.parametrize(
    ("save", "task"),
    [
        (save_yolo_masks, "segment"),
        (save_yolo_points, "keypoints"),
        (save_yunet, "detect"),
    ],
)
def test_of_several_tasks_a_bare_file_is_for_that_of_its_outputs(
    save: Any, task: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "model.onnx")

    assert by_name.model(str(path), SEVERAL).task == task
    if task != "detect":
        with pytest.raises(InvalidModelError):
            by_name.model(str(path), "classify")


def test_a_bundle_of_another_task_names_the_job_that_runs_it(root: Path) -> None:
    said = (
        "demo-classifier' is 'classify'; this job needs a model for 'detect' or 'segment' or "
        "'keypoints' or 'ocr'. jobs/stream_classify.py runs it"
    )

    with pytest.raises(InvalidModelError, match=said):
        by_name.model(str(root / "models" / "demo-classifier"), SEVERAL)


@pytest.mark.parametrize(
    ("model_type", "uri", "said"),
    [
        ("custom", None, "`model_type` custom needs `model_gcs_path`"),
        ("inception_v9", None, "choose custom, or a name of keras.applications"),
        ("custom", "/no/such/model", "no model at /no/such/model"),
    ],
)
def test_what_names_no_model_is_refused(model_type: str, uri: str | None, said: str) -> None:
    with pytest.raises(InvalidModelError) as error:
        by_name.classifier(model_type, uri, None)

    assert said in str(error.value)


@pytest.mark.slow
def test_without_a_path_the_weights_of_imagenet_are_built(
    monkeypatch: pytest.MonkeyPatch, h5: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {n}" for n in range(1000)))
    asked: list[str] = []  # the Dataproc classifier's "mobilenet" is the second version

    def built(name: str, folder: Path) -> Path:
        # The download itself is Keras'; see tests/unit/test_keras_applications.py.
        asked.append(name)
        keras: Any = pytest.importorskip("keras")
        model = keras.applications.MobileNetV2(weights=None)
        model.save(Path(folder) / "mobilenet_v2.keras")
        return Path(folder) / "mobilenet_v2.keras"

    monkeypatch.setattr(by_name, "build_application", built)

    spec = by_name.classifier("mobilenet", None, str(labels))

    assert asked == ["mobilenet_v2"]
    assert (spec.input_hw, spec.normalization) == ((224, 224), "tf")
    assert len(spec.labels) == 1000


def test_a_model_file_that_cannot_be_read_is_refused_in_words(
    tiny_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*arguments: object, **keywords: object) -> ModelSpec:
        raise PermissionError(13, "Permission denied", str(tiny_tflite))

    monkeypatch.setattr(by_name, "propose_model", denied)
    with pytest.raises(
        InvalidModelError, match=r"tiny\.tflite cannot be read: .*Permission denied"
    ):
        by_name.classifier("custom", str(tiny_tflite), None)


def test_a_bare_file_that_leaves_nothing_open_is_a_model(tiny_tflite: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("whole\ncorner\nrest\n")
    labels = str(tmp_path / "labels.txt")

    spec = by_name.model(tiny_tflite.as_uri(), "classify", labels, normalization="none")

    assert (spec.task, spec.file.format, spec.on_every_node) == ("classify", "tflite", False)
    assert dict(spec.labels)[1] == "corner"


def test_a_bare_file_that_every_node_has_is_not_shipped(tiny_tflite: Path) -> None:
    spec = by_name.model(f"local:{tiny_tflite}", "classify", normalization="none")

    assert spec.on_every_node


@pytest.mark.parametrize(
    ("model", "task", "labels", "said"),
    [
        ("demo-detector", "classify", None, "the task of model 'demo-detector' is 'detect'"),
        ("demo-detector", "detect", "labels.txt", "is a bundle, which says its labels itself"),
        ("demo-detector/labels.txt", "detect", None, "no reader for '.txt'"),
        ("demo-detector/model.tflite", "classify", None, "bundle build` makes a bundle of it"),
        ("none.onnx", "embed", None, "no model at"),
    ],
)
def test_a_model_that_is_not_for_the_job_is_refused(
    model: str, task: str, labels: str | None, said: str, root: Path
) -> None:
    with pytest.raises(InvalidModelError) as error:
        by_name.model(str(root / "models" / model), task, labels)

    assert said in str(error.value)


def test_a_model_on_this_machine_is_read_before_spark_and_once(root: Path) -> None:
    bundle = str(root / "models" / "demo-detector")
    loaded: list[ModelSpec] = []

    def load() -> ModelSpec:
        loaded.append(by_name.model(bundle, "detect"))
        return loaded[-1]

    first = load_before_spark(bundle, load)
    watched = WatchedBundle(None, bundle, load, first)  # a local bundle needs no session

    assert first is not None
    assert watched._good is first.spec
    assert len(loaded) == 1
    assert load_before_spark("s3a://bucket/model", load) is None
