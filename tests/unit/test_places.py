"""Places of one job are held against each other: none that is written touches another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job.places import Place, Topic, refuse_overlaps, refuse_same_topics


def written(uri: str) -> Place:
    return Place("--output", uri, is_written=True)


@pytest.mark.parametrize(
    ("output", "images", "relation"),
    [
        ("/data/in", "/data/in", "is the same place as"),
        ("/data/in/", "/data/in", "is the same place as"),
        ("/data//in/./x/..", "/data/in", "is the same place as"),
        ("/data", "/data/in", "holds"),
        ("/", "/data/in", "holds"),
        ("/data/in/out", "/data/in", "lies in"),
        ("file:/data/in", "/data/in", "is the same place as"),
        ("file:///data/in", "file:/data/in", "is the same place as"),
        ("file://localhost/data/in", "/data/in", "is the same place as"),
        ("local:/data/in", "/data/in", "is the same place as"),
        ("s3a://b/in", "s3://b/in/", "is the same place as"),
        ("s3a://b", "s3a://b/in", "holds"),
        ("s3a://b/in/out", "s3n://b/in", "lies in"),
        ("hdfs://NN:8020/in", "hdfs://nn/in", "is the same place as"),
        ("hdfs:///in", "hdfs:///in/x", "holds"),
        ("gs://b/a b", "gs://b/a b/c", "holds"),
        ("/data/a[b]", "/data/a[b]/c", "holds"),
    ],
)
def test_a_place_that_is_written_is_apart_from_others(
    output: str, images: str, relation: str
) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        refuse_overlaps([Place("--images", images), written(output)])

    inverse = {"holds": "lies in", "lies in": "holds"}.get(relation, relation)
    assert f"--images {images} {inverse} --output {output}" in str(caught.value)
    assert "Choose a folder for --output" in str(caught.value)


@pytest.mark.parametrize(
    ("output", "images"),
    [
        ("/data/out", "/data/in"),
        ("/data/in2", "/data/in"),
        ("s3://b/in-out", "s3://b/in"),
        ("s3://other/in", "s3://b/in"),
        ("hdfs://nn:9000/in", "hdfs://nn/in"),
        ("/data/a%20b", "/data/a b"),
        ("/data/ab", "/data/a[b]"),
    ],
)
def test_places_that_lie_apart_are_no_matter(output: str, images: str) -> None:
    refuse_overlaps([Place("--images", images), written(output)])


def test_places_that_are_read_may_be_one(tmp_path: Path) -> None:
    refuse_overlaps([Place("--images", str(tmp_path)), Place("--model", str(tmp_path))])


def test_a_prefix_of_keys_is_longer_names_too() -> None:
    keys = Place("--keys", "s3://b/in", is_prefix=True)
    folder = Place("--keys", "s3://b/in/", is_prefix=True)

    refuse_overlaps([folder, written("s3://b/in-out")])
    with pytest.raises(InvalidOptionError, match="lies in"):
        refuse_overlaps([written("s3a://b/in-out"), keys])


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(InvalidOptionError, match="lies in"):
        refuse_overlaps([written(f"{tmp_path}/link/out"), Place("--images", f"{tmp_path}/real")])


def test_relative_names_are_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidOptionError, match="same place"):
        refuse_overlaps([written("out"), Place("--images", f"{os.getcwd()}/out")])


def test_a_path_without_a_scheme_is_what_the_session_says() -> None:
    def qualified(uri: str) -> str:
        return uri if "://" in uri else f"hdfs://nn{uri}"

    with pytest.raises(InvalidOptionError, match="same place"):
        refuse_overlaps([written("/out"), Place("--images", "hdfs://nn:8020/out")], qualified)


@pytest.mark.parametrize(
    "topics",
    [
        [Topic("--kafka-topic", "a"), Topic("--output-kafka-topic", "a", is_written=True)],
        [Topic("--dead-letters", "a", is_written=True), Topic("--kafka-topic", "a")],
        [
            Topic("--dead-letters", "a", is_written=True),
            Topic("--output-kafka-topic", "a", is_written=True),
        ],
    ],
)
def test_a_topic_that_is_written_is_no_other(topics: list[Topic]) -> None:
    with pytest.raises(InvalidOptionError, match="both name the topic a"):
        refuse_same_topics(topics)


def test_topics_that_are_read_may_stand_twice() -> None:
    refuse_same_topics(
        [
            Topic("--kafka-topic", "a"),
            Topic("--kafka-topic", "a"),
            Topic("--output-kafka-topic", "b", is_written=True),
        ]
    )
