"""Jobs through scripts/submit on real clusters: Spark's own, and YARN in both deploy modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from local_services.hdfs import Hdfs
from local_services.standalone import Standalone
from local_services.yarn import Yarn
from submitting import environment
from submitting_jobs import submit

from pyspark_vision.clients import scenes

NAMES = ["0.jpg", "1.jpg", "2.jpg", "cut_short.jpg"]

# Two cores run all of this beside the cluster's own daemons.


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn frames and one that is cut short."""
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(3):
        scenes.draw_scene(seed, (320, 240))[0].save(folder / f"{seed}.jpg")
    (folder / "cut_short.jpg").write_bytes((folder / "0.jpg").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def on_hdfs(hdfs: Hdfs, frames: Path) -> Iterator[str]:
    """A folder of HDFS with the frames in it."""
    uri = f"{hdfs.fs_uri}/clusters"
    hdfs.shell("-mkdir", uri)
    hdfs.shell("-put", frames, f"{uri}/frames")
    yield uri
    hdfs.shell("-rm", "-r", uri)


def check_detections(folder: Path) -> None:
    """Each frame once; objects in the whole ones, the reason for the one that is cut short."""
    rows = {Path(row["origin"]).name: row for row in rows_of(folder)}
    assert len(rows_of(folder)) == len(NAMES)
    assert sorted(rows) == NAMES
    assert [rows[name]["error"] and rows[name]["error"]["code"] for name in NAMES] == [
        None,
        None,
        None,
        "truncated",
    ]
    assert all(rows[name]["detections"] for name in NAMES[:3])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()


@pytest.mark.slow  # test_same_rows.py does the same with more rows
def test_a_standalone_clusters_workers_run_the_environment_that_was_shipped(
    standalone: Standalone, root: Path, frames: Path, tmp_path: Path
) -> None:
    printed = submit(
        *(root, "--master", standalone.master_url, "--ship-environment"),
        *(root / "jobs" / "stream_detect.py", "--"),
        *("--input", frames, "--model", root / "models" / "demo-detector"),
        *("--output", tmp_path / "out", "--checkpoint", tmp_path / "checkpoint"),
        *("--trigger", "available-now"),
    )

    assert "frames in 4, detected 3, failed 1 (truncated 1)" in printed
    check_detections(tmp_path / "out")


@pytest.mark.slow
def test_on_yarn_executors_run_an_environment_that_lies_on_hdfs(
    yarn: Yarn, hdfs: Hdfs, on_hdfs: str, root: Path, tmp_path: Path
) -> None:
    hdfs.shell("-put", environment.packed(), f"{on_hdfs}/environment.tar.gz")

    printed = submit(
        *(root, "--master", "yarn", "--python", "./environment/bin/python"),
        *("--conf", f"spark.yarn.dist.archives={on_hdfs}/environment.tar.gz#environment"),
        *(root / "jobs" / "batch_embed.py", "--"),
        *("--images", f"{on_hdfs}/frames", "--model", root / "models" / "demo-embedder"),
        *("--output", f"{on_hdfs}/vectors"),
        conf=yarn.spark_conf() | {"spark.executor.instances": "1"},
        variables={"HADOOP_CONF_DIR": str(yarn.conf_dir)},
    )

    assert "images in 4, embedded 3, failed 1 (truncated 1)" in printed
    hdfs.shell("-get", f"{on_hdfs}/vectors", tmp_path / "vectors")
    rows = {Path(row["origin"]).name: row for row in rows_of(tmp_path / "vectors")}
    assert sorted(rows) == NAMES
    assert [len(rows[name]["embedding"] or []) for name in NAMES] == [128, 128, 128, 0]


@pytest.mark.slow
def test_on_yarn_a_driver_inside_finds_environment_model_and_options_that_were_shipped(
    yarn: Yarn, hdfs: Hdfs, on_hdfs: str, root: Path, tmp_path: Path
) -> None:
    options = tmp_path / "job.toml"
    options.write_text(
        f'[source]\ninput = "{on_hdfs}/frames"\n'
        f'[model]\nmodel = "{root}/models/demo-detector"\n'
        f'[sink]\noutput = "{on_hdfs}/detections"\n'
    )

    submit(
        *(root, "--master", "yarn", "--deploy-mode", "cluster", "--ship-environment"),
        *(root / "jobs" / "stream_detect.py", "--", "--config", options),
        *("--checkpoint", f"{on_hdfs}/checkpoint", "--trigger", "available-now"),
        conf=yarn.spark_conf() | {"spark.executor.instances": "1"},
        variables={"HADOOP_CONF_DIR": str(yarn.conf_dir)},
    )

    hdfs.shell("-get", f"{on_hdfs}/detections", tmp_path / "detections")
    check_detections(tmp_path / "detections")
