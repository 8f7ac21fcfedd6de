"""A model whose answers cannot be right is said in its worker's log, with the numbers, once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from answers import OUTSIDE, boxes, classes
from specs import spec_of

from pyspark_vision.executor import answer_watch
from pyspark_vision.executor.answer_watch import ALL_OUTSIDE, SAME_ANSWERS, AnswerWatch
from pyspark_vision.executor.suspicions import suspicions

Array = np.ndarray[Any, Any]
# As many pictures as an engine takes at a time.
BATCH = 8


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, answer_watch.__name__)
    return caplog


def show(
    watch: AnswerWatch, values: Sequence[Any], *, task: str, inputs: Array, outputs: Array
) -> None:
    """Pictures in batches: their values, and one number of each as input and as output."""
    spec = spec_of(task)
    for start in range(0, len(values), BATCH):
        of_batch = slice(start, start + BATCH)
        own = {"scores": np.repeat(outputs[of_batch].astype(np.float32)[:, None], 2, axis=1)}
        pixels = np.repeat(inputs[of_batch].astype(np.float32)[:, None], 64, axis=1)
        doubts = suspicions(spec, own, values[of_batch])
        watch.note(pixels, own, values[of_batch], doubts)


def said(
    log: pytest.LogCaptureFixture,
    values: Sequence[Any],
    *,
    task: str = "classify",
    inputs: Array | None = None,
    outputs: Array | None = None,
) -> list[str]:
    """What the log says of these answers; by default to different pictures, and differing."""
    numbers = np.arange(len(values))
    show(
        AnswerWatch(spec_of(task)),
        values,
        task=task,
        inputs=numbers if inputs is None else inputs,
        outputs=numbers if outputs is None else outputs,
    )
    return [record.getMessage() for record in log.records]


def test_what_one_picture_shows_is_said_once(log: pytest.LogCaptureFixture) -> None:
    (text,) = said(log, [classes(90.0, 0.5), classes(80.0)] * BATCH)

    assert text == (
        "model 'small' may be read wrongly: its scores are from 0.5 to 90 in one picture, and the "
        "spec says that they are probabilities; see docs/models.md"
    )


def test_each_kind_is_said(log: pytest.LogCaptureFixture) -> None:
    outputs = np.array([1, np.nan, 2, 3])

    texts = said(log, [boxes(0.5), boxes(3.5)] * 2, task="detect", outputs=outputs)

    assert len(texts) == 2
    assert "from 3.5 to 3.5" in texts[0]
    assert "2 of 2 numbers of its output scores are NaN" in texts[1]


def test_boxes_none_of_which_lies_in_its_picture(log: pytest.LogCaptureFixture) -> None:
    outside = boxes(warnings=OUTSIDE)

    assert said(log, [outside] * (ALL_OUTSIDE - 1) + [boxes()], task="detect") == []
    (text,) = said(log, [boxes(), *[outside] * ALL_OUTSIDE], task="detect")

    assert "in 20 pictures with boxes above the threshold, of 21, none" in text


@pytest.mark.parametrize("before", [0, 1, BATCH])
def test_one_picture_with_a_box_is_enough(log: pytest.LogCaptureFixture, before: int) -> None:
    outside = boxes(warnings=OUTSIDE)

    values = [*[outside] * before, boxes(0.9), *[outside] * 2 * ALL_OUTSIDE]
    assert said(log, values, task="detect") == []


@pytest.mark.parametrize("task", ["classify", "detect", "embed"])
def test_one_answer_to_a_thousand_pictures(log: pytest.LogCaptureFixture, task: str) -> None:
    count = SAME_ANSWERS + 500
    value = boxes() if task == "detect" else classes(1.0, 0.0)

    (text,) = said(log, [value] * count, task=task, outputs=np.ones(count))

    assert "its answer to 1,000 different pictures was the same" in text


@pytest.mark.parametrize("value", [classes(1.0), boxes()])
def test_one_best_class_or_none_is_right_where_the_model_saw_a_difference(
    log: pytest.LogCaptureFixture, value: Any
) -> None:
    assert said(log, [value] * (SAME_ANSWERS + 1)) == []


def test_one_answer_to_one_picture_a_thousand_times_is_right(
    log: pytest.LogCaptureFixture,
) -> None:
    count = SAME_ANSWERS + 1

    same = np.ones(count)
    assert said(log, [classes(1.0)] * count, inputs=same, outputs=same) == []


def test_one_other_answer_is_enough_for_good(log: pytest.LogCaptureFixture) -> None:
    outputs = np.ones(SAME_ANSWERS + BATCH)
    outputs[3] = 2

    assert said(log, [classes(0.5)] * len(outputs), outputs=outputs) == []


def test_a_model_has_one_watch_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_watch, "_watches", {})

    assert answer_watch.watch_of(spec_of()) is answer_watch.watch_of(spec_of(name="other"))
    assert answer_watch.watch_of(spec_of()) is not answer_watch.watch_of(spec_of("embed"))
