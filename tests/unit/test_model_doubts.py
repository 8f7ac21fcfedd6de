"""What rows say against their model is in the job's log once, and what one row may say is not."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyspark_vision.streaming import model_doubts
from pyspark_vision.streaming.batch_report import BatchReport
from pyspark_vision.streaming.counts import Counts, Measures
from pyspark_vision.streaming.model_doubts import warn_of_model

SCORES = "model 'm' may be read wrongly: its scores are from 0 to 90 in one picture"
OUTSIDE = "model 'm' may be read wrongly: all its boxes in one picture are outside of it"


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(model_doubts, "_doubted", set())
    model_doubts._rows_outside.clear()
    caplog.set_level(logging.WARNING, "pyspark_vision.streaming")
    return caplog


def said(log: pytest.LogCaptureFixture, *batches: tuple[int, dict[str, Any]]) -> list[str]:
    """The log after batches of 100 rows, each with so many results, and these measures."""
    for with_result, measures in batches:
        counts = Counts(100, with_result)
        warn_of_model(BatchReport(0, counts, Measures(**measures), 1.0, 0.0, ()))
    return [record.getMessage() for record in log.records]


def test_a_model_is_doubted_once(log: pytest.LogCaptureFixture) -> None:
    wrong = {"model_suspect": SCORES, "suspect_rows": 3}
    other = {"model_suspect": SCORES.replace("'m'", "'n'")}

    texts = said(log, (100, {}), (100, wrong), (100, wrong), (100, other))

    assert texts == [SCORES, SCORES.replace("'m'", "'n'")]


def test_boxes_outside_are_said_of_twenty_rows_without_a_box(log: pytest.LogCaptureFixture) -> None:
    outside = {"boxes_outside": OUTSIDE, "outside_rows": 12}

    assert said(log, (0, outside)) == []
    assert said(log, (0, outside)) == [f"{OUTSIDE} (so it is in 24 rows)"]


def test_a_right_model_s_stray_boxes_are_not_said(log: pytest.LogCaptureFixture) -> None:
    outside = {"boxes_outside": OUTSIDE, "outside_rows": 12}

    assert said(log, (0, outside), (1, {}), (0, outside), (7, outside)) == []
