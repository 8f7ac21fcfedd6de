"""Triggers: what the jobs take is what Spark takes, and the rest is refused before Spark starts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from job_scripts import job
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job import flags
from pyspark_vision.streaming.triggers import AVAILABLE_NOW, checked_trigger

INTERVALS = (
    "3 seconds",
    "0 seconds",
    "0.2 seconds",
    "1 second",
    "500 milliseconds",
    "1 minute 30 seconds",
    "INTERVAL 2 HOURS",
    "1 week 2 days",
    "10 microseconds",
)
NONSENSE = (
    "3 sconds",
    "3",
    "3s",
    "-3 seconds",
    "",
    "seconds",
    "1 month",
    "0.5 minutes",
    "1e3 seconds",
    "once",
    "3 seconds, please",
)


def java_trigger(spark: SparkSession, text: str) -> Any:
    return spark._jvm.org.apache.spark.sql.streaming.Trigger.ProcessingTime(text)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["available-now", "availableNow", "AvailableNow", "available_now", "available now"]
)
def test_available_now_may_be_spelt_as_spark_does(text: str) -> None:
    assert checked_trigger(text) == AVAILABLE_NOW
    assert flags.trigger_of_seconds(text) == AVAILABLE_NOW


def test_each_interval_that_is_taken_is_one_of_sparks(spark: SparkSession) -> None:
    for text in INTERVALS:
        java_trigger(spark, checked_trigger(text))


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        checked_trigger(text)

    assert str(refused.value).startswith(f"{text!r} is no trigger: give an interval as '3 seconds'")
    assert "available-now" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "trigger"),
    [("10", "10 seconds"), ("0.25", "0.25 seconds"), ("0.00001", "0.00001 seconds")],
)
def test_a_number_of_seconds_is_a_trigger_that_spark_reads(
    text: str, trigger: str, spark: SparkSession
) -> None:
    assert flags.trigger_of_seconds(text) == trigger
    java_trigger(spark, trigger)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten", "3 seconds", ""])
def test_what_is_no_number_of_seconds_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"number of seconds above 0.*available-n"):
        flags.trigger_of_seconds(text)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("stream_detect", "--model m --checkpoint c --trigger"),
        ("extract_events", "--output o --stream --checkpoint c --trigger"),
        ("stream_classify", "--checkpoint c --trigger-seconds"),
    ],
)
def test_a_job_refuses_a_nonsense_trigger_before_spark_starts(
    name: str, flags: str, no_session: None, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        job(root, name).main([*flags.split(), "3 sconds"])

    assert exit_.value.code == 2
    assert "'3 sconds' is no trigger" in capsys.readouterr().err
