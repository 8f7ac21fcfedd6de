"""However many executors and processes share the work, the rows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from local_services.standalone import Standalone
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
def on_one_core(root: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return rows(root, pictures, tmp_path_factory.mktemp("one"), "local[1]")


def rows(root: Path, pictures: Path, place: Path, master: str, *options: object) -> Any:
    """What stream_detect writes, in the order of the files' names."""
    submit(
        root,
        *("--master", master, *options),
        *(root / "jobs" / "stream_detect.py", "--"),
        *("--input", pictures, "--model", root / "models" / "demo-detector"),
        *("--output", place / "out", "--checkpoint", place / "checkpoint"),
        *("--trigger", "available-now", "--max-files-per-trigger", "16"),
    )
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
def test_four_executors_give_the_rows_of_one_core(
    root: Path, pictures: Path, on_one_core: Any, tmp_path: Path
) -> None:
    check(rows(root, pictures, tmp_path, "local-cluster[4,1,1024]"), on_one_core)


def test_a_standalone_cluster_gives_the_rows_of_one_core(
    standalone: Standalone, root: Path, pictures: Path, on_one_core: Any, tmp_path: Path
) -> None:
    master = standalone.master_url
    check(rows(root, pictures, tmp_path, master, "--ship-environment"), on_one_core)
