"""A model whose answers cannot be right is warned of, with the numbers, once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.executor import answer_watch
from pyspark_vision.executor.answer_watch import ALL_OUTSIDE, SAME_ANSWERS, AnswerWatch
from pyspark_vision.executor.heads import Detections, Predictions
from pyspark_vision.executor.row_errors import RowWarning, WarningCode

Array = np.ndarray[Any, Any]
OUTSIDE = (RowWarning(WarningCode.BOXES_WITHOUT_AREA, "1 of 1 boxes"),)
SCORES = {"scores": np.zeros(2, np.float32)}


def picture(number: int) -> Array:
    """A model's input of 8x8, different for each number."""
    return np.full((8, 8, 3), number, np.float32)


def classes(*scores: float) -> Predictions:
    return Predictions(np.arange(len(scores)), np.array(scores, np.float32))


def boxes(*scores: float, warnings: tuple[RowWarning, ...] = ()) -> Detections:
    count = len(scores)
    xyxy = np.zeros((count, 4), np.float32)
    return Detections(np.zeros(count, int), np.array(scores, np.float32), xyxy, warnings)


def said(watch: AnswerWatch, values: list[Any], outputs: Any = None) -> list[str]:
    return [
        warning.message
        for number, value in enumerate(values)
        for warning in watch.note(
            picture(number), outputs or {"scores": np.full(2, number, np.float32)}, value
        )
    ]


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (classes(90.0, 0.5), "from 0.5 to 90"),
        (classes(0.9, -0.2), "from -0.2 to 0.9"),
        (boxes(3.5), "from 3.5 to 3.5"),
    ],
)
def test_scores_that_are_no_probabilities_are_said_once(
    value: Any, numbers: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = AnswerWatch(spec_of())

    with caplog.at_level(logging.WARNING):
        texts = said(watch, [value] * 5)

    assert len(texts) == 1
    assert f"its scores are {numbers} in one picture" in texts[0]
    assert texts == [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "value", [classes(1.004, 0.0), classes(), boxes(), boxes(0.5), np.array([7.0, -8.0])]
)
def test_answers_that_may_be_right_are_not_warned_of(value: Any) -> None:
    assert said(AnswerWatch(spec_of()), [value, value, value]) == []


def test_logits_are_not_taken_for_probabilities() -> None:
    watch = AnswerWatch(spec_of(score_kind="logit"))

    assert said(watch, [classes(90.0)]) == []


def test_nan_is_counted_in_the_model_s_own_output() -> None:
    outputs = {"scores": np.array([[0.5, np.nan], [np.nan, 1]])}

    (text,) = said(AnswerWatch(spec_of("detect")), [boxes(0.5)] * 3, outputs)

    assert "2 of 4 numbers of its output scores are NaN" in text


def test_nan_in_the_padding_of_a_counted_output_is_none_of_the_model_s() -> None:
    outputs = {"boxes": np.array([np.nan]), "count": np.array([0.0])}

    assert said(AnswerWatch(spec_of("detect")), [boxes(0.5)], outputs) == []


def test_boxes_none_of_which_lies_in_its_picture() -> None:
    watch = AnswerWatch(spec_of("detect"))

    assert said(watch, [boxes(warnings=OUTSIDE)] * (ALL_OUTSIDE - 1) + [boxes()]) == []
    (text,) = said(watch, [boxes(warnings=OUTSIDE)] * 3)

    assert "in 20 pictures with boxes above the threshold, of 21, none" in text


def test_one_picture_with_a_box_is_enough() -> None:
    values = [boxes(0.9), *[boxes(warnings=OUTSIDE)] * 2 * ALL_OUTSIDE]

    assert said(AnswerWatch(spec_of("detect")), values) == []


@pytest.mark.parametrize("value", [classes(1.0, 0.0), np.array([1.0, 2.0])])
def test_one_answer_to_a_thousand_pictures(value: Any) -> None:
    (text,) = said(AnswerWatch(spec_of()), [value] * (SAME_ANSWERS + 500))

    assert "its answer to 1,000 different pictures was the same" in text


def test_one_answer_to_one_picture_a_thousand_times_is_right() -> None:
    watch = AnswerWatch(spec_of())

    for _ in range(SAME_ANSWERS + 1):
        assert watch.note(picture(0), SCORES, classes(1.0)) == ()


def test_nothing_found_in_a_thousand_pictures_is_right_where_the_model_saw_a_difference() -> None:
    assert said(AnswerWatch(spec_of("detect")), [boxes()] * (SAME_ANSWERS + 1)) == []

    blind = said(AnswerWatch(spec_of("detect")), [boxes()] * (SAME_ANSWERS + 1), SCORES)
    assert len(blind) == 1


def test_one_other_answer_is_enough_for_good() -> None:
    values = [classes(0.5), classes(0.6), *[classes(0.5)] * (SAME_ANSWERS + 1)]

    assert said(AnswerWatch(spec_of()), values) == []


def test_a_model_has_one_watch_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_watch, "_watches", {})

    assert answer_watch.watch_of(spec_of()) is answer_watch.watch_of(spec_of(name="other"))
    assert answer_watch.watch_of(spec_of()) is not answer_watch.watch_of(spec_of("embed"))
