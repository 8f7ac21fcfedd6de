"""Whatever lies in a folder, and however it got there: each file is one row or one counted reason.

Folders are made by a seed, which is printed: odd names, times, links, sizes, states of writing and
removal. ``SEED=…`` makes them again.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import job_runs as jobs
import pyarrow.parquet as pq
import pytest
from local_services.hdfs import Hdfs
from local_services.s3 import S3
from pictures import scene_jpeg
from pyspark.sql import SparkSession

from pyspark_vision.sources import folders

SETTLE_S = 1.0

FOLDERS = ["", "cam", "_cam", ".cam", "camera 1", "cam%41", "[cam]", "caf\u00e9", "a=1"]
# What comes before a number, and what behind it.
NAMES = (
    ("", ".jpg"),
    ("_DSC", ".JPG"),
    (".", ".jpeg"),
    ("with space ", ".jpg"),
    ("100%", ".jpg"),
    ("%2e%41", ".jpg"),
    ("a#b?c", ".jpg"),
    ("[1]{2,3}*", ".jpg"),
    ("'quote\"", ".jpg"),
    ("line\nbreak", ".jpg"),
    ("caf\u00e9-\u65e5\u672c", ".jpg"),
    ("batch_id=", ".jpg"),
    ("no-suffix", ""),
)
LOCAL_NAMES = (("12:00:0", ".jpg"), ("back\\slash", ".jpg"), ("bytes\udcff\udcfe", ".jpg"))
HIDDEN = [(".DS_Store", ""), ("_SUCCESS", ""), (".a.jpg.X7f3Q", "")]


@dataclass
class Made:
    """What a folder holds: for each file, by its path in it, the code of its row; why others have
    none; and what is to be removed once it is listed."""

    rows: dict[str, str | None] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    victims: list[str] = field(default_factory=list)


class LocalPlace:
    """A folder of this machine's disks."""

    names = (*NAMES, *LOCAL_NAMES)

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder / "in [1]")

    def path(self, name: str) -> bytes:
        return os.fsencode(f"{self.uri}/{name}")

    def put(self, name: str, content: bytes, at: float | None) -> None:
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content)
        if at is not None:
            os.utime(self.path(name), (at, at))

    def remove(self, name: str) -> None:
        os.unlink(self.path(name))


class S3Place:
    """A prefix of a bucket."""

    names = NAMES

    def __init__(self, s3_client: Any, bucket: str) -> None:
        self.uri = f"s3a://{bucket}/in"
        self._client, self._bucket = s3_client, bucket
        # What is no part of the folder, though its key begins like it.
        s3_client.put_object(Bucket=bucket, Key="in-other/x.jpg", Body=b"x")

    def put(self, name: str, content: bytes, at: float | None) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"in/{name}", Body=content)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"in/{name}")


class HdfsPlace:
    """A folder of HDFS, by its Java client."""

    names = NAMES

    def __init__(self, spark: SparkSession, hdfs: Hdfs) -> None:
        self.uri = f"{hdfs.fs_uri}/each-{uuid.uuid4().hex}/in"
        jvm: Any = spark._jvm
        self._path = jvm.org.apache.hadoop.fs.Path
        uri = jvm.java.net.URI(hdfs.fs_uri)
        conf = spark._jsc.hadoopConfiguration()
        self._file_system = jvm.org.apache.hadoop.fs.FileSystem.get(uri, conf)

    def path(self, name: str) -> Any:
        return self._path(f"{self.uri}/{name}")

    def put(self, name: str, content: bytes, at: float | None) -> None:
        stream = self._file_system.create(self.path(name))
        stream.write(bytearray(content))
        stream.close()
        if at is not None:
            self._file_system.setTimes(self.path(name), round(at * 1000), -1)

    def remove(self, name: str) -> None:
        self._file_system.delete(self.path(name), False)


Place = LocalPlace | S3Place | HdfsPlace


