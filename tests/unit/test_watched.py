"""A bundle that is replaced while a job runs."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec, storage, watched
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.watched import WatchedBundle
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.models import model_files
from pyspark_vision.spark.hadoop import hadoop_path

MODELS = Path(__file__).resolve().parent.parent.parent / "models"


def save_version(folder: Path, padding: int, model: str = "demo-classifier") -> str:
    """A bundle of the same network in other bytes; returns its sha256."""
    made = folder.parent / f"made-{padding}-{model}"
    shutil.copytree(MODELS / model, made)
    with (made / "model.tflite").open("ab") as file:
        file.write(b"\0" * padding)  # behind the model's own end: it runs as before
    spec = ModelSpec.inspect(
        made / "model.tflite", task=ModelSpec.load(MODELS / model).task, accept=True
    )
    spec.with_options(name="pets").save(made)
    folder.mkdir(exist_ok=True)
    for name in ("model.tflite", "model.json"):
        shutil.copyfile(made / name, folder / name)
    return spec.sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


@pytest.fixture
def first(folder: Path) -> str:
    """The sha256 of the version that the folder holds when the job starts."""
    return save_version(folder, 1)


@pytest.fixture
def bundle(spark: SparkSession, folder: Path, first: str) -> WatchedBundle:
    return WatchedBundle(spark, str(folder))


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """The lines of warning since the job's start."""
    with caplog.at_level(logging.WARNING, "pyspark_vision"):
        yield lambda: [record.getMessage() for record in caplog.records]


def looks(bundle: WatchedBundle) -> list[str]:
    """The sha256 that three batches in a row are given."""
    return [bundle.newest().sha256 for _ in range(3)]


def test_the_same_files_are_the_same_version(bundle: WatchedBundle, first: str) -> None:
    assert looks(bundle) == [first] * 3


def test_a_uri_that_no_file_system_knows_is_refused_in_words(spark: SparkSession) -> None:
    with pytest.raises(InvalidModelError, match="nowhere://bucket/model"):
        WatchedBundle(spark, "nowhere://bucket/model")


def test_files_written_again_are_no_other_version(bundle: WatchedBundle, folder: Path) -> None:
    before = bundle.newest()
    os.utime(folder / "model.json", (1, 1))
    assert bundle.newest() is before


def test_a_new_version_is_used_from_the_next_time_on(
    spark: SparkSession, folder: Path, first: str
) -> None:
    bundle = WatchedBundle(spark, f"file:{folder}")
    assert bundle.newest().sha256 == first
    second = save_version(folder, 2)
    assert second != first
    assert bundle.newest().sha256 == second


def change(folder: Path, **fields: str) -> None:
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**record, **fields}))


def test_the_same_weights_with_other_preprocessing_are_a_new_version(
    bundle: WatchedBundle, folder: Path, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = bundle.newest().digest
    change(folder, resize="letterbox")
    with caplog.at_level(logging.INFO, "pyspark_vision"):
        assert bundle.newest().resize == "letterbox"
    assert bundle.newest().sha256 == first
    assert bundle.newest().digest != before
    assert "resize was stretch, is letterbox" in caplog.text


def test_another_licence_is_no_new_version(bundle: WatchedBundle, folder: Path) -> None:
    before = bundle.newest()
    change(folder, licence="MIT", source="elsewhere")
    assert bundle.newest() is before


def test_a_broken_version_is_refused_with_one_line_until_it_is_whole(
    bundle: WatchedBundle, folder: Path, first: str, warned: Callable[[], list[str]]
) -> None:
    second = save_version(folder, 2)
    whole = (folder / "model.tflite").read_bytes()
    (folder / "model.tflite").write_bytes(whole[:1000])
    assert looks(bundle) == [first] * 3
    [said] = warned()
    assert f"is refused, {first} stays: " in said
    assert "it was changed or cut short" in said
    (folder / "model.tflite").write_bytes(whole)
    assert bundle.newest().sha256 == second


def test_a_version_of_another_task_is_refused(
    bundle: WatchedBundle, folder: Path, first: str, warned: Callable[[], list[str]]
) -> None:
    save_version(folder, 1, "demo-embedder")
    assert bundle.newest().sha256 == first
    assert "its task is 'embed', and this job's is 'classify'" in warned()[0]


def test_a_bundle_that_is_away_for_a_while_stays(
    bundle: WatchedBundle, folder: Path, first: str
) -> None:
    folder.rename(folder.with_name("away"))
    assert bundle.newest().sha256 == first


def test_a_broken_bundle_is_refused_at_the_start(
    spark: SparkSession, folder: Path, first: str
) -> None:
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace(first, "0" * 64))
    with pytest.raises(InvalidModelError, match="sha256"):
        WatchedBundle(spark, str(folder))


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
    bundle: WatchedBundle,
    folder: Path,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    warned: Callable[[], list[str]],
) -> None:
    # Bytes that no other test has published.
    second = save_version(folder, 100 + len(words) + len(name))
    with monkeypatch.context() as patch:
        patch.setattr(where, name, failing(error))
        assert looks(bundle) == [first] * 3
    [said] = warned()
    assert f"is refused, {first} stays: " in said
    assert words in said
    assert bundle.newest().sha256 == second


