"""Job options: defaults, a TOML file over them, flags over both; a mistake is exit code 2."""

from __future__ import annotations

import argparse
import io
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException, StreamingQueryException

from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.job.command_line import JobParser, describe, positive, run_job, unit_interval

Parse = Callable[..., argparse.Namespace]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """Parse flags, after the text of a TOML file where one is given."""

    def parse_job(*flags: str, toml: str | bytes | None = None) -> argparse.Namespace:
        parser = JobParser(prog="job")
        parser.add_argument("--model", default="demo")
        parser.add_argument("--score-threshold", type=unit_interval, default=0.5)
        parser.add_argument("--max-frames", type=positive, default=10)
        parser.add_argument("--sink", choices=["console", "parquet"], default="console")
        parser.add_argument("--classes", nargs="+", default=[])
        parser.add_argument("--annotate", action="store_true")
        if toml is None:
            return parser.parse_job(flags)
        file = tmp_path / "job.toml"
        file.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        return parser.parse_job(["--config", str(file), *flags])

    return parse_job


@pytest.mark.parametrize(
    ("toml", "flags", "threshold"),
    [
        (None, [], 0.5),
        ("", [], 0.5),
        ("score-threshold = 0.25", [], 0.25),
        ("score_threshold = 0.25", [], 0.25),
        (None, ["--score-threshold", "0.75"], 0.75),
        ("score-threshold = 0.25", ["--score-threshold", "0.75"], 0.75),
        ("score-threshold = 0.25", ["--score-threshold=0.5"], 0.5),
        ("score-threshold = 1", [], 1.0),
        ("score-threshold = '0.25'", [], 0.25),
    ],
)
def test_flags_beat_the_file_and_the_file_beats_defaults(
    toml: str | None, flags: list[str], threshold: float, parse: Parse
) -> None:
    assert parse(*flags, toml=toml).score_threshold == threshold


def test_options_may_stand_in_tables_of_any_name(parse: Parse) -> None:
    options = parse(toml="max-frames = 3\n[model]\nmodel = 'm'\n[out]\nsink = 'parquet'\n")
    assert (options.max_frames, options.model, options.sink) == (3, "m", "parquet")


@pytest.mark.parametrize(
    ("toml", "flags", "classes"),
    [
        ("classes = ['cat', 'traffic light']", [], ["cat", "traffic light"]),
        ("classes = ['cat']", ["--classes", "dog", "eel"], ["dog", "eel"]),
        ("classes = [1, 2]", ["--annotate"], ["1", "2"]),
        ("classes = 'cat'", [], ["cat"]),
    ],
)
def test_list_gives_each_of_several_values(
    toml: str, flags: list[str], classes: list[str], parse: Parse
) -> None:
    assert parse(*flags, toml=toml).classes == classes


@pytest.mark.parametrize(
    ("toml", "flags", "annotate"),
    [
        ("annotate = true", [], True),
        ("annotate = false", [], False),
        ("annotate = false", ["--annotate"], True),
    ],
)
def test_boolean_switches_an_option(
    toml: str, flags: list[str], annotate: bool, parse: Parse
) -> None:
    assert parse(*flags, toml=toml).annotate is annotate


def test_file_may_ask_for_a_dry_run(parse: Parse) -> None:
    assert parse(toml="dry-run = true").dry_run is True