@pytest.fixture(params=["local", "s3", pytest.param("hdfs", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Place:
    """An empty folder somewhere."""
    if request.param == "local":
        return LocalPlace(tmp_path)
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        assert s3.endpoint_url
        bucket = request.getfixturevalue("bucket")
        return S3Place(request.getfixturevalue("s3_client"), bucket)
    return HdfsPlace(spark, request.getfixturevalue("hdfs"))


@pytest.fixture
def dice() -> random.Random:
    """By ``SEED``, or by one that is printed."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(1_000_000)))
    print(f"SEED={seed}")
    return random.Random(seed)


def add(place: Place, dice: random.Random, count: int, made: Made, turn: int) -> None:
    """So many more files of all kinds; each name once."""
    small, large = scene_jpeg(7, 64, 64), scene_jpeg(8, 640, 480)
    contents = [(small, None), (large, None), (b"", "empty_input")]
    contents += [(small[:400], "truncated"), (b"none", "unsupported_format")]
    now = time.time()
    times = [None, 1, 1_560_000_000, now - 10, now + 10, now + 40_000_000]
    kinds = dice.choices(contents, k=count)
    kinds[: len(contents)] = contents  # each kind, and each name, once at least
    names = [*place.names, *dice.choices(place.names, k=count)][:count]
    for number, ((content, code), (before, behind)) in enumerate(zip(kinds, names, strict=True)):
        folder = dice.choice(FOLDERS)
        name = f"{folder}/{before}{turn}{number}{behind}".lstrip("/")
        place.put(name, content, dice.choice(times))
        made.rows[name] = code
    for before, _ in HIDDEN:
        place.put(f"cam/{before}{turn}", b"x", None)
        made.left_out["hidden"] += 1
    victim = f"cam/victim{turn}.jpg"
    place.put(victim, small, time.time() - 1000)
    made.rows[victim] = "fetch_not_found"
    made.victims.append(victim)
    if isinstance(place, LocalPlace):
        add_links(place, made, turn)


def add_links(place: LocalPlace, made: Made, turn: int) -> None:
    for name, target in (("loop", "."), ("cam/above", "../.."), ("again", "cam")):
        os.symlink(target, place.path(f"{name}{turn}"))
    made.left_out.update(link_above=2, link_repeated=1)
    outer = os.path.dirname(os.fsencode(place.uri)) + b"/outer"
    os.makedirs(outer, exist_ok=True)
    with open(outer + b"/%d.jpg" % turn, "wb") as file:
        file.write(scene_jpeg(6, 64, 64))
    # A second link to the folder, which comes before the first one, changes no file's name.
    os.symlink(outer, place.path(f"{'za'[turn]}-outer"))
    made.rows[f"z-outer/{turn}.jpg"] = None
    made.left_out.update(link_repeated=turn)
    os.symlink("nowhere", place.path(f"broken{turn}.jpg"))
    made.rows[f"broken{turn}.jpg"] = "fetch_not_found"
    os.mkfifo(place.path(f"pipe{turn}.jpg"))
    made.left_out["not_a_file"] += 1


def write_slowly(place: LocalPlace, name: str) -> threading.Thread:
    """The first half now, the rest while the job waits for it."""
    content = scene_jpeg(9, 320, 240)
    place.put(name, content[:2000], None)

    def rest() -> None:
        for start in range(2000, len(content), 3000):
            time.sleep(SETTLE_S / 3)
            with open(place.path(name), "ab") as file:
                file.write(content[start : start + 3000])

    thread = threading.Thread(target=rest)
    thread.start()
    return thread


def removing(monkeypatch: pytest.MonkeyPatch, place: Place, made: Made) -> None:
    """When the folder has been listed, the victims go, before they are read."""
    files = folders.files

    def listed(*arguments: Any) -> Iterator[Any]:
        yield from list(files(*arguments))
        while made.victims:
            place.remove(made.victims.pop())

    monkeypatch.setattr(folders, "files", listed)


def shown(name: str) -> str:
    """As a row's origin ends."""
    raw = os.fsencode(name).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", raw)


def check(rows: list[dict[str, Any]], place: Place, made: Made) -> None:
    top = place.uri if "://" in place.uri else f"file:{place.uri}"
    found = {row["origin"]: row["error"] and row["error"]["code"] for row in rows}
    assert len(found) == len(rows)
    assert found == {f"{top}/{shown(name)}": code for name, code in made.rows.items()}


def left_out(said: str) -> Counter[str]:
    """Of the last such line."""
    [*_, reasons] = re.findall(r"left out \d+ \(([^)]*)\)", said)
    return Counter({word: int(n) for word, n in (one.split() for one in reasons.split(", "))})


def run_job(
    job: str, place: Place, made: Made, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> int:
    writer = None
    if isinstance(place, LocalPlace):
        name = f"cam/slow{len(made.rows)}.jpg"
        writer = write_slowly(place, name)
        made.rows[name] = None
    with monkeypatch.context() as patch:
        removing(patch, place, made)
        code = jobs.run(job, *arguments)
    if writer is not None:
        writer.join()
    return code


def test_batch_embed_has_a_row_or_a_reason_for_each_file(
    place: Place,
    dice: random.Random,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    made = Made()
    arguments = [
        *("--images", place.uri, "--output", tmp_path / "out", "--settle", SETTLE_S),
        *("--model", jobs.model("demo-embedder"), "--images-per-batch", 8),
    ]
    for turn, count in enumerate((16, 6)):
        add(place, dice, count, made, turn)

        code = run_job("batch_embed", place, made, arguments, monkeypatch)

        said = capsys.readouterr().out
        assert code == 0, said
        check(pq.read_table(tmp_path / "out").to_pylist(), place, made)
        assert left_out(said) == made.left_out


def test_a_folder_stream_has_a_row_or_a_reason_for_each_file(
    place: Place,
    dice: random.Random,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
    caplog: Any,
) -> None:
    made = Made()
    arguments = [
        *("--input", place.uri, "--output", tmp_path / "out", "--settle", SETTLE_S),
        *("--model", jobs.model("demo-detector"), "--checkpoint", tmp_path / "checkpoint"),
        *("--trigger", "available-now", "--max-files-per-trigger", 16),
    ]
    for turn, count in enumerate((16, 6)):
        add(place, dice, count, made, turn)
        caplog.clear()

        code = run_job("stream_detect", place, made, arguments, monkeypatch)

        assert code == 0
        check(pq.read_table(tmp_path / "out").to_pylist(), place, made)
        assert left_out(capfd.readouterr().out) == made.left_out
        # Nothing is wrong.
        assert "left out" not in caplog.text
