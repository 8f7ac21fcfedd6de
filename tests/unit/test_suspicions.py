"""What no right model answers is said of each picture by itself, with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import OUTSIDE, boxes, classes
from onnx_models import save_constant
from pictures import plain_png
from specs import spec_of

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.models.model_files import PublishedFile
from pyspark_vision.executor.outputs.heads import ClassifyOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.executor.row_errors import RowWarning, WarningCode
from pyspark_vision.executor.suspicions import suspicions
from pyspark_vision.executor.worker.isolation import IsolatedRows
from pyspark_vision.executor.worker.loaded import load_model, predictor_of

NONE: dict[str, Any] = {}


def problems(values: list[Any], outputs: Any = None, **fields: Any) -> dict[int, list[str]]:
    found = suspicions(spec_of(**fields), outputs or NONE, values)
    return {place: [one.problem for one in ones] for place, ones in found.items()}


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (classes(90.0, 0.5), "from 0.5 to 90"),
        (classes(0.9, -0.2), "from -0.2 to 0.9"),
        (boxes(3.5), "from 3.5 to 3.5"),
    ],
)
def test_scores_that_are_no_probabilities_are_said_of_each_row_that_has_them(
    value: Any, numbers: str
) -> None:
    found = problems([value, classes(0.5), value])

    text = f"its scores are {numbers} in one picture, and the spec says that they are probabilities"
    assert found == {0: [text], 2: [text]}


@pytest.mark.parametrize(
    "value", [classes(1.004, 0.0), classes(), boxes(), boxes(0.5), np.array([7.0, -8.0])]
)
def test_answers_that_may_be_right_are_not_doubted(value: Any) -> None:
    assert problems([value]) == {}


def test_logits_are_not_taken_for_probabilities() -> None:
    assert problems([classes(90.0)], score_kind="logit") == {}


def test_nan_is_counted_in_the_model_s_own_output_of_that_picture() -> None:
    outputs = {"scores": np.array([[0.5, 1], [np.nan, 1], [np.nan, np.nan]])}

    assert problems([boxes(0.5)] * 3, outputs, task="detect") == {
        1: ["1 of 2 numbers of its output scores are NaN"],
        2: ["2 of 2 numbers of its output scores are NaN"],
    }


@pytest.mark.parametrize(
    "outputs",
    [
        {"boxes": np.array([[np.nan]]), "count": np.array([0.0])},  # padding is no answer
        {"classes": np.array([[1]])},  # whole numbers have none
        {"boxes": np.empty((1, 0))},
    ],
)
def test_what_is_no_nan_of_the_model_s(outputs: Any) -> None:
    assert problems([boxes(0.5)], outputs, task="detect") == {}


def test_a_picture_whose_boxes_are_all_outside_of_it() -> None:
    values = [boxes(warnings=OUTSIDE), boxes(), boxes(0.5, warnings=OUTSIDE)]

    text = "all its boxes in one picture are outside of it: 1 of 1 boxes"
    assert problems(values, task="detect") == {0: [text]}


def test_a_row_s_warning_names_the_model() -> None:
    (one,) = suspicions(spec_of(name="m"), NONE, [boxes(2.0)])[0]

    assert one.warning("m") == RowWarning(
        WarningCode.MODEL_SUSPECT,
        "model 'm' may be read wrongly: its scores are from 2 to 2 in one picture, and the spec "
        "says that they are probabilities; see docs/models.md",
    )


def test_a_task_s_retry_which_has_processes_of_its_own_warns_of_the_same_rows(
    tmp_path: Path,
) -> None:
    model = ModelSpec.inspect(
        save_constant(tmp_path / "wrong.onnx", {"scores": [[90.0, 0.5]]}),
        task="classify",
        normalization="unit",
        score_kind="probability",
        accept=True,
    )
    published = PublishedFile(model.path, model.sha256, folder=False, on_every_node=True)
    head = ClassifyOptions(5, 0.0)
    arguments = (Inference(model, published, DecodeOptions(), head), model.path, 1, None)
    pictures = [plain_png("red"), None, plain_png("blue")]
    isolated = IsolatedRows(arguments, row_timeout_s=60)

    again = [row.warnings for row in isolated.predict(pictures)]
    isolated.close()

    engine = load_model(model, model.path, 1)
    first = predictor_of(model, engine, DecodeOptions(), head).predict(pictures)
    assert again == [row.warnings for row in first]
    assert [len(warnings) for warnings in again] == [1, 0, 1]
