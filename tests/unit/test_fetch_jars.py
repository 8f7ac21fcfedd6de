"""Jars are fetched once, completely or not at all; a registry's hiccup is waited out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from local_services import jars

# Stands for Java with Ivy: fails as often as the file "failures" has lines, then makes a jar.
FAKE_JAVA = r"""#!/bin/sh
here=$(dirname "$0")
echo called >>"$here/calls"
if [ -s "$here/failures" ]; then
  sed -i 1d "$here/failures"
  echo "	:: org.example#connector;1.0: not found"
  exit 1
fi
for word in "$@"; do
  case "$word" in */\[conf\]/*) target=${word%%/\[conf\]/*} ;; esac
  if [ "$before" = -confs ]; then conf=$word; fi
  before=$word
done
sleep 0.2
mkdir "$target/$conf"
echo jar >"$target/$conf/connector-1.0.jar"
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the calls that were made, and the failures that are to come."""
    programs = tmp_path / "java" / "bin"
    programs.mkdir(parents=True)
    (programs / "java").write_text(FAKE_JAVA)
    (programs / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setenv("PYSPARK_VISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "PAUSES_S", (0, 0, 0))
    return programs


def calls(registry: Path) -> int:
    return len((registry / "calls").read_text().splitlines())


def test_jars_are_fetched_once(registry: Path, tmp_path: Path) -> None:
    first, second = jars.files("kafka"), jars.files("kafka")

    assert [jar.name for jar in first] == ["connector-1.0.jar"]
    assert first[0].is_relative_to(tmp_path / "cache" / "jars")
    assert second == first
    assert calls(registry) == 1


@pytest.mark.parametrize(
    ("jar", "configuration"),
    [
        ("spark-core_2.12-3.5.9.jar", "kafka-3.5"),
        ("spark-core_2.13-4.0.5.jar", "kafka-4.0"),
        ("spark-core_2.13-4.2.0.jar", "kafka"),
        ("spark-core_2.13-4.3.0.jar", "kafka"),
    ],
)
def test_the_connector_is_that_of_the_spark_that_is_installed(
    jar: str,
    configuration: str,
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / jar).touch()
    monkeypatch.setattr(jars, "pyspark_home", lambda: tmp_path)

    assert jars.folder("kafka").name == configuration
    assert "kafka-4.0" not in jars.configurations()
    # Of this one there is none for the newest.
    assert ("iceberg" in jars.configurations()) == (configuration != "kafka")
    assert "iceberg-4.1" not in jars.configurations()


def test_a_hiccup_of_the_registry_is_waited_out(registry: Path) -> None:
    (registry / "failures").write_text("1\n2\n3\n")

    assert len(jars.files("kafka")) == 1
    assert calls(registry) == 4


def test_a_failure_that_stays_names_configuration_and_module(registry: Path) -> None:
    (registry / "failures").write_text("1\n2\n3\n4\n")

    with pytest.raises(jars.JarsNotFetchedError, match=r"'kafka' in 4.*\n.*connector;1.0: not f"):
        jars.folder("kafka")

    # Nothing half made is taken for complete by the next call.
    assert [jar.name for jar in jars.files("kafka")] == ["connector-1.0.jar"]


def test_calls_at_the_same_time_fetch_once(registry: Path, root: Path) -> None:
    script = [sys.executable, str(root / "scripts" / "fetch_jars"), "--comma", "kafka"]
    both = [subprocess.Popen(script, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    printed = {process.communicate(timeout=30)[0] for process in both}

    assert len(printed) == 1
    assert printed.pop().endswith("/kafka/connector-1.0.jar\n")
    assert calls(registry) == 1


def test_an_unknown_configuration_is_refused_with_the_choices(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "scripts" / "fetch_jars"), "kafak"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "unknown: kafak; choose from kafka, delta, s3a, gs, kafka-broker" in done.stderr
