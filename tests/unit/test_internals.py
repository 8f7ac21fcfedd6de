"""What Spark does not promise: how the package goes on where it is missing."""

from __future__ import annotations

import logging
import types
from pathlib import Path
from typing import Any

import pytest
from py4j.java_gateway import JavaPackage
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.spark import internals


class Signals:
    """``sun.misc.Signal`` of a JVM, and who is called for each name."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {"TERM": "its own", "INT": "its own"}

    def __call__(self, name: str) -> str:
        return name

    def handle(self, name: str, handler: Any) -> Any:
        before, self.handlers[name] = self.handlers[name], handler
        return before


@pytest.fixture
def no_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internals, "let_jvm_call_python", lambda session: None)


def session_with(signal: Any) -> Any:
    jvm = types.SimpleNamespace(**{"sun.misc.Signal": signal})
    return types.SimpleNamespace(sparkContext=types.SimpleNamespace(_jvm=jvm))


@pytest.mark.usefixtures("no_callbacks")
def test_a_signal_of_the_jvm_is_heard_until_that_is_taken_back() -> None:
    signals, heard = Signals(), []

    unheard = internals.heard_by_jvm(
        session_with(signals), ["TERM", "INT"], lambda: heard.append("TERM")
    )
    signals.handlers["TERM"].handle(15)
    unheard()

    assert heard == ["TERM"]
    assert signals.handlers == {"TERM": "its own", "INT": "its own"}


@pytest.mark.usefixtures("no_callbacks")
def test_a_jvm_without_that_class_is_left_alone_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    missing = JavaPackage("sun.misc.Signal", types.SimpleNamespace())

    with caplog.at_level(logging.WARNING):
        unheard = internals.heard_by_jvm(session_with(missing), ["TERM"], lambda: None)
    unheard()

    assert caplog.messages == [
        "Spark's JVM does not pass signals on: one that it gets cuts a batch short"
    ]


@pytest.mark.parametrize(
    ("jar", "version"),
    [("spark-core_2.13-4.2.0.jar", "4.2.0"), ("spark-core_2.12-3.5.9.jar", "3.5.9"), ("", None)],
)
def test_a_sparks_version_is_in_the_name_of_a_jar(
    jar: str, version: str | None, tmp_path: Path
) -> None:
    (tmp_path / "jars").mkdir()
    if jar:
        (tmp_path / "jars" / jar).touch()

    assert internals.spark_version(tmp_path) == version
    assert internals.spark_version(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (
            "S3AFileStatus{path=s3a://b/a; length=1; b.jpg; isDirectory=false; length=7; "
            "replication=1; blocksize=33554432; modification_time=1700000000000; "
            "access_time=0; owner=x; group=x; permission=rw-rw-rw-; isSymlink=false}",
            ("s3a://b/a; length=1; b.jpg", "false", "7", "1700000000000"),
        ),
        (
            "HdfsNamedFileStatus{path=hdfs://h/d; isDirectory=true; modification_time=5; "
            "access_time=0}",
            ("hdfs://h/d", "true", None, "5"),
        ),
        ("another form", None),
    ],
)
def test_a_listed_file_is_read_from_its_text_or_asked(
    text: str, known: tuple[str | None, ...] | None
) -> None:
    match = internals.FILE_STATUS.match(text)

    assert (match and match.group("path", "folder", "size", "time")) == known


class Slotted:
    """A column without room for attributes of others."""

    __slots__ = ()


def test_a_note_on_a_column_is_found_on_that_column_alone(spark: SparkSession) -> None:
    column = F.col("a")

    internals.mark(column, "_note", 1)

    assert internals.mark_of(column, "_note") == 1
    assert internals.mark_of(column.alias("b"), "_note") is None
    assert internals.mark_of("a", "_note") is None


def test_a_column_without_room_for_a_note_goes_without() -> None:
    column: Any = Slotted()

    internals.mark(column, "_note", 1)

    assert internals.mark_of(column, "_note") is None
