"""Time zones: which names are taken, and which one a machine has, however it is set."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages import json_fields, time_zones
from pyspark_vision.messages.pycturestream import FrameFormat
from pyspark_vision.messages.time_zones import (
    LocalTimeZone,
    check_time_zone,
    local_time_zone,
    time_zone,
)

TAKEN = ["Europe/Zurich", "UTC", "America/Sao_Paulo", "Asia/Kolkata", "EST", "Etc/GMT+2"]
TAKEN += ["+02:00", "-03:30", "+18:00"]


@pytest.fixture(scope="module")
def detect(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("stream_detect", root / "jobs/stream_detect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's /etc without a zone, and no TZ."""
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(time_zones, "_LINK", str(tmp_path / "localtime"))
    monkeypatch.setattr(time_zones, "_TEXT", str(tmp_path / "timezone"))
    return tmp_path


def zone_file(name: str) -> Path:
    return next(path for folder in TZPATH if (path := Path(folder) / name).is_file())


@pytest.mark.parametrize("name", TAKEN)
def test_names_and_offsets_are_taken_as_they_are(name: str) -> None:
    assert check_time_zone(name) == name
    assert time_zone(name) == name


def test_spark_reads_times_in_every_zone_that_is_taken(spark: SparkSession) -> None:
    read = [
        json_fields.local_timestamp(F.lit("2026-11-21T08:00:00"), name).isNotNull().alias(name)
        for name in TAKEN
    ]

    [row] = spark.range(1).select(*read).collect()

    assert row.asDict() == dict.fromkeys(TAKEN, True)


def test_a_zone_that_only_python_knows_is_refused_once_spark_runs(spark: SparkSession) -> None:
    json_fields.refuse_zone_unknown_to_spark(spark, "Asia/Kolkata")

    with pytest.raises(InvalidOptionError, match="Java does not know the time zone Europe/Newtown"):
        json_fields.refuse_zone_unknown_to_spark(spark, "Europe/Newtown")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Zurch", "did you mean Europe/Zurich"),
        ("europe/zurich", "did you mean Europe/Zurich"),
        ("Zurich", "did you mean Europe/Zurich"),
        ("new york", "did you mean America/New_York"),
        ("utc", "did you mean UTC"),
        ("UTC+2", "a fixed offset as +02:00"),
        ("+2", "a fixed offset as +02:00"),
        ("+02", "a fixed offset as +02:00"),
        ("+19:00", "a fixed offset as +02:00"),
        ("+02:60", "a fixed offset as +02:00"),
        ("Factory", "is no time zone"),
        ("localtime", "is no time zone"),
        ("../etc/passwd", "is no time zone"),
        (" ", "is no time zone"),
        ("", "is no time zone"),
    ],
)
def test_another_zone_is_refused_with_near_names(name: str, said: str) -> None:
    with pytest.raises(InvalidOptionError) as of_library:
        FrameFormat(time_zone=name)
    with pytest.raises(argparse.ArgumentTypeError) as of_flag:
        time_zone(name)

    assert repr(name) in str(of_library.value)
    assert said in str(of_library.value)
    assert str(of_flag.value) == str(of_library.value)


def test_without_a_database_utc_is_known_and_other_names_are_left_to_java(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    time_zones._known.cache_clear()
    try:
        assert check_time_zone("Europe/Zurich") == "Europe/Zurich"
        assert check_time_zone(local_time_zone().name) == "UTC"
        with pytest.raises(InvalidOptionError, match="'Zurich' is no time zone"):
            check_time_zone("Zurich")
    finally:
        time_zones._known.cache_clear()


@pytest.mark.parametrize("by_file", [False, True])
def test_a_job_refuses_an_unknown_zone_before_it_starts(
    by_file: bool, detect: Any, no_session: None, tmp_path: Path, capsys: Any
) -> None:
    config = tmp_path / "job.toml"
    config.write_text('[source]\ntime-zone = "Europe/Zurch"\n')
    said = ["--config", str(config)] if by_file else ["--time-zone", "Europe/Zurch"]

    with pytest.raises(SystemExit) as end:
        detect.main(["--model", "m", "--checkpoint", "c", *said])

    assert end.value.code == 2
    assert "did you mean Europe/Zurich?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("Europe/Zurich", "Europe/Zurich"),
        (":Europe/Zurich", "Europe/Zurich"),
        ("Etc/UTC", "UTC"),
        ("Etc/GMT+2", "Etc/GMT+2"),
        ("UTC", "UTC"),
        ("UTC0", "UTC"),
        ("JST-9", "+09:00"),
        ("<-03>3", "-03:00"),
        ("<+0530>-5:30", "+05:30"),
    ],
)
def test_the_variable_is_understood_in_each_of_its_forms(
    setting: str, name: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", setting)

    assert local_time_zone() == LocalTimeZone(name)


@pytest.mark.parametrize(
    "setting", ["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Zurch", ":/nowhere", "JST-99", "7"]
)
def test_a_variable_that_is_not_understood_is_said_and_not_utc_in_silence(
    setting: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", setting)

    assert local_time_zone() == LocalTimeZone("UTC", f"TZ={setting}")


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("name", ["America/Sao_Paulo", "Asia/Kathmandu"])
def test_a_machines_file_is_known_as_a_link_and_as_a_copy(
    copied: bool, by_variable: bool, name: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = machine / "localtime"
    if copied:
        shutil.copy(zone_file(name), local)
    else:
        local.symlink_to(zone_file(name))
    if by_variable:
        monkeypatch.setenv("TZ", f":{local}")

    found = local_time_zone()

    assert found.not_understood is None
    assert zone_file(found.name).read_bytes() == zone_file(name).read_bytes()


def test_of_zones_with_the_same_content_the_machines_text_chooses(machine: Path) -> None:
    shutil.copy(zone_file("Europe/Zurich"), machine / "localtime")
    (machine / "timezone").write_text("Europe/Zurich\n")

    assert local_time_zone() == LocalTimeZone("Europe/Zurich")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Asia/Tokyo\n", LocalTimeZone("Asia/Tokyo")),
        ("Etc/UTC", LocalTimeZone("UTC")),
        ("", LocalTimeZone("UTC")),
        (None, LocalTimeZone("UTC")),
    ],
)
def test_without_a_file_the_machines_text_counts(
    text: str | None, found: LocalTimeZone, machine: Path
) -> None:
    if text is not None:
        (machine / "timezone").write_text(text)

    assert local_time_zone() == found


def test_a_file_that_is_no_zone_is_said(machine: Path) -> None:
    (machine / "localtime").write_bytes(b"TZif of another world")

    assert local_time_zone() == LocalTimeZone("UTC", str(machine / "localtime"))


def test_a_job_says_once_that_it_takes_utc_for_what_it_does_not_understand(
    detect: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    required = ["--model", "m", "--checkpoint", "c"]

    options = detect.completed(detect.parser().parse_job(required))
    said = capsys.readouterr().err.splitlines()
    detect.completed(detect.parser().parse_job([*required, "--time-zone", "UTC"]))

    assert options.time_zone == "UTC"
    assert said == [
        "stream_detect: cannot tell this machine's time zone from TZ=CET-1CEST,M3.5.0,M10.5.0/3; "
        "UTC is taken. --time-zone says which one it is"
    ]
    assert capsys.readouterr().err == ""
