"""Which names a JVM without a UTF-8 locale would lose, and the locale of a JVM of our own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark import file_names, own_jvm


@pytest.fixture
def posix_jvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under spark-submit with LC_ALL=POSIX."""
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setattr(file_names, "_charset_of_jvm", lambda: "ANSI_X3.4-1968")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")


def options(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**values)


@pytest.mark.parametrize(
    "key", ["input", "images", "keys", "output", "output_json", "checkpoint", "dead_letters"]
)
def test_a_path_that_the_jvm_would_misname_is_refused_with_the_variable(
    key: str, posix_jvm: None
) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        file_names.refuse_lost_names(options(**{key: "/data/sortie-é"}))

    said = str(refused.value)
    assert said.startswith(f"--{key.replace('_', '-')} /data/sortie-\\xe9 would be misnamed")
    assert "LC_ALL=C.UTF-8" in said
    assert said.isascii()


@pytest.mark.parametrize(
    "values",
    [
        {"output": "/data/out", "checkpoint": "file:/data/c"},
        {"output": "s3a://bucket/sortie-é", "checkpoint": "hdfs:///café"},  # not this JVM's naming
        {"dead_letters": "kafka:letters", "cameras": ["caméra"]},
        {"output": None},
    ],
    ids=str,
)
def test_what_the_jvm_can_name_is_let_through(values: dict[str, object], posix_jvm: None) -> None:
    file_names.refuse_lost_names(options(**values))


def test_a_folder_that_holds_such_names_is_let_through_for_python_lists_it(
    posix_jvm: None, tmp_path: Path
) -> None:
    (tmp_path / "in" / "camera").mkdir(parents=True)
    (tmp_path / "in" / "camera" / "b\u00e4r.jpg").touch()

    file_names.refuse_lost_names(options(input=str(tmp_path / "in")))


def test_a_relative_path_below_such_a_folder_is_refused(
    posix_jvm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bär").mkdir()
    monkeypatch.chdir(tmp_path / "bär")

    with pytest.raises(InvalidOptionError, match="the working folder"):
        file_names.refuse_lost_names(options(output="out"))
    file_names.refuse_lost_names(options(output="/data/out"))


@pytest.mark.parametrize("charset", ["UTF-8", "utf8"])
def test_a_jvm_of_the_same_encoding_is_let_through(
    charset: str, posix_jvm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_names, "_charset_of_jvm", lambda: charset)

    file_names.refuse_lost_names(options(output="/data/sortie-é"))


def test_a_jvm_that_is_not_there_yet_misnames_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)

    file_names.refuse_lost_names(options(output="/data/sortie-é"))


@pytest.mark.parametrize(
    ("locale", "sets"),
    [
        ({"LC_ALL": "POSIX"}, "C.UTF-8"),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "C.UTF-8"),
        ({"LC_ALL": "C.UTF-8"}, "None"),
    ],
    ids=str,
)
def test_a_jvm_of_our_own_gets_a_utf8_locale_where_it_would_have_none(
    locale: dict[str, str], sets: str
) -> None:
    program = "from pyspark_vision.spark import own_jvm; print(own_jvm.utf8_locale().get('LC_ALL'))"
    others = {k: v for k, v in os.environ.items() if k != "LANG" and not k.startswith("LC_")}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**others, **locale},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.strip() == sets


def test_what_is_said_to_the_jvm_comes_last_before_the_resource(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--conf 'spark.app.name=a b' pyspark-shell")

    made = own_jvm.submit_args({"spark.jars": "/x y/z.jar"})

    assert made == "--conf 'spark.app.name=a b' --conf 'spark.jars=/x y/z.jar' pyspark-shell"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("output", "o\udcffut", "--output o.* holds bytes that are no UTF-8"),
        ("checkpoint", "c\udcff", "--checkpoint c.* holds bytes that are no UTF-8"),
        ("output", "out:1", "--output out:1: Spark takes what stands before the colon"),
        ("output_json", "a:b/c", "--output-json a:b/c: Spark takes"),
    ],
)
def test_what_no_jvm_can_name_is_refused_in_any_locale(key: str, value: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        file_names.refuse_lost_names(options(**{key: value}))


@pytest.mark.parametrize(
    "value", ["/data/out:1", "./out:1", "s3a://b/a:b", "file:/x", "file:///x", "hdfs://nn:8020/x"]
)
def test_a_colon_elsewhere_is_no_scheme(value: str) -> None:
    file_names.refuse_lost_names(options(output=value))
