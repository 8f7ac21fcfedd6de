"""A bundle that is replaced while a job runs."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.watched import WatchedBundle
from pyspark_vision.errors import InvalidModelError

MODELS = Path(__file__).resolve().parent.parent.parent / "models"


def save_version(folder: Path, padding: int, model: str = "demo-classifier") -> str:
    """A bundle of the same network in other bytes; returns its sha256."""
    made = folder.parent / f"made-{padding}-{model}"
    shutil.copytree(MODELS / model, made)
    with (made / "model.tflite").open("ab") as file:
        file.write(b"\0" * padding)  # behind the model's own end: it runs as before
    spec = ModelSpec.inspect(made / "model.tflite", task=ModelSpec.load(MODELS / model).task)
    spec.with_options(name="pets").save(made)
    folder.mkdir(exist_ok=True)
    for name in ("model.tflite", "model.json"):
        shutil.copyfile(made / name, folder / name)
    return spec.sha256


def test_the_same_files_are_the_same_version(spark: SparkSession, tmp_path: Path) -> None:
    sha256 = save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    assert [watched.newest().sha256 for _ in range(3)] == [sha256] * 3


def test_a_uri_that_no_file_system_knows_is_refused_in_words(spark: SparkSession) -> None:
    with pytest.raises(InvalidModelError, match="nowhere://bucket/model"):
        WatchedBundle(spark, "nowhere://bucket/model")


def test_files_written_again_are_no_other_version(spark: SparkSession, tmp_path: Path) -> None:
    save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    before = watched.newest()
    os.utime(tmp_path / "bundle" / "model.json", (1, 1))
    assert watched.newest() is before


def test_a_new_version_is_used_from_the_next_time_on(spark: SparkSession, tmp_path: Path) -> None:
    first = save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, f"file:{tmp_path}/bundle")
    assert watched.newest().sha256 == first
    second = save_version(tmp_path / "bundle", 2)
    assert second != first
    assert watched.newest().sha256 == second


def test_a_broken_version_is_refused_with_one_line_until_it_is_whole(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "bundle"
    first = save_version(folder, 1)
    watched = WatchedBundle(spark, str(folder))
    second = save_version(folder, 2)
    whole = (folder / "model.tflite").read_bytes()
    (folder / "model.tflite").write_bytes(whole[:1000])
    with caplog.at_level(logging.WARNING, "pyspark_vision"):
        assert [watched.newest().sha256 for _ in range(3)] == [first] * 3
    assert len(caplog.records) == 1
    assert f"is refused, {first} stays: " in caplog.text
    assert "it was changed or cut short" in caplog.text
    (folder / "model.tflite").write_bytes(whole)
    assert watched.newest().sha256 == second


def test_a_version_of_another_task_is_refused(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    save_version(tmp_path / "bundle", 1, "demo-embedder")
    assert watched.newest().sha256 == first
    assert "its task is 'embed', and this job's is 'classify'" in caplog.text


def test_a_bundle_that_is_away_for_a_while_stays(spark: SparkSession, tmp_path: Path) -> None:
    first = save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    (tmp_path / "bundle").rename(tmp_path / "away")
    assert watched.newest().sha256 == first


def test_a_broken_bundle_is_refused_at_the_start(spark: SparkSession, tmp_path: Path) -> None:
    save_version(tmp_path / "bundle", 1)
    record = json.loads((tmp_path / "bundle" / "model.json").read_text())
    record["files"][0]["sha256"] = "0" * 64
    (tmp_path / "bundle" / "model.json").write_text(json.dumps(record))
    with pytest.raises(InvalidModelError, match="sha256"):
        WatchedBundle(spark, str(tmp_path / "bundle"))
