"""batch_embed on S3 and HDFS: both ways in, stopped and started again, many keys."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_proxy import FaultyProxy
from local_services.hdfs import Hdfs
from local_services.s3 import S3
from pictures import scene_jpeg
from pyspark.sql import SparkSession

from pyspark_vision.columns.options import fetch_options
from pyspark_vision.executor.fetch import s3_clients
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.listed_files import Tally
from pyspark_vision.sources.object_keys import list_keys

KEYS = 20_000


def embed(*arguments: object) -> int:
    return jobs.run("batch_embed", "--model", jobs.model("demo-embedder"), *arguments)


def put_fruits(s3_client: Any, bucket: str, count: int) -> None:
    """``fruits/<label>/<n>.jpg``, two labels in turn."""
    for seed in range(count):
        label = ("apple", "pear")[seed % 2]
        s3_client.put_object(Bucket=bucket, Key=f"fruits/{label}/{seed}.jpg", Body=scene_jpeg(seed))


def rows_by_name(rows: list[Any]) -> dict[str, Any]:
    found = {row["origin"].rsplit("/", 1)[-1]: row for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_a_folder_on_s3_and_a_prefix_of_keys_give_the_same_vectors(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str
) -> None:
    put_fruits(s3_client, bucket, 5)
    s3_client.put_object(Bucket=bucket, Key="fruits/pear/cut.jpg", Body=scene_jpeg(1)[:2000])

    listed = embed("--images", f"s3a://{bucket}/fruits", "--output", f"s3a://{bucket}/by-spark")
    fetched = embed("--keys", f"s3://{bucket}/fruits/", "--output", f"s3a://{bucket}/by-keys")

    by_spark = rows_by_name(spark.read.parquet(f"s3a://{bucket}/by-spark").collect())
    by_keys = rows_by_name(spark.read.parquet(f"s3a://{bucket}/by-keys").collect())
    assert (listed, fetched) == (0, 0)
    assert set(by_spark) == set(by_keys) == {*(f"{i}.jpg" for i in range(5)), "cut.jpg"}
    for name, row in by_spark.items():
        other = by_keys[name]
        assert (row.label, row.embedding, row.model) == (other.label, other.embedding, other.model)
        assert (row.error and row.error.code) == (other.error and other.error.code)
    assert by_keys["3.jpg"].label == "pear"
    assert by_keys["cut.jpg"].error.code == "truncated"
    assert len(by_keys["2.jpg"].embedding) == 128


@pytest.mark.slow
def test_images_are_read_from_and_vectors_written_to_hdfs(
    spark: SparkSession, hdfs: Hdfs, capsys: Any
) -> None:
    folder = f"{hdfs.fs_uri}/embed-{time.time_ns()}"
    file_system = spark._jvm.org.apache.hadoop.fs.FileSystem.get(  # type: ignore[union-attr]
        spark._jvm.java.net.URI(hdfs.fs_uri),  # type: ignore[union-attr]
        spark._jsc.hadoopConfiguration(),
    )
    for seed in range(4):
        path = spark._jvm.org.apache.hadoop.fs.Path(f"{folder}/in/cat/{seed}.jpg")  # type: ignore[union-attr]
        stream = file_system.create(path)
        stream.write(bytearray(scene_jpeg(seed)))
        stream.close()
    arguments = ("--images", f"{folder}/in", "--output", f"{folder}/out", "--images-per-batch", 3)

    assert embed(*arguments) == 0
    assert embed(*arguments) == 0

    rows = rows_by_name(spark.read.parquet(f"{folder}/out").collect())
    assert sorted(rows) == [f"{seed}.jpg" for seed in range(4)]
    assert {row.label for row in rows.values()} == {"cat"}
    assert "images in 0, embedded 0" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_job_goes_on_without_repeating_what_is_there(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str, root: Path, tmp_path: Path
) -> None:
    put_fruits(s3_client, bucket, 30)
    uris = [f"s3://{bucket}/fruits/{('apple', 'pear')[i % 2]}/{i}.jpg" for i in range(30)]
    # A list with 200 entries, so that the job is still at work when the first batches are there.
    listed = tmp_path / "keys.parquet"
    keys = [uris[i % 30] + f"?{i}" if i >= 30 else uris[i] for i in range(200)]
    pq.write_table(pa.table({"key": keys}), listed)
    out = tmp_path / "out"
    arguments = ["--keys", str(listed), "--output", str(out), "--images-per-batch", "20"]
    settings = [f"--conf=spark.hadoop.{key}={value}" for key, value in s3.hadoop_conf().items()]
    command = [
        *("spark-submit", "--master", "local[2]", "--conf", "spark.ui.enabled=false", *settings),
        *(str(root / "jobs" / "batch_embed.py"), "--model", str(jobs.model("demo-embedder"))),
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    job = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("batch_id=*"))) < 3:
        assert time.monotonic() < deadline
        assert job.poll() is None, "the job ended before it was killed"
        time.sleep(0.1)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait(timeout=30)
    there = pq.read_table(out).num_rows

    assert embed(*arguments) == 0

    rows = pq.read_table(out).to_pylist()
    assert 60 <= there < 200
    assert len(rows) == len({row["origin"] for row in rows}) == 200
    assert sum(row["error"] is None for row in rows) == 30


def test_a_prefix_gives_its_images_or_what_a_pattern_takes_and_counts_the_rest(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str
) -> None:
    keys = ("a.jpg", "b.PNG", "_c.jpg", "notes.txt", "list.csv", ".keep", "folder/", "[1] %41.jpg")
    for key in keys:
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=b"x")
    s3_client.put_object(Bucket=bucket, Key="in-other/d.jpg", Body=b"x")

    def listed(glob: str | None, prefix: str = "s3://{}/in/") -> tuple[list[str], Tally]:
        tally = Tally()
        uri = prefix.format(bucket)
        found = list(list_keys(uri, fetch_options(spark), Names(glob), tally))
        assert all(file.size == 1 and file.modified_ms for file in found)
        return sorted(file.uri.removeprefix(uri) for file in found), tally

    assert listed(None) == (
        ["[1] %41.jpg", "_c.jpg", "a.jpg", "b.PNG"],
        Tally(7, Counter(not_matching=2, hidden=1)),
    )
    assert listed("*.{txt,jpg}")[0] == ["[1] %41.jpg", "_c.jpg", "a.jpg", "notes.txt"]
    assert listed("*")[1] == Tally(7, Counter(hidden=1))
    assert len(listed("*.jpg", "s3a://{}/in")[0]) == 4


@pytest.mark.slow
def test_twenty_thousand_keys_are_computed_while_they_are_listed_in_flat_memory(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str, tmp_path: Path
) -> None:
    # Straight into the server's folder: 20,000 PUTs would take longer than the job.
    folder = next(s3.folder.rglob(bucket)) / "many" / "label"
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(scene_jpeg(1, 32, 32))
    for number in range(1, KEYS):
        os.link(folder / "0.jpg", folder / f"{number}.jpg")
    out = tmp_path / "out"
    pages_at_first_result: list[int] = []

    def watch(proxy: FaultyProxy) -> None:
        while not list(out.glob("batch_id=0/part-*")):
            time.sleep(0.02)
        pages_at_first_result.append(proxy.lists)

    conf = spark._jsc.hadoopConfiguration()
    with FaultyProxy(s3.endpoint_url) as proxy:
        conf.set("fs.s3a.endpoint", proxy.url)
        watcher = threading.Thread(target=watch, args=(proxy,), daemon=True)
        watcher.start()
        # Making a client reads megabytes of service descriptions, once per process.
        s3_clients.s3_client(fetch_options(spark))
        tracemalloc.start()
        try:
            code = embed(
                "--keys", f"s3://{bucket}/many/", "--output", out, "--images-per-batch", 2500
            )
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            conf.set("fs.s3a.endpoint", s3.endpoint_url)
    watcher.join(timeout=5)

    table = pq.read_table(out, columns=["origin"])
    assert code == 0
    assert table.num_rows == len(set(table.column("origin").to_pylist())) == KEYS
    assert proxy.lists == KEYS // 1000
    # Of 20 pages: 2,500 keys in work, two batches that wait, one in the hands of the thread.
    assert pages_at_first_result[0] <= 12
    # The keys alone, as Python strings, would take 2.5 MB.
    assert peak_bytes < 8_000_000


@pytest.mark.parametrize("keys", ["s3://no-such-bucket-here/x/", "keys.parquet"])
def test_keys_that_cannot_be_listed_are_one_line_and_exit_code_2(
    keys: str, spark: SparkSession, s3: S3, tmp_path: Path, capsys: Any
) -> None:
    code = embed("--keys", keys, "--output", tmp_path / "out")

    said = [line for line in capsys.readouterr().err.splitlines() if "batch_embed:" in line]
    assert code == 2
    assert len(said) == 1
