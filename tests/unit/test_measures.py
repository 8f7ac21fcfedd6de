"""What is counted of a batch, in one pass, and how it is said: the log's line, Prometheus' text."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.streaming.batch_report import BatchReport
from pyspark_vision.streaming.counts import Counts, Measures, measure_results
from pyspark_vision.streaming.metrics import StreamMetrics, served

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
SCHEMA = (
    "found array<int>, error struct<code:string,message:string>, dropped string, "
    "payload_bytes int, decode_ms float, model_ms float, attempts int, "
    "timestamp timestamp, received timestamp"
)


def results(spark: SparkSession) -> DataFrame:
    bad = ("truncated", "x")

    def at(second: int) -> dt.datetime:
        return NOON + dt.timedelta(seconds=second)

    rows: list[Any] = [
        ([1], None, None, 100, 2.0, 10.0, 3, at(0), at(5)),
        ([], None, None, 200, 4.0, 20.0, 1, at(10), at(15)),
        (None, bad, None, 50, None, None, 2, None, at(20)),
        (None, ("null_input", "x"), "stale", 1000, None, None, 2, at(-1000), at(21)),
    ]
    return spark.createDataFrame(rows, SCHEMA)


def report(**given: Any) -> BatchReport:
    counts = Counts(4, 1, Counter(truncated=1), Counter(stale=1))
    times = (NOON.timestamp() + 10, NOON.timestamp())
    measures = Measures(1350, 6.0, 2, 30.0, 2, 2, *times, boxes_outside="why", suspect_rows=3)
    ended_at = NOON.timestamp() + 21
    return BatchReport(7, counts, measures, 2.0, ended_at, ("parquet",), **given)


def exposition(metrics: StreamMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def test_counts_and_measures_come_from_one_pass(spark: SparkSession) -> None:
    counts, measures = measure_results(results(spark), "found")

    assert counts == report().counts
    assert measures == Measures(
        payload_bytes=1350,  # of dropped rows too: they were read
        decode_ms=6.0,
        decoded_rows=2,
        model_ms=30.0,
        model_rows=2,
        retried_rows=2,  # not the one that was dropped
        # Of what was not dropped: 0 s, 10 s, and where the frame says nothing the source's 20 s.
        median_time=NOON.timestamp() + 10,
        oldest_5_percent=NOON.timestamp(),
    )


def test_a_code_and_a_reason_that_nobody_knows_are_counted_as_other(spark: SparkSession) -> None:
    rows: list[Any] = [(None, ("of_tomorrow", "x"), None), (None, None, "of_tomorrow")]
    schema = "found array<int>, error struct<code:string,message:string>, dropped string"

    counts, _ = measure_results(spark.createDataFrame(rows, schema), "found")

    assert counts == Counts(2, 0, Counter(other=1), Counter(other=1))


def test_no_rows_measure_nothing(spark: SparkSession) -> None:
    none = results(spark).limit(0)

    assert measure_results(none, "found") == (Counts(), Measures(payload_bytes=0))


def test_results_without_the_columns_are_counted_alone(spark: SparkSession) -> None:
    counts, measures = measure_results(results(spark).select("found", "error"), "found")

    assert (counts.rows, counts.with_result) == (4, 1)
    assert measures == Measures()


def test_a_batch_is_one_line_of_json() -> None:
    assert json.loads(report(input_rate=0.5, backlog=40).line()) == {
        "batch_id": 7,
        "rows": 4,
        "with_result": 1,
        "without_result": 1,
        "failed": {"truncated": 1},
        "dropped": {"stale": 1},
        "retried": 2,
        "sinks": ["parquet"],
        "suspect": 3,
        "model_suspect": "why",
        "payload_bytes": 1350,
        "decode_ms": {"sum": 6.0, "mean": 3.0},
        "model_ms": {"sum": 30.0, "mean": 15.0},
        "age_p50_s": 11.0,
        "age_p95_s": 21.0,
        "took_s": 2.0,
        "input_rate": 0.5,
        "processing_rate": 2.0,
        "backlog": 40,
        "catch_up_s": 20.0,
    }


@pytest.mark.parametrize(("backlog", "seconds"), [(None, None), (0, None), (4, None), (5, 2.5)])
def test_catching_up_is_said_of_more_than_one_batch(
    backlog: int | None, seconds: float | None
) -> None:
    assert report(backlog=backlog).catch_up_s == seconds


def test_metrics_add_up_over_batches_under_the_names_and_labels_of_dashboards() -> None:
    job = 'a "job"'
    metrics = StreamMetrics(job)
    metrics.add(report())
    metrics.add(report(backlog=5))
    metrics.behind(9)

    families = text_string_to_metric_families(exposition(metrics))

    shown = {
        (family.type, sample.name, family.documentation, *sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }
    own, age = ("job_name", job), "From a frame's own time"
    failed, dropped = ("code", "truncated"), ("reason", "stale")
    assert shown == {
        ("counter", "pyspark_vision_batches_total", "Batches done", own): 2,
        ("counter", "pyspark_vision_rows_total", "Rows read", own): 8,
        ("counter", "pyspark_vision_rows_with_result_total", "Rows with a result", own): 2,
        ("counter", "pyspark_vision_rows_failed_total", "Rows with an error", failed, own): 2,
        ("counter", "pyspark_vision_rows_dropped_total", "Rows left out", own, dropped): 2,
        ("counter", "pyspark_vision_rows_retried_total", "Rows worked on again", own): 4,
        ("counter", "pyspark_vision_rows_suspect_total", "Rows that no right model has", own): 6,
        ("counter", "pyspark_vision_payload_bytes_total", "Bytes of the rows read", own): 2700,
        ("counter", "pyspark_vision_decode_seconds_total", "Decoding", own): 0.012,
        ("counter", "pyspark_vision_model_seconds_total", "In the model", own): 0.06,
        ("gauge", "pyspark_vision_backlog_rows", "Rows the source has and has not given", own): 9,
        ("gauge", "pyspark_vision_result_age_p50_seconds", age, own): 11,
        ("gauge", "pyspark_vision_result_age_p95_seconds", age, own): 21,
        ("gauge", "pyspark_vision_batch_seconds", "How long the last batch took", own): 2,
        ("gauge", "pyspark_vision_batch_rows", "Rows of the last batch", own): 4,
        ("gauge", "pyspark_vision_processed_rows_per_second", "Within batches", own): 2,
        ("gauge", "pyspark_vision_catch_up_seconds", "What the backlog takes", own): 2.5,
        (
            *("gauge", "pyspark_vision_last_batch_time_seconds"),
            *("When it ended, since 1970", own),
        ): NOON.timestamp() + 21,
    }


def test_metrics_are_served_on_this_machine_until_the_end() -> None:
    with served(StreamMetrics("job"), 0) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert 'pyspark_vision_rows_total{job_name="job"} 0' in answer.read().decode()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


@pytest.mark.parametrize("file", ["grafana/pyspark_vision.json", "prometheus/alerts.yml"])
def test_dashboard_and_alerts_ask_for_metrics_that_are_served(root: Path, file: str) -> None:
    metrics = StreamMetrics("job")
    metrics.add(report(input_rate=1.0, backlog=5))
    metrics.behind(5)
    served_names = set(re.findall(r"^pyspark_vision_\w+", exposition(metrics), re.MULTILINE))

    # "{" and "[" follow the name of a metric; a dashboard's own names are followed by neither.
    asked = set(re.findall(r"(pyspark_vision_\w+)(?=[{\[])", (root / "conf" / file).read_text()))

    assert asked
    assert asked - served_names == set()
