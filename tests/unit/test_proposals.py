"""Exports as people have them: known and right, proposed with what is open, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import save_constant, save_with_sizes
from proposals import answer, proposed
from tiny_text_reader import save_recognizer

from pyspark_vision.bundles import by_name
from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.grids import grid_cells
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, EmbedOptions

Array = np.ndarray[Any, Any]
# Of a 64x64 input: in pixels and in 0..1, as cxcywh and as xyxy.
CXCYWH, XYXY = (32.0, 16.0, 25.6, 12.8), (19.2, 9.6, 44.8, 22.4)
UNIT_CXCYWH, UNIT_XYXY = (0.5, 0.25, 0.4, 0.2), (0.3, 0.15, 0.7, 0.35)
EXPECTED = [0.3, 0.15, 0.7, 0.35]
CELLS = 8 * 8 + 4 * 4 + 2 * 2
ULTRALYTICS = {"task": "detect", "stride": "32", "names": "{0: 'cat', 1: 'dog', 2: 'bird'}"}


def table(row: tuple[float, ...], rows: int, place: int = 0) -> Array:
    values = np.zeros((1, rows, len(row)), np.float32)
    values[0, place] = row
    return values


def yolox() -> Array:
    values = table((0, 0, 0, 0, 0, 0, 0, 0), CELLS)
    # Cell x=1, y=0 of the grid of 16 pixels, which is row 64 + 1: its centre at (32, 16).
    values[0, 65] = (1, 1, math.log(25.6 / 16), math.log(12.8 / 16), 0.9, 0, 1, 0)
    return values


def no_object(queries: int, classes: int) -> Array:
    logits = np.full((1, queries, classes + 1), -5, np.float32)
    logits[0, :, -1] = 5
    logits[0, 0] = [-5, 5, *[-5] * (classes - 1)]
    return logits


def boxes(spec: ModelSpec) -> list[tuple[int, float, list[float]]]:
    value = answer(spec, DetectOptions(0.3, 10, 0.5))
    return [
        (int(class_id), round(float(score), 3), [round(float(side), 3) for side in xyxy])
        for class_id, score, xyxy in zip(value.class_ids, value.scores, value.xyxy, strict=True)
    ]


@pytest.mark.parametrize(
    ("outputs", "metadata", "role"),
    [
        ({"output0": table((*CXCYWH, 0, 0.9, 0), CELLS).transpose(0, 2, 1)}, None, "yolov8"),
        ({"output0": table((*UNIT_CXCYWH, 0, 0.9, 0), CELLS).transpose(0, 2, 1)}, None, "yolov8"),
        ({"output0": table((*CXCYWH, 0, 0.9, 0), CELLS)}, ULTRALYTICS, "yolov8_rows"),
        ({"output0": table((*UNIT_CXCYWH, 0, 0.9, 0), 20)}, ULTRALYTICS, "detr_rows"),
        ({"output0": table((*XYXY, 0.9, 1), 20)}, ULTRALYTICS, "end_to_end"),
        ({"output": table((*CXCYWH, 0.9, 0, 1, 0), 3 * CELLS)}, None, "yolov5"),
        ({"output": np.array([[0, *XYXY, 1, 0.9]], np.float32)}, None, "batch_rows"),
    ],
    ids=["pixels", "in 0..1", "transposed", "queries", "suppressed", "YOLOv5", "rows of seven"],
)
def test_detector_that_is_known_gives_its_box(
    outputs: Mapping[str, Any], metadata: Any, role: str, tmp_path: Path
) -> None:
    proposal = proposed(tmp_path, outputs, metadata)

    assert proposal.open_fields == []
    assert [name for name, _ in proposal.spec.file.outputs] == [role]
    assert boxes(proposal.spec) == [(1, 0.9, EXPECTED)]


@pytest.mark.parametrize(
    ("outputs", "labels", "fields", "is_open"),
    [
        # With the labels' number there is one reading; how pixels are scaled stays open.
        (
            {"logits": no_object(20, 3), "pred_boxes": table(UNIT_CXCYWH, 20)},
            ["cat", "dog", "bird"],
            {"normalization": "torch"},
            ["normalization"],
        ),
        (
            {
                "logits": np.where(np.arange(3) == 1, 2.2, -9) * table((1, 1, 1), 20) - 9e-6,
                "pred_boxes": table(UNIT_CXCYWH, 20),
            },
            ["cat", "dog", "bird"],
            {"normalization": "unit"},
            ["normalization"],
        ),
        (
            {"dets": table((*XYXY, 0.9), 20), "labels": table((1,), 20)[..., 0]},
            None,
            {"normalization": "torch", "resize": "stretch"},
            ["normalization"],
        ),
        (
            {"scores": table((0.1, 0.9), 8), "boxes": table(UNIT_XYXY, 8)},
            None,
            {"normalization": "unit", "box_format": "xyxy", "background_class": 0},
            ["box_format", "normalization"],
        ),
    ],
    ids=["DETR", "RT-DETR", "MMDetection", "a small face detector"],
)
def test_detector_with_open_fields_needs_the_users_word_and_is_then_right(
    outputs: Mapping[str, Any],
    labels: Any,
    fields: dict[str, Any],
    is_open: list[str],
    tmp_path: Path,
) -> None:
    path = save_constant(tmp_path / "m.onnx", outputs)
    assert sorted(propose_model(path, labels=labels).open_fields) == is_open
    with pytest.raises(InvalidModelError, match=r"The file does not say: .*normalization"):
        inspect_model(path, labels=labels)

    spec = inspect_model(path, labels=labels, **fields)

    assert [(class_id, xyxy) for class_id, _, xyxy in boxes(spec)[:1]] == [(1, EXPECTED)]


def test_boxes_in_the_pixels_of_the_sizes_that_a_model_is_given(tmp_path: Path) -> None:
    """RT-DETR's and D-FINE's own exports have a second input for the picture's size."""
    proposal = propose_model(save_with_sizes(tmp_path / "dfine.onnx"))

    assert (proposal.open_fields, proposal.spec.normalization) == ([], "unit")
    assert boxes(proposal.spec) == [(1, 0.9, EXPECTED)]


