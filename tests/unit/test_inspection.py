"""inspect_model on .tflite files: what is read, what is guessed, what a wrong answer says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.fit import check_fits, embedding_length
from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.models.model_files import sha256_of

SSD = "coco_ssd_mobilenet_v1_1.0_quant.tflite"
MOBILENET = "mobilenet_v2_1.0_224_quant.tflite"


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    """Models by others, with the labels inside the file."""
    return shared_data / "models"


@pytest.fixture(scope="module")
def demo(root: Path) -> dict[str, Path]:
    """The demo models as bare files, by task."""
    names = {"detect": "demo-detector", "classify": "demo-classifier", "embed": "demo-embedder"}
    return {task: root / "models" / name / "model.tflite" for task, name in names.items()}


@pytest.mark.parametrize(
    ("task", "input_hw", "outputs"),
    [
        ("detect", (160, 160), {"boxes": "boxes", "class_scores": "class_scores"}),
        ("classify", (96, 96), {"scores": "scores"}),
        ("embed", (96, 96), {"embedding": "embedding"}),
    ],
)
def test_demo_model_is_understood_from_its_file_alone(
    task: str, input_hw: tuple[int, int], outputs: dict[str, str], demo: dict[str, Path]
) -> None:
    spec = inspect_model(demo[task], accept=True)
    assert spec.task == task
    assert spec.input_hw == input_hw
    assert dict(spec.file.outputs) == outputs
    assert (spec.input_layout, spec.input_dtype, spec.fixed_batch) == ("NHWC", "float32", 1)
    assert (spec.score_kind, spec.coordinates) == ("probability", "normalized")
    assert (spec.name, spec.sha256) == ("model", sha256_of(demo[task]))
    assert (spec.path, spec.source) == (str(demo[task]), str(demo[task]))


@pytest.mark.parametrize("task", ["detect", "classify", "embed"])
def test_demo_bundle_says_what_inspection_finds(
    task: str, demo: dict[str, Path], root: Path
) -> None:
    bundled = ModelSpec.load(demo[task].parent)
    labels = demo[task].with_name("labels.txt")
    found = inspect_model(
        demo[task],
        labels=labels if labels.is_file() else None,
        name=bundled.name,
        licence=bundled.licence,
        source=bundled.source,
        accept=True,
    )
    assert found == bundled


def test_detector_of_others_is_read_by_its_detection_operator(models: Path) -> None:
    spec = inspect_model(models / SSD, accept=True)
    assert (spec.task, spec.input_hw, spec.input_dtype) == ("detect", (300, 300), "uint8")
    assert dict(spec.file.outputs) == {
        "boxes": "TFLite_Detection_PostProcess",
        "classes": "TFLite_Detection_PostProcess:1",
        "scores": "TFLite_Detection_PostProcess:2",
        "count": "TFLite_Detection_PostProcess:3",
    }


def test_detector_labels_come_from_inside_the_file(models: Path) -> None:
    spec = inspect_model(models / SSD, accept=True)
    # Its list has holes: 80 of 90 COCO ids are in use.
    assert len(spec.labels) == 80
    assert (spec.labels[0], spec.labels[-1]) == ((0, "person"), (89, "toothbrush"))
    assert spec.label_offset == 0


def test_label_file_gives_what_is_inside_the_detector(models: Path) -> None:
    given = inspect_model(models / SSD, labels=models / "coco_labels.txt", accept=True)
    assert given.labels == inspect_model(models / SSD, accept=True).labels


def test_classifier_of_others_is_read_with_its_labels(models: Path) -> None:
    spec = inspect_model(models / MOBILENET, accept=True)
    assert (spec.task, spec.input_hw, spec.input_dtype) == ("classify", (224, 224), "uint8")
    assert len(spec.labels) == 1001
    assert spec.labels[1] == (1, "tench, Tinca tinca")
    assert (spec.label_offset, spec.score_kind) == (0, "probability")


def test_one_label_more_than_outputs_with_background_first_shifts_the_labels(
    classifier: ModelSpec,
) -> None:
    names = [label for _, label in classifier.labels]
    spec = ModelSpec.inspect(
        classifier.path, task="classify", labels=["background", *names], accept=True
    )
    assert (spec.label_offset, spec.background_class) == (1, None)


def test_one_label_less_than_outputs_means_output_zero_is_background(models: Path) -> None:
    labels = [label for _, label in inspect_model(models / MOBILENET, accept=True).labels[1:]]
    spec = inspect_model(models / MOBILENET, labels=labels, accept=True)
    assert (spec.label_offset, spec.background_class) == (-1, 0)
    assert spec.labels[0] == (0, "tench, Tinca tinca")


def test_label_file_too_short_names_both_numbers(models: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a\nb\nc\n")
    message = "has 1001 classes, ids up to 1000 with label_offset=0; the label file ends at id 2."
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        inspect_model(models / MOBILENET, labels=tmp_path / "short.txt", accept=True)


def test_labels_of_a_detector_that_are_too_few_name_both_numbers(demo: dict[str, Path]) -> None:
    message = "has 8 classes, ids up to 7 with label_offset=0; the label file ends at id 5."
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        inspect_model(demo["detect"], labels=list("abcdef"), accept=True)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b"], ((0, "a"), (1, "b"))),
        (["a", "n/a", "b"], ((0, "a"), (2, "b"))),
        ({7: "b", 0: "a"}, ((0, "a"), (7, "b"))),
        ({"7": "b"}, ((7, "b"),)),
        ([], ()),
    ],
    ids=str,
)
def test_labels_may_be_a_list_or_a_mapping(
    labels: Any, expected: tuple[tuple[int, str], ...], demo: dict[str, Path]
) -> None:
    assert inspect_model(demo["embed"], labels=labels, accept=True).labels == expected


@pytest.mark.parametrize("labels", [7, {"cat": 0}], ids=str)
def test_labels_of_no_known_kind_are_named(labels: Any, demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError, match=re.escape(f"labels={labels} is no label file")):
        inspect_model(demo["embed"], labels=labels, accept=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "mine"),
        ("resize", "letterbox"),
        ("normalization", "unit"),
        ("score_kind", "logit"),
        ("coordinates", "pixel"),
        ("box_format", "xywh"),
        ("background_class", 3),
        ("source", "https://example.org/model"),
    ],
)
def test_what_the_caller_says_beats_every_guess(
    field: str, value: Any, demo: dict[str, Path]
) -> None:
    assert getattr(inspect_model(demo["detect"], **{field: value}, accept=True), field) == value


def test_task_of_the_caller_beats_the_guess(demo: dict[str, Path]) -> None:
    spec = inspect_model(
        demo["embed"], task="classify", outputs={"scores": "embedding"}, accept=True
    )
    assert (spec.task, dict(spec.file.outputs)) == ("classify", {"scores": "embedding"})


def test_values_outside_0_to_1_are_taken_for_logits(demo: dict[str, Path]) -> None:
    # An L2-normalized embedding of 128 numbers has negative ones.
    spec = inspect_model(
        demo["embed"], task="classify", outputs={"scores": "embedding"}, accept=True
    )
    assert spec.score_kind == "logit"


def test_unknown_task_names_the_tasks(demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError, match="^task='find' is not one of classify, detect, em"):
        inspect_model(demo["detect"], task="find", accept=True)


def test_unknown_override_names_the_fields(demo: dict[str, Path]) -> None:
    with pytest.raises(
        InvalidModelError, match="no field resise; the fields are name, task, files"
    ):
        inspect_model(demo["detect"], resise="letterbox", accept=True)


def test_override_out_of_its_choices_is_named_with_them(demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError, match="box_format='yxhw' is not one of yxyx, xyxy"):
        inspect_model(demo["detect"], box_format="yxhw", accept=True)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ({"input_hw": (224, 224)}, "(1, 224, 224, 3) float32 (NHWC)"),
        ({"input_layout": "NCHW"}, "(1, 3, 160, 160) float32 (NCHW)"),
        ({"color_order": "gray"}, "(1, 160, 160, 1) float32 (NHWC)"),
        ({"input_dtype": "uint8"}, "(1, 160, 160, 3) uint8 (NHWC)"),
        ({"fixed_batch": 8}, "(8, 160, 160, 3) float32 (NHWC)"),
    ],
    ids=str,
)
def test_input_that_the_model_does_not_have_is_named_with_its_own(
    overrides: dict[str, Any], wanted: str, demo: dict[str, Path]
) -> None:
    message = f"the spec says input {wanted}, the model has image (1, 160, 160, 3) float32; correct"
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        inspect_model(demo["detect"], **overrides, accept=True)


def test_wrong_output_name_names_the_outputs_of_the_model(demo: dict[str, Path]) -> None:
    outputs = {"boxes": "boxes", "class_scores": "logits"}
    message = "no output 'logits' for class_scores; the model has boxes, class_scores"
    with pytest.raises(InvalidModelError, match=message):
        inspect_model(demo["detect"], outputs=outputs, accept=True)


def test_several_outputs_ask_for_the_one_that_is_meant(demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError) as caught:
        inspect_model(demo["detect"], task="embed", accept=True)
    assert str(caught.value) == (
        f"{demo['detect']} has several outputs (boxes (1, 500, 4), class_scores (1, 500, 8)); "
        "name the one with outputs={'embedding': 'NAME'}"
    )


def test_detector_whose_outputs_cannot_be_told_asks_for_them(demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError, match="cannot tell boxes and scores among the outputs"):
        inspect_model(demo["embed"], task="detect", accept=True)


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    with pytest.raises(InvalidModelError, match=f"^no model at {re.escape(str(path))}$"):
        inspect_model(path, accept=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [("m.bin", "'.bin'"), ("model", "'a file without suffix'")],
)
def test_unsupported_suffix_names_the_supported(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    message = f"no reader for {said}; supported are .tflite, .task, .onnx, "
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        inspect_model(tmp_path / name, accept=True)


def test_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"is a folder without saved_model\.pb$"):
        inspect_model(tmp_path, accept=True)


def test_bundle_folder_gives_the_hint_to_load(demo: dict[str, Path]) -> None:
    with pytest.raises(InvalidModelError, match=r"it holds model\.json: use ModelSpec\.load for"):
        inspect_model(demo["detect"].parent, accept=True)


@pytest.mark.parametrize("kept", [0, 10, 5_000, 500_000])
def test_model_file_cut_short_is_named(kept: int, demo: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(demo["embed"].read_bytes()[:kept])
    message = f"{path} is not a model that LiteRT can run"
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        inspect_model(path, accept=True)


def test_upper_case_suffix_is_read(demo: dict[str, Path], tmp_path: Path) -> None:
    path = shutil.copy(demo["embed"], tmp_path / "MODEL.TFLITE")
    assert inspect_model(path, accept=True).name == "MODEL"


@pytest.mark.parametrize("name", ["detector", "classifier", "embedder"])
def test_bundle_that_ships_fits_its_file(name: str, request: pytest.FixtureRequest) -> None:
    check_fits(request.getfixturevalue(name))


def test_spec_with_a_label_too_few_does_not_fit(classifier: ModelSpec) -> None:
    short = classifier.with_options(labels=classifier.labels[:-1])
    with pytest.raises(InvalidModelError, match="has 8 classes, ids up to 7 .* ends at id 6"):
        check_fits(short)


def test_last_class_as_background_needs_no_label(classifier: ModelSpec) -> None:
    check_fits(classifier.with_options(labels=classifier.labels[:-1], background_class=7))


def test_embedding_length_is_what_the_model_returns(embedder: ModelSpec) -> None:
    batch = np.zeros((1, 96, 96, 3), np.float32)
    returned = load_engine(embedder, embedder.path, threads=1).run(batch)["embedding"]
    assert embedding_length(embedder) == 128 == returned.size
