"""The journal's files by way of the driver's Python, as on any file system of Hadoop's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.errors import StreamError
from pyspark_vision.sources.pubsub.hadoop_door import HadoopDoor
from pyspark_vision.sources.pubsub.stores import DoorStore


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Iterator[DoorStore]:
    door = HadoopDoor(spark, f"file://{tmp_path}/journal").start()
    yield DoorStore(door.socket)
    door.close()


def test_files_are_written_whole_replaced_listed_read_and_removed(
    store: DoorStore, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 5000

    assert store.names("segments") == []
    assert store.read("segments/1") is None
    store.write("segments/1", b"first")
    store.write("segments/1", content)
    store.write("segments/2", b"")
    (tmp_path / "journal" / "segments" / "_3.unfinished").write_bytes(b"half")

    assert sorted(store.names("segments")) == ["1", "2"]
    assert store.read("segments/1") == content
    assert store.read("segments/2") == b""
    store.delete("segments/1")
    store.delete("segments/1")
    assert store.names("segments") == ["2"]


def test_a_file_is_made_once_and_the_first_stays(store: DoorStore, tmp_path: Path) -> None:
    made = [store.create("segments/1", content) for content in (b"first", b"second")]

    assert made == [True, False]
    assert store.read("segments/1") == b"first"
    assert store.names("segments") == ["1"]


def test_nothing_beside_the_journal_is_reached(store: DoorStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")

    for name in ("../secret", f"{tmp_path}/secret"):
        with pytest.raises(StreamError, match="is no file of the journal"):
            store.read(name)


def test_what_the_file_system_refuses_is_said_in_one_line(store: DoorStore, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")

    with pytest.raises(StreamError, match="segments/1 could not be reached") as refused:
        store.write("segments/1", b"x")

    assert "\n" not in str(refused.value)


def test_the_socket_is_this_users_alone(spark: SparkSession, tmp_path: Path) -> None:
    door = HadoopDoor(spark, f"file://{tmp_path}/journal").start()
    folder = Path(door.socket).parent

    assert folder.stat().st_mode & 0o777 == 0o700
    door.close()
    assert not folder.exists()