def in_cells(*, worked_out: bool) -> Array:
    """A table with a box in each cell, three classes: offsets as :func:`yolox`, or boxes."""
    values = np.random.default_rng(0).normal(0.5, 0.2, (CELLS, 8))
    values[:, 4:] = 0.01
    values[65] = yolox()[0, 65]
    if worked_out:
        cells, strides = grid_cells((64, 64), (8, 16, 32))
        values[:, :2] = (values[:, :2] + cells) * strides
        values[:, 2:4] = np.exp(values[:, 2:4]) * strides
    return values[np.newaxis].astype(np.float32)


@pytest.mark.parametrize(
    ("worked_out", "role", "refused"),
    [
        (False, "yolox", r"task \(proposed: detect; .*: detect by outputs\.yolox \| embed;"),
        (
            True,
            "yolov5",
            r": detect by outputs\.yolov8_rows \| .*outputs\.yolov5 \| embed;",
        ),
    ],
)
def test_offsets_of_yolox_and_boxes_are_told_by_where_the_cells_are(
    worked_out: bool, role: str, refused: str, tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": in_cells(worked_out=worked_out)})

    with pytest.raises(InvalidModelError, match=refused):
        inspect_model(path)
    # With as many labels as the layout has classes, one is left.
    spec = inspect_model(path, labels=["a", "b", "c"])
    assert [name for name, _ in spec.file.outputs] == [role]
    own = {} if role == "yolox" else {"letterbox_anchor": "center"}
    assert boxes(spec.with_options(**own)) == [(1, 0.9, EXPECTED)]
    # The wrong number of labels makes no other layout of offsets.
    if role == "yolox":
        with pytest.raises(InvalidModelError, match="8 classes|do not lie at their cells"):
            inspect_model(path, labels=["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("output", "kind", "expected"),
    [
        ([[0.25]], "binary", [(0, 0.75), (1, 0.25)]),
        ([[-math.log(3)]], "binary_logit", [(0, 0.75), (1, 0.25)]),
        ([[0.2, 0.7, 0.1]], "probability", [(1, 0.7), (0, 0.2), (2, 0.1)]),
        ([[[[0.2]], [[0.7]], [[0.1]]]], "probability", [(1, 0.7), (0, 0.2), (2, 0.1)]),
    ],
)
def test_classifier_by_its_values(
    output: Any, kind: str, expected: list[tuple[int, float]], tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": output})

    spec = inspect_model(path, task="classify", normalization="unit")

    assert spec.score_kind == kind
    value = answer(spec, ClassifyOptions(3, 0.0))
    pairs = zip(value.class_ids.tolist(), value.scores.round(4).tolist(), strict=True)
    assert list(pairs) == [(i, pytest.approx(score)) for i, score in expected]


@pytest.mark.parametrize("task", [None, "classify"])
def test_seven_scores_are_of_seven_classes_though_rows_of_boxes_have_seven_numbers(
    task: str | None, tmp_path: Path
) -> None:
    scores = [0.1, 0.2, 0.3, 0.1, 0.1, 0.15, 0.05]

    proposal = proposed(tmp_path, {"output": [scores]}, task=task, normalization="unit")

    assert (proposal.open_fields, proposal.spec.task) == ([], "classify")


def test_a_classifier_of_unknown_preparation_says_that_its_way_to_the_input_is_a_guess(
    tmp_path: Path,
) -> None:
    outputs = {"output": [[0.2, 0.7, 0.1]]}

    assert "how a picture comes to" in proposed(tmp_path, outputs).guesses["resize"].why
    assert "resize" not in proposed(tmp_path, outputs, resize="stretch").guesses


def test_logits_are_of_exclusive_classes_or_not_by_the_users_word(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": [[0.0, 2.0, -1.0]]})
    proposal = propose_model(path, "classify", normalization="unit")
    assert proposal.open_fields == ["score_kind"]

    spec = inspect_model(path, "classify", normalization="unit", score_kind="sigmoid")

    value = answer(spec, ClassifyOptions(3, 0.0))
    sigmoids = [1 / (1 + math.exp(-2)), 0.5, 1 / (1 + math.exp(1))]
    assert value.scores.tolist() == pytest.approx(sigmoids, abs=1e-6)


TOKENS = np.arange(5 * 8, dtype=np.float32).reshape(1, 5, 8) - 9


@pytest.mark.parametrize(
    ("output", "pooling", "vector"),
    [
        (TOKENS, "cls", TOKENS[0, 0]),
        (TOKENS, "mean", TOKENS[0].mean(axis=0)),
        (TOKENS.reshape(1, 10, 2, 2), "map", TOKENS.reshape(10, 4).mean(axis=1)),
    ],
)
def test_tokens_and_places_become_a_vector_by_a_pooling_that_is_said(
    output: Array, pooling: str, vector: Array, tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", {"last_hidden_state": output})
    assert "pooling" in propose_model(path, "embed", normalization="unit").open_fields

    spec = inspect_model(path, "embed", normalization="unit", pooling=pooling)

    np.testing.assert_allclose(answer(spec, EmbedOptions(False)), vector, rtol=1e-6)


@pytest.mark.parametrize(
    ("outputs", "task", "said"),
    [
        ({"out": np.zeros((1, 21, 32, 32))}, "embed", "task='embed' does not fit the outputs"),
        ({"out": np.zeros((1, 5, 8))}, "classify", "scores of classes have one long axis"),
        # Scores far above 1: no YOLOv8, and no detector that is known.
        (
            {"out": table((*CXCYWH, 0, 90, 0), CELLS).transpose(0, 2, 1)},
            "detect",
            "its scores are not within 0..1",
        ),
        ({"a": np.zeros((1, 3)), "b": np.zeros((1, 3))}, None, "has outputs that no known reading"),
        ({"a": np.zeros((1, 3)), "b": np.zeros((1, 3))}, "classify", "has several outputs"),
        (
            {"out": np.full((1, 7, CELLS), 0.9)},
            "detect",
            "objects above 0.5 in a blank picture",
        ),
    ],
    ids=["segmentation", "a table", "no probabilities", "two", "two of a task", "all is found"],
)
def test_what_no_reading_fits_is_refused_with_what_was_seen(
    outputs: Mapping[str, Any], task: str | None, said: str, tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", outputs)

    with pytest.raises(InvalidModelError, match=said):
        inspect_model(path, task, accept=True)


def test_a_job_refuses_a_proposal_and_names_the_way_on(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": [[0.2, 0.7, 0.1]]})

    with pytest.raises(InvalidModelError, match=r"only a proposal: .* bundle inspect .* shows"):
        by_name.model(str(path), "classify", None)


def test_the_verdict_says_what_it_rests_on(tmp_path: Path) -> None:
    known = proposed(tmp_path, {"output0": table((*XYXY, 0.9, 1), 20)}, ULTRALYTICS)
    assert known.verdict == "known: output0 [1, 20, 6]: a few rows of box, score and class"

    unknown = proposed(tmp_path, {"output": [[0.2, 0.7, 0.1]]})
    assert unknown.verdict == "proposed: output [1, 3]: one long axis"
    assert "normalization (proposed: torch;" in unknown.question()


def steps(*shape: int) -> Array:
    """Of each step of a line, how likely each of the classes is."""
    logits = np.random.default_rng(0).normal(0, 3, shape)
    likely: Array = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return likely


@pytest.mark.parametrize(
    "said",
    [{}, {"task": "classify", "normalization": "none", "score_kind": "probability"}],
    ids=["nothing said", "taken for a classifier"],
)
def test_steps_with_time_first_are_refused_since_a_row_is_no_picture(
    said: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidModelError, match="the first axis does not count pictures"):
        proposed(tmp_path, {"logits": steps(20, 1, 37)}, **said)


@pytest.mark.parametrize("shape", [(1, 84, 37), (1, 20, 37), (1, 20, 6)])
@pytest.mark.parametrize("task", [None, "embed", "detect", "keypoints"])
def test_steps_of_a_text_line_are_neither_boxes_nor_points_nor_tokens(
    task: str | None, shape: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidModelError, match=r"rows of \d+ numbers adds up to one|fit|cannot tell"
    ):
        proposed(tmp_path, {"output": steps(*shape)}, task=task)


def test_a_recognizer_of_text_lines_alone_is_refused_with_the_way_to_read_text(
    tmp_path: Path,
) -> None:
    for softmax in (True, False):
        path = save_recognizer(tmp_path / "rec.onnx", None, softmax=softmax)
        with pytest.raises(InvalidModelError, match=r"height and any width, .* read_text reads"):
            propose_model(path)


def test_a_recognizer_that_names_its_characters_is_one_whatever_its_input(tmp_path: Path) -> None:
    outputs = {"output": np.random.default_rng(0).normal(0, 3, (1, 20, 5))}

    with pytest.raises(InvalidModelError, match=r"metadata has 3 characters, .* read_text reads"):
        proposed(tmp_path, outputs, {"character": "a\nb\nж"})
    # As many as there are classes: they are their names.
    named = proposed(tmp_path, {"output": [[0.2, 0.7, 0.1]]}, {"character": "a\nb\nж"})
    assert named.spec.labels == ((0, "a"), (1, "b"), (2, "ж"))