def test_a_bundle_that_cannot_be_listed_is_one_line_and_the_old_one_stays(
    bundle: WatchedBundle,
    folder: Path,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    warned: Callable[[], list[str]],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "walk", failing(PermissionError(13, "Permission denied")))
        seen = looks(bundle)
    assert seen == [first] * 3
    assert warned() == [f"{folder} cannot be seen now, {first} stays: [Errno 13] Permission denied"]


@pytest.mark.parametrize("by_hadoop", [False, True])
def test_rights_that_were_given_since_are_seen(
    by_hadoop: bool, spark: SparkSession, folder: Path, first: str
) -> None:
    def listed() -> Any:
        if by_hadoop:
            return watched._hadoop_files(*hadoop_path(spark, f"file:{folder}"))
        return watched._local_files(str(folder))

    (folder / "model.json").chmod(0o600)
    before = listed()
    assert listed() == before
    (folder / "model.json").chmod(0o644)
    assert listed() != before


def test_a_bundle_that_cannot_be_read_is_refused_at_the_start_in_words(
    spark: SparkSession, folder: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = PermissionError(13, "Permission denied", "model.json")
    monkeypatch.setattr(Path, "read_text", failing(denied))
    with pytest.raises(InvalidModelError, match=r"model\.json cannot be read: Permission denied"):
        WatchedBundle(spark, str(folder))


def zipped(folder: Path) -> str:
    return shutil.make_archive(str(folder.with_name("model")), "zip", folder)


def test_a_new_version_is_unpacked_though_the_scratch_folder_was_swept(
    spark: SparkSession, folder: Path, first: str
) -> None:
    bundle = WatchedBundle(spark, zipped(folder))
    bundle.newest()
    shutil.rmtree(scratch_folder().parent)
    second = save_version(folder, 2)
    zipped(folder)
    assert bundle.newest().sha256 == second


def test_a_broken_version_that_is_tried_again_leaves_no_copies(
    spark: SparkSession, folder: Path, first: str
) -> None:
    bundle = WatchedBundle(spark, zipped(folder))
    (folder / "model.tflite").write_bytes(b"cut short")
    zipped(folder)
    scratch = scratch_folder().parent
    before = sorted(scratch.iterdir())
    assert looks(bundle) == [first] * 3
    assert sorted(scratch.iterdir()) == before


def test_a_refused_version_in_a_store_is_not_fetched_for_each_batch(
    bundle: WatchedBundle, folder: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_is_local", False)
    tries = []

    def load() -> ModelSpec:
        tries.append(1)
        return ModelSpec.load(folder)

    monkeypatch.setattr(bundle, "_load", load)
    (folder / "model.tflite").write_bytes(b"cut short")
    assert looks(bundle) == [first] * 3
    assert len(tries) == 1
    monkeypatch.setattr(watched, "_FETCHED_AGAIN_AFTER_S", 0.0)
    bundle.newest()
    assert len(tries) == 2


def test_a_published_file_that_was_swept_is_there_again_before_the_next_batch(
    spark: SparkSession, bundle: WatchedBundle
) -> None:
    published = storage.publish(bundle.newest(), spark)
    file = Path(SparkFiles.get(published.name))
    file.unlink()

    bundle.newest()

    assert model_files.sha256_of(file) == published.sha256


def test_a_disk_too_full_to_make_a_file_again_is_one_line(
    bundle: WatchedBundle,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    warned: Callable[[], list[str]],
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(watched, "keep_published", failing(full))
    assert looks(bundle) == [first] * 3
    assert warned() == [
        "files that new executors need cannot be made again: [Errno 28] No space left on device"
    ]
