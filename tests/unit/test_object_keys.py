"""Keys in batches: a bounded number at a time, and every mistake is the caller's to hear."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetching import LOCAL_FILES
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.fetch.fetched import Reference
from pyspark_vision.executor.fetch.object_store import fetch, fetch_ahead
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.functions import fetch_object
from pyspark_vision.sources import object_keys
from pyspark_vision.sources.listed_files import Tally
from pyspark_vision.sources.object_keys import in_batches, is_prefix, read_keys


def test_batches_have_the_size_asked_for_and_the_last_the_rest() -> None:
    assert list(in_batches(iter("abcdefg"), 3)) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert list(in_batches(iter(()), 3)) == []


def test_no_more_is_listed_than_a_few_batches_ahead() -> None:
    listed: list[int] = []

    def keys() -> Iterator[str]:
        for number in range(10_000):
            listed.append(number)
            yield str(number)

    batches = in_batches(keys(), 10)
    next(batches)
    time.sleep(0.5)

    # One in the caller's hands, two that wait, one that the thread holds.
    assert 10 <= len(listed) <= 40


def test_an_error_of_the_listing_is_the_callers() -> None:
    def keys() -> Iterator[str]:
        yield "a"
        raise InvalidOptionError("cannot list")

    with pytest.raises(InvalidOptionError, match="cannot list"):
        list(in_batches(keys(), 1))


def test_the_thread_ends_when_the_caller_stops() -> None:
    batches = in_batches((str(n) for n in range(1000)), 1)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5

    while any(thread.name == "list-keys" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ("s3://bucket/fruits/", True),
        ("s3a://bucket/fruits", True),
        ("s3://bucket", True),
        ("gs://bucket/fruits/", True),
        ("gs://bucket/keys.csv", False),
        ("s3://bucket/keys.csv", False),
        ("s3a://bucket/keys.parquet", False),
        ("keys.txt", False),
        ("hdfs://h/keys.txt", False),
    ],
)
def test_a_prefix_is_told_from_a_list(keys: str, prefix: bool) -> None:
    assert is_prefix(keys) is prefix


def test_entries_are_uris_or_lie_under_the_base_and_blank_lines_are_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    listed = tmp_path / "keys.txt"
    listed.write_text("a.jpg\n\n  s3://other/b.jpg \n/c/d.jpg\nfile:/e.jpg\n")

    found = read_keys(spark, str(listed), Tally(), base="s3://bucket/in/")

    assert sorted(file.uri for file in found) == [
        "file:/e.jpg",
        "s3://bucket/in/a.jpg",
        "s3://bucket/in/c/d.jpg",
        "s3://other/b.jpg",
    ]


def test_a_list_is_collected_in_pieces_and_each_key_comes_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_keys, "_KEYS_PER_PIECE", 10)
    uris = [f"s3://b/{number}" for number in range(101)]
    (tmp_path / "keys.txt").write_text("\n".join(uris))

    found = list(read_keys(spark, str(tmp_path / "keys.txt"), Tally()))

    assert sorted(file.uri for file in found) == sorted(uris)


def test_a_key_that_stands_twice_in_any_spelling_comes_once_and_is_counted(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "keys.txt").write_text(
        "s3://b/k\ns3a://b/k\nfile:/a\ns3://b/other\nfile:///a\n s3://b/k\n"
    )
    tally = Tally()

    found = list(read_keys(spark, str(tmp_path / "keys.txt"), tally))

    places = sorted(file.origin.replace("s3a:", "s3:").replace("///", "/") for file in found)
    assert places == ["file:/a", "s3://b/k", "s3://b/other"]
    assert (tally.seen, tally.left_out) == (6, {"duplicate_key": 3})


def test_batches_grow_from_a_small_one_and_are_bounded_by_bytes() -> None:
    by_count = in_batches(iter(range(20)), 8, first=2)
    by_bytes = in_batches(iter([5, 5, 1, 20, 1, 1]), 8, most_bytes=10, bytes_of=lambda size: size)

    assert [len(batch) for batch in by_count] == [2, 4, 8, 6]
    assert list(by_bytes) == [[5, 5], [1], [20], [1, 1]]


def test_an_empty_list_has_no_keys(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").touch()

    assert list(read_keys(spark, str(tmp_path / "keys.txt"), Tally())) == []


@pytest.mark.parametrize(
    ("name", "text", "column", "said"),
    [
        ("keys.txt", "a.jpg\n", None, "'a.jpg' is no URI; `keys_base`"),
        ("keys.csv", "a,b\ns3://b/1,2\n", None, "has the columns a, b: choose one"),
        ("keys.csv", "a,b\ns3://b/1,2\n", "c", "has no column c; it has a, b"),
        ("keys.json", "{}", None, "a list ends with .txt, .csv, .parquet"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(
    name: str, text: str, column: str | None, said: str, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(InvalidOptionError) as error:
        list(read_keys(spark, str(tmp_path / name), Tally(), column))

    assert said in str(error.value)


def test_files_are_fetched_in_order_with_their_errors(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}").write_bytes(str(number).encode())
    (tmp_path / "big").write_bytes(b"x" * 1001)
    uris = [(tmp_path / f"{number}").as_uri() for number in range(50)]
    odd = [(tmp_path / "none").as_uri(), None, (tmp_path / "big").as_uri(), tmp_path.as_uri()]

    found = [one.content for one in fetch_ahead(map(Reference, [*uris, *odd]), LOCAL_FILES)]

    assert found[:50] == [str(number).encode() for number in range(50)]
    codes = [one.code.value if isinstance(one, RowError) else one for one in found[50:]]
    assert codes == ["fetch_not_found", None, "too_many_bytes", "fetch_failed"]


def test_no_more_is_fetched_than_twice_the_concurrency() -> None:
    asked: list[int] = []

    def references() -> Iterator[Reference]:
        for number in range(1000):
            asked.append(number)
            yield Reference("file:///none")

    fetched = fetch_ahead(references(), LOCAL_FILES)
    next(fetched)

    assert len(asked) <= 2 * LOCAL_FILES.concurrency
    fetched.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "uri",
    ["file:///a/../etc/passwd", "file:///a/%2e%2e/etc/passwd", "file:/etc/passwd", "s3://b/k"],
)
def test_what_is_under_no_allowed_prefix_is_denied(uri: str) -> None:
    import dataclasses

    narrow = dataclasses.replace(LOCAL_FILES, prefixes=("file:///a/", "s3://other/"))

    denied = fetch(uri, narrow).content

    assert isinstance(denied, RowError)
    assert denied.code.value == "fetch_denied"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"concurrency": True}, "concurrency=True"),
        ({"max_attempts": 1.5}, "max_attempts=1.5"),
        ({"timeout_s": 0}, "timeout_s=0 must be a number above 0"),
        ({"prefixes": ["/data"]}, "'/data' must begin with one of s3:, s3a:, gs:, file:"),
    ],
)
def test_options_out_of_range_are_refused_on_the_driver(
    options: dict[str, object], said: str, spark: SparkSession
) -> None:
    with pytest.raises(InvalidOptionError) as error:
        fetch_object("uri", **options)  # type: ignore[arg-type]

    assert said in str(error.value)
