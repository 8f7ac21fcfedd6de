"""A bundle that is replaced while a job runs."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec, storage, watched
from pyspark_vision.bundles.storage import scratch_folder
from pyspark_vision.bundles.watched import WatchedBundle
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor import model_files
from pyspark_vision.spark.hadoop import hadoop_path

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


def change(folder: Path, **fields: str) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **fields}))


def test_the_same_weights_with_other_preprocessing_are_a_new_version(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sha256 = save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    before = watched.newest().digest
    change(tmp_path / "bundle", resize="letterbox")
    with caplog.at_level(logging.INFO, "pyspark_vision"):
        assert watched.newest().resize == "letterbox"
    assert watched.newest().sha256 == sha256
    assert watched.newest().digest != before
    assert "resize was stretch, is letterbox" in caplog.text


def test_another_licence_is_no_new_version(spark: SparkSession, tmp_path: Path) -> None:
    save_version(tmp_path / "bundle", 1)
    watched = WatchedBundle(spark, str(tmp_path / "bundle"))
    before = watched.newest()
    change(tmp_path / "bundle", licence="MIT", source="elsewhere")
    assert watched.newest() is before


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


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: object, **keywords: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("where", "name", "error", "words"),
    [
        # As root reads everything, the rights of umask 077 are stood in for.
        (Path, "read_text", PermissionError(13, "Permission denied", "model.json"), "Permission"),
        (storage, "sha256_of", PermissionError(13, "Permission denied", "m.tflite"), "Permission"),
        (shutil, "copyfile", OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (storage, "check_fits", MissingDependencyError("install extra onnx"), "install extra onnx"),
        (storage, "check_fits", RuntimeError("engine\nchoked"), "engine choked"),
    ],
    ids=["json not readable", "model not readable", "disk full", "package missing", "engine"],
)
def test_whatever_keeps_a_version_from_use_is_one_line_and_the_old_one_stays(
    where: Any,
    name: str,
    error: Exception,
    words: str,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    padding = 100 + len(words) + len(name)  # bytes that no other test has published
    first = save_version(tmp_path / "bundle", padding)
    bundle = WatchedBundle(spark, str(tmp_path / "bundle"))
    second = save_version(tmp_path / "bundle", padding + 50)
    with caplog.at_level(logging.WARNING, "pyspark_vision"), monkeypatch.context() as patch:
        patch.setattr(where, name, failing(error))
        assert [bundle.newest().sha256 for _ in range(3)] == [first] * 3
    assert len(caplog.records) == 1
    assert f"is refused, {first} stays: " in caplog.text
    assert words in caplog.text
    assert bundle.newest().sha256 == second


def test_a_bundle_that_cannot_be_listed_is_one_line_and_the_old_one_stays(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = save_version(tmp_path / "bundle", 1)
    bundle = WatchedBundle(spark, str(tmp_path / "bundle"))
    with caplog.at_level(logging.WARNING, "pyspark_vision"), monkeypatch.context() as patch:
        patch.setattr(os, "walk", failing(PermissionError(13, "Permission denied")))
        seen = [bundle.newest().sha256 for _ in range(3)]
    assert seen == [first] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/bundle cannot be seen now, {first} stays: [Errno 13] Permission denied"
    ]


@pytest.mark.parametrize("by_hadoop", [False, True])
def test_rights_that_were_given_since_are_seen(
    by_hadoop: bool, spark: SparkSession, tmp_path: Path
) -> None:
    def listed() -> Any:
        if by_hadoop:
            return watched._hadoop_files(*hadoop_path(spark, f"file:{tmp_path}/bundle"))
        return watched._local_files(f"{tmp_path}/bundle")

    save_version(tmp_path / "bundle", 1)
    (tmp_path / "bundle" / "model.json").chmod(0o600)
    before = listed()
    assert listed() == before
    (tmp_path / "bundle" / "model.json").chmod(0o644)
    assert listed() != before


def test_a_bundle_that_cannot_be_read_is_refused_at_the_start_in_words(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_version(tmp_path / "bundle", 1)
    denied = PermissionError(13, "Permission denied", "model.json")
    monkeypatch.setattr(Path, "read_text", failing(denied))
    with pytest.raises(InvalidModelError, match="bundle cannot be read: .*Permission denied"):
        WatchedBundle(spark, str(tmp_path / "bundle"))


def test_a_new_version_is_unpacked_though_the_scratch_folder_was_swept(
    spark: SparkSession, tmp_path: Path
) -> None:
    save_version(tmp_path / "bundle", 1)
    shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "bundle")
    bundle = WatchedBundle(spark, str(tmp_path / "model.zip"))
    bundle.newest()
    shutil.rmtree(scratch_folder().parent)
    second = save_version(tmp_path / "bundle", 2)
    shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "bundle")
    assert bundle.newest().sha256 == second


def test_a_broken_version_that_is_tried_again_leaves_no_copies(
    spark: SparkSession, tmp_path: Path
) -> None:
    first = save_version(tmp_path / "bundle", 1)
    shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "bundle")
    bundle = WatchedBundle(spark, str(tmp_path / "model.zip"))
    (tmp_path / "bundle" / "model.tflite").write_bytes(b"cut short")
    shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "bundle")
    scratch = scratch_folder().parent
    before = sorted(scratch.iterdir())
    assert [bundle.newest().sha256 for _ in range(3)] == [first] * 3
    assert sorted(scratch.iterdir()) == before


def test_a_refused_version_in_a_store_is_not_fetched_for_each_batch(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_version(tmp_path / "bundle", 1)
    bundle = WatchedBundle(spark, str(tmp_path / "bundle"))
    monkeypatch.setattr(bundle, "_is_local", False)
    tries = []

    def load() -> ModelSpec:
        tries.append(1)
        return ModelSpec.load(tmp_path / "bundle")

    monkeypatch.setattr(bundle, "_load", load)
    (tmp_path / "bundle" / "model.tflite").write_bytes(b"cut short")
    assert [bundle.newest().sha256 for _ in range(3)] == [first] * 3
    assert len(tries) == 1
    monkeypatch.setattr(watched, "_FETCHED_AGAIN_AFTER_S", 0.0)
    bundle.newest()
    assert len(tries) == 2


def test_a_published_file_that_was_swept_is_there_again_before_the_next_batch(
    spark: SparkSession, tmp_path: Path
) -> None:
    save_version(tmp_path / "bundle", 1)
    bundle = WatchedBundle(spark, str(tmp_path / "bundle"))
    published = storage.publish(bundle.newest(), spark)
    file = Path(SparkFiles.get(published.name))
    file.unlink()

    bundle.newest()

    assert model_files.sha256_of(file) == published.sha256


def test_a_disk_too_full_to_make_a_file_again_is_one_line(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = save_version(tmp_path / "bundle", 1)
    bundle = WatchedBundle(spark, str(tmp_path / "bundle"))
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(watched, "keep_published", failing(full))
    with caplog.at_level(logging.WARNING, "pyspark_vision"):
        assert [bundle.newest().sha256 for _ in range(3)] == [first] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "files that new executors need cannot be made again: [Errno 28] No space left on device"
    ]