@pytest.mark.parametrize("value", ["-x", "--annotate", "a = b", ""])
def test_value_that_looks_like_a_flag_stays_a_value(value: str, parse: Parse) -> None:
    assert parse(toml=f"model = '{value}'").model == value


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("modle = 'x'", "there is no option 'modle'; did you mean model?"),
        ("[model]\nmax_frame = 3", "there is no option 'max_frame'; did you mean max-frames?"),
        (
            "config = 'x'",
            "there is no option 'config'; the options are annotate, classes, dry-run,",
        ),
        ("help = true", "there is no option 'help'; the options are"),
        ("annotate = 'yes'", "annotate = 'yes' must be true or false"),
        ("annotate = 1", "annotate = 1 must be true or false"),
        ("model = true", "model takes a value, not true or false"),
        ("model = 'a'\n[again]\nmodel = 'b'", "'model' stands in it twice"),
        ("max-frames = 'ten'", "argument --max-frames: 'ten' is no whole number"),
        ("max-frames = 1.5", "argument --max-frames: '1.5' is no whole number"),
        ("max-frames = 0", "argument --max-frames: 0 is not at least 1"),
        ("score-threshold = 2", "argument --score-threshold: 2 is not within 0..1"),
        ("score-threshold = '0,5'", "argument --score-threshold: '0,5' is no number, as 0.5 is"),
        ("score-threshold = nan", "argument --score-threshold: nan is not within 0..1"),
        ("sink = 'kafka'", "argument --sink: invalid choice: 'kafka' (choose from"),
        ("model = ['a', 'b']", "unrecognized arguments: b"),
        ("model = ", "job.toml is not TOML: Invalid value"),
        ("model = 'a'\nmodel = 'b'", "job.toml is not TOML: Cannot overwrite a value"),
        (b"model = '\xff'", "job.toml is not TOML: 'utf-8' codec"),
    ],
)
def test_mistake_in_the_file_is_named_and_exits_2(
    toml: str | bytes, message: str, parse: Parse, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(toml=toml)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("place", ["none.toml", "."])
def test_file_that_cannot_be_read_is_named_and_exits_2(
    place: str, parse: Parse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--config", str(tmp_path / place))
    assert caught.value.code == 2
    said = f"job: error: --config {tmp_path / place}: "
    assert re.search(
        re.escape(said) + "(No such file|Is a) ?(or)? ?directory", capsys.readouterr().err
    )


@pytest.mark.parametrize("flags", [["--conf", "job.toml"], ["--score", "0.1"], ["--nonsense"]])
def test_unknown_or_abbreviated_flag_exits_2(flags: list[str], parse: Parse) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*flags)
    assert caught.value.code == 2


def test_config_without_a_file_is_named(parse: Parse, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--config")

    expected = "job: error: argument --config: expected one argument (see --help)\n"
    assert capsys.readouterr().err == expected


def test_arguments_come_from_the_command_line_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["job.py", "--dry-run"])
    assert JobParser().parse_job().dry_run is True


def test_describe_shows_each_option_in_force_on_a_line(parse: Parse) -> None:
    options = parse("--dry-run", "--annotate", toml="score_threshold = 0.25")
    assert [line.split(maxsplit=1) for line in describe(options).splitlines()] == [
        ["annotate", "True"],
        ["classes", "[]"],
        ["max-frames", "10"],
        ["model", "demo"],
        ["score-threshold", "0.25"],
        ["sink", "console"],
    ]


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), ("0.5", 0.5), ("1e-3", 1e-3)])
def test_unit_interval_includes_its_ends(text: str, value: float) -> None:
    assert unit_interval(text) == value


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "inf", "-inf"])
def test_unit_interval_refuses_what_is_outside(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text} is not within 0..1$"):
        unit_interval(text)


@pytest.mark.parametrize("text", ["0", "-1"])
def test_positive_refuses_what_is_below_one(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text} is not at least 1$"):
        positive(text)


def test_positive_takes_one() -> None:
    assert positive("1") == 1


def test_job_that_works_exits_0() -> None:
    seen: list[Any] = []
    options = argparse.Namespace(model="demo")
    assert run_job("job", seen.append, options) == 0
    assert seen == [options]


@pytest.mark.parametrize(
    "error",
    [
        InvalidModelError("no bundle at x\nsecond line"),
        InvalidOptionError("no bundle at x"),
        AnalysisException("no bundle at x\n== SQL ==\nselect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_mistake_of_the_caller_is_one_line_and_exit_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(options: argparse.Namespace) -> None:
        raise error

    assert run_job("job", run, argparse.Namespace()) == 2
    assert capsys.readouterr().err == "job: no bundle at x\n"


def test_failure_of_another_kind_is_exit_code_1_with_its_traceback_and_why_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(options: argparse.Namespace) -> None:
        raise ZeroDivisionError("a bug\nand more")

    assert run_job("job", run, argparse.Namespace()) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Traceback (most recent call last):"
    assert said[-1] == "job: failed: a bug"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("Caused by: java.io.IOException: No space left", "java.io.IOException: No space left"),
        ("\tat java.io.File", "org.apache.spark.SparkException: Job aborted."),
        (
            "Caused by: org.apache.spark.SparkException: Python worker exited unexpectedly "
            "(crashed): \n\nCaused by: java.io.IOException: Broken pipe",
            "memory ran out, most likely: a Python worker was gone at each attempt of a task, "
            "ended from outside (signal 9); or by a picture, if there is but one attempt "
            "(use local[N,4])",
        ),
    ],
)
def test_a_streams_failure_is_said_by_what_began_it(
    cause: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> None:
        raise StreamingQueryException(
            "[STREAM_FAILED] Query [id = 1] terminated with exception: Traceback (most recent):\n"
            "py4j.protocol.Py4JJavaError: An error occurred while calling o1.parquet.\n"
            ": org.apache.spark.SparkException: Job aborted.\n"
            f"{cause}\n"
            "Caused by: py4j.Py4JException: An exception was raised by the Python Proxy.\n"
            "=== Streaming Query ===\n"
        )

    assert run_job("job", fail, argparse.Namespace()) == 1

    assert capsys.readouterr().err.splitlines()[-1] == f"job: failed: {said}"


def test_a_second_run_of_a_process_logs_to_the_stderr_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = []

    def log(options: argparse.Namespace) -> None:
        logging.getLogger("pyspark_vision.test").info(options.word)

    for word in ("first", "second"):
        with io.StringIO() as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert run_job("job", log, argparse.Namespace(word=word)) == 0
            words.append(stderr.getvalue().split()[-1])

    assert words == ["first", "second"]


def test_ctrl_c_before_a_job_listens_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def run(options: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    assert run_job("job", run, argparse.Namespace()) == 130
    assert capsys.readouterr().err == "job: interrupted\n"
