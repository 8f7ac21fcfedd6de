"""Command lines: mistakes in one line that names them, helps without empty defaults."""

from __future__ import annotations

import argparse
import re

import guides
import pytest

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.job.arguments import Parser, with_flags

JOBS = sorted((guides.ROOT / "jobs").glob("*.py"))
COMMANDS = ["bundle build", "bundle inspect", "contact-sheet", "doctor", "replay"]


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="job")
    made.add_argument("--model", required=True, metavar="URI", help="the bundle")
    made.add_argument("--output", metavar="URI", help="the folder")
    made.add_argument("--output-json", metavar="URI", help="the other folder")
    made.add_argument("--score-threshold", type=float, default=0.5, help="the least score")
    made.add_argument("--exact", action="store_true", help="at full scale")
    made.add_argument("--fields", nargs="+", default=["a", "b%"], help="the fields")
    made.add_argument("--sink", default="x", help="where to (default: it depends)")
    return made


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--modle", "x"], "there is no option --modle; did you mean --model?"),
        (["--modle=x"], "there is no option --modle; did you mean --model?"),
        (["--score", "0.1"], "there is no option --score; did you mean --score-threshold?"),
        (["--outptu", "x"], "there is no option --outptu; did you mean --output?"),
        (["--out", "x"], "there is no option --out; did you mean --output or --output-json?"),
        (["--model", "--nonsense"], "there is no option --nonsense"),
        (["--exact"], "the following arguments are required: --model"),
        (["--model", "m", "stray"], "unrecognized arguments: stray"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_that_names_it(
    argv: list[str], said: str, parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(argv)

    assert ended.value.code == 2
    assert capsys.readouterr().err == f"job: error: {said} (see --help)\n"


def test_a_value_may_look_like_a_flag_behind_an_equals_sign(parser: Parser) -> None:
    assert parser.parse_args(["--model=--modle"]).model == "--modle"


def test_help_shows_the_defaults_that_there_are(parser: Parser) -> None:
    shown = dict(
        re.findall(r"^  (--[\w-]+)(?: .*?)?\s{2,}(\S.*)", parser.format_help(), re.MULTILINE)
    )

    assert shown["--score-threshold"] == "the least score (default: 0.5)"
    assert shown["--fields"].startswith("the fields (default: a b%)")
    assert shown["--sink"] == "where to (default: it depends)"
    assert (shown["--model"], shown["--exact"]) == ("the bundle", "at full scale")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bundle", "build", "m", "--outptu", "x"], "--outptu; did you mean --output?"),
        (["bundle", "--modle"], "--modle"),
        (["replay", "--checkpiont", "x"], "--checkpiont; did you mean --checkpoint?"),
        (["--verison"], "--verison; did you mean --version?"),
    ],
    ids=" ".join,
)
def test_a_command_names_its_own_flags(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pyspark_vision(argv)

    error = capsys.readouterr().err
    assert error.endswith(f": error: there is no option {said} (see --help)\n")
    assert error.count("\n") == 1


def test_no_help_shows_an_empty_default_and_each_flag_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parsers = [guides.script(job).parser() for job in JOBS]
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            pyspark_vision([*command.split(), "--help"])
    helps = capsys.readouterr().out + "".join(parser.format_help() for parser in parsers)

    assert not re.search(r"default:\s+(None|False|\[)", helps)
    assert all(action.help for parser in parsers for action in parser._actions)


def test_errors_of_the_library_name_the_flags_of_the_command() -> None:
    text = "`kafka_topic` a: say `skip_lost`, `twin=False` or `labels`; `a` and `x=False` are data"
    options = argparse.Namespace(kafka_topic=["a"], skip_lost=[], no_twin=False)

    said = with_flags(text, options)

    assert said == (
        "--kafka-topic a: say --skip-lost, --no-twin or `labels`; `a` and `x=False` are data"
    )
    assert with_flags("", options) == ""
