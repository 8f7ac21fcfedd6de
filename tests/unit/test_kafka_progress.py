"""What is behind and what is lost, from Spark's own progress."""

from __future__ import annotations

from typing import Any

from pyspark_vision.sources.kafka_progress import backlog_rows, rows_lost


def test_the_backlog_is_what_the_brokers_have_and_the_stream_has_not() -> None:
    kafka = {
        "latestOffset": '{"frames": {"0": 30, "1": 12}, "new": {"0": 5}}',
        "endOffset": {"frames": {"0": 10, "1": 12}, "new": {"0": 1}},
    }
    files = {"latestOffset": None, "endOffset": {"logOffset": 3}}

    assert backlog_rows({"sources": [kafka, files]}) == 24
    assert backlog_rows({"sources": [files]}) is None


def test_rows_lost_are_the_offsets_of_a_batch_without_a_row() -> None:
    source: dict[str, Any] = {
        "startOffset": '{"frames": {"0": 3, "1": 0}}',
        "endOffset": '{"frames": {"0": 8, "1": 2}}',
        "numInputRows": 4,
    }
    files = {"startOffset": None, "endOffset": {"logOffset": 3}, "numInputRows": 9}

    assert rows_lost({"sources": [source, files]}) == 3
    assert rows_lost({"sources": [files]}) == 0
