"""However many executors share the work, the rows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from local_services.standalone import Standalone
from pyspark.sql import SparkSession
from submitting_jobs import submit

from pyspark_vision.clients import scenes

IMAGES = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes of several sizes, two that are cut short, and one that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(IMAGES):
        size_wh = ((320, 240), (200, 300), (64, 64))[seed % 3]
        scenes.draw_scene(seed, size_wh)[0].save(folder / f"{seed}.jpg")
    for seed in (3, 17):
        whole = (folder / f"{seed}.jpg").read_bytes()
        (folder / f"{seed}.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "20.jpg").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def in_one_jvm(
    spark: SparkSession, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    place = tmp_path_factory.mktemp("one")
    assert jobs.run("stream_detect", *flags(pictures, place)) == 0
    return rows(place)


def flags(pictures: Path, place: Path) -> list[object]:
    return [
        *("--input", pictures, "--model", jobs.model("demo-detector")),
        *("--output", place / "out", "--checkpoint", place / "checkpoint"),
        *("--trigger", "available-now", "--max-files-per-trigger", "16"),
    ]


def rows(place: Path) -> list[dict[str, Any]]:
    """What stream_detect writes, in the order of the files' names."""
    # The batch's folder depends on the order in which files were listed.
    found = [
        {name: value for name, value in row.items() if name != "batch_id"}
        for row in pq.read_table(place / "out").to_pylist()
    ]
    return sorted(found, key=lambda row: row["origin"])


def check(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == IMAGES
    assert [row["error"] and row["error"]["code"] for row in found].count("truncated") == 2
    assert found == expected


@pytest.mark.slow
def test_four_executors_give_the_rows_of_one_jvm(
    root: Path, pictures: Path, in_one_jvm: list[dict[str, Any]], tmp_path: Path
) -> None:
    job = (root / "jobs" / "stream_detect.py", "--", *flags(pictures, tmp_path))
    submit(root, "--master", "local-cluster[4,1,1024]", *job)

    check(rows(tmp_path), in_one_jvm)


@pytest.mark.slow
def test_a_standalone_cluster_gives_the_rows_of_one_jvm(
    standalone: Standalone,
    root: Path,
    pictures: Path,
    in_one_jvm: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    job = (root / "jobs" / "stream_detect.py", "--", *flags(pictures, tmp_path))
    submit(root, "--master", standalone.master_url, "--ship-environment", *job)

    check(rows(tmp_path), in_one_jvm)
