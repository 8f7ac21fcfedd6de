"""What rows say against their model, said once in the job's log (:mod:`executor.suspicions`)."""

from __future__ import annotations

import logging
from collections import Counter

from pyspark_vision.executor.answer_watch import ALL_OUTSIDE
from pyspark_vision.streaming.batch_report import BatchReport

# As a batch's line.
_log = logging.getLogger("pyspark_vision.streaming")
# By model, as rows' texts begin.
_doubted: set[str] = set()
_rows_outside: Counter[str] = Counter()


def warn_of_model(report: BatchReport) -> None:
    """Say what a batch's rows doubt of the model, once in a job for each model.

    Boxes outside of their pictures are said of as many rows as a worker takes for certain, and
    without a batch between them that has a box inside.
    """
    measures = report.measures
    if report.counts.with_result:
        _rows_outside.clear()
    if (text := measures.model_suspect) is not None:
        _say(text, "")
    elif (text := measures.boxes_outside) is not None and not report.counts.with_result:
        _rows_outside[_model(text)] += measures.outside_rows
        rows = _rows_outside[_model(text)]
        if rows >= ALL_OUTSIDE:
            _say(text, f" (so it is in {rows:,} rows)")


def _say(text: str, numbers: str) -> None:
    if _model(text) not in _doubted:
        _doubted.add(_model(text))
        _log.warning("%s%s", text, numbers)


def _model(text: str) -> str:
    return text.partition(": ")[0]
