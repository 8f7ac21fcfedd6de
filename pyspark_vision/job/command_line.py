"""Job options: flags, or a TOML file for the same options; a flag beats the file.

TOML keys are the flags' names (``score-threshold`` or ``score_threshold``), at the top level or in
tables of any name (``[source]``, ``[model]``, ``[sink]``), which are for the reader only.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tomllib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyspark.errors import (
    AnalysisException,
    IllegalArgumentException,
    StreamingQueryException,
)

from pyspark_vision.errors import (
    IncompleteInputError,
    PysparkVisionError,
    StreamError,
    WorkerKilledError,
)
from pyspark_vision.job.arguments import Parser, did_you_mean, with_flags
from pyspark_vision.sinks import terminal
from pyspark_vision.spark import error_texts, file_names, java_errors
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.session import lack_of_workers

_WHY_WORKER_GONE = (
    "memory ran out, most likely: a Python worker was gone at each attempt of a task, ended from "
    "outside (signal 9); or by a picture, if there is but one attempt (use local[N,4])"
)

_LOG_HANDLER = "pyspark_vision.job"

_WHERE_NO_TOPIC = (
    "a topic of --kafka-topic ({}) does not exist on the brokers. Create it, or correct the name"
)


class JobParser(Parser):
    """An argument parser that also takes ``--config FILE.toml`` and ``--dry-run``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_argument("--config", metavar="FILE", help="a TOML file with the same options")
        self.add_argument(
            "--dry-run", action="store_true", help="print the options and Spark's plan, then stop"
        )

    def parse_job(
        self,
        argv: Sequence[str] | None = None,
        check: Callable[[argparse.Namespace], object] = lambda options: None,
    ) -> argparse.Namespace:
        """Flags over the TOML file's values over defaults; errors end with exit code 2.

        ``check`` completes the options, and refuses by :class:`PysparkVisionError` those that do
        not go together.
        """
        terminal.make_tolerant()  # before --help, whose metavars have letters beyond ASCII
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument("--config", nargs="?")  # without a value: the parser below says so
        config = finder.parse_known_args(argv)[0].config
        from_file = self._arguments(Path(config)) if config else []
        options = self.parse_args([*from_file, *(sys.argv[1:] if argv is None else argv)])
        try:
            check(options)
        except PysparkVisionError as error:
            self.error(with_flags(str(error), options))
        return options

    def _arguments(self, path: Path) -> list[str]:
        """The file's options as command line arguments, so that one parser checks both."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.error(f"--config {path}: {error.strerror}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.error(f"--config {path} is not TOML: {error}")
        flat: dict[str, Any] = {}
        for key, value in values.items():
            for option, setting in (value if isinstance(value, dict) else {key: value}).items():
                if option in flat:
                    self.error(f"--config {path}: {option!r} stands in it twice")
                flat[option] = setting
        actions = {
            option: action
            for action in self._actions
            for option in action.option_strings
            if action.dest not in ("help", "config")
        }
        arguments: list[str] = []
        for key, value in flat.items():
            flag = "--" + key.replace("_", "-")
            action = actions.get(flag)
            if action is None:
                names = sorted(name[2:] for name in actions)
                hint = did_you_mean(key.replace("_", "-"), names)
                hint = hint or f"; the options are {', '.join(names)}"
                self.error(f"--config {path}: there is no option {key!r}{hint}")
            if action.nargs == 0:
                if not isinstance(value, bool):
                    self.error(f"--config {path}: {key} = {value!r} must be true or false")
                arguments += [flag] if value else []
            elif isinstance(value, list):
                arguments += [flag, *map(str, value)]
            elif isinstance(value, bool):
                self.error(f"--config {path}: {key} takes a value, not true or false")
            else:
                arguments.append(f"{flag}={value}")
        return arguments


def run_job(
    name: str, run: Callable[[argparse.Namespace], None], options: argparse.Namespace
) -> int:
    """Run a parsed job: exit code 0; 2 for a mistake of the caller, 1 for a failure.

    A path that does not exist, a column that is missing (Spark's ``AnalysisException``), an option
    that a connector refuses and what this library refuses are mistakes: one line on stderr says
    which. A stream that ended early (``StreamError``), a batch without a row or a reason for
    some of its input (``IncompleteInputError``), and workers that were killed
    (``WorkerKilledError``) are failures in one line, and so is a topic that
    Kafka has not, and a store that does not answer Hadoop. A store that Hadoop has no credentials,
    no right or no connector for is a mistake, and so are executors that cannot run this library's
    Python. Ctrl-C is 130, in a line. Anything else is a failure: its traceback, then one line that
    says why. What the library logs goes to stderr.
    """
    _log_to_stderr()
    try:
        file_names.refuse_lost_names(options)
        run(options)
    except (IncompleteInputError, StreamError, WorkerKilledError) as error:
        print(f"{name}: {with_flags(_first_line(error), options)}", file=sys.stderr)
        return 1
    except (PysparkVisionError, AnalysisException, IllegalArgumentException) as error:
        print(f"{name}: {with_flags(_first_line(error), options)}", file=sys.stderr)
        return 2
    except Exception as error:
        if error_texts.NO_TOPIC in str(error):
            asked = " ".join(getattr(options, "kafka_topic", None) or ["its default"])
            print(f"{name}: {_WHERE_NO_TOPIC.format(asked)}", file=sys.stderr)
            return 1
        if (lack := lack_of_workers(error)) is not None:
            print(f"{name}: {lack}", file=sys.stderr)
            return 2
        if (refusal := _refusal_of_a_store(error)) is not None:
            print(f"{name}: {refusal}", file=sys.stderr)
            return 2 if any(word in refusal for word in error_texts.MISTAKES_OF_STORES) else 1
        traceback.print_exc()
        print(f"{name}: failed: {with_flags(_reason(error), options)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before a stream listens to signals, or in a job that does not
        print(f"{name}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _log_to_stderr() -> None:
    """This library's lines, and no others': py4j logs each callback that Spark interrupts.

    A notebook and a test runner exchange ``sys.stderr`` between two runs of one process, and close
    the old one: the handler of an earlier run is replaced.
    """
    log = logging.getLogger("pyspark_vision")
    for handler in [had for had in log.handlers if had.get_name() == _LOG_HANDLER]:
        log.removeHandler(handler)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.set_name(_LOG_HANDLER)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)


def _refusal_of_a_store(error: Exception) -> str | None:
    """What Hadoop says of a place that it cannot open.

    ``None`` of an error of another kind, and of one in a task or in a stream, which have a text.
    """
    if not isinstance(error, JavaError):
        return None
    said = java_errors.in_a_line(error)
    return said if error_texts.OF_FILE_SYSTEMS.match(said) else None


def _reason(error: Exception) -> str:
    """What began it: Spark wraps a stream's error in several others, whose text says nothing."""
    if error_texts.killed_for_memory(str(error)):
        return _WHY_WORKER_GONE
    is_wrapped = isinstance(error, StreamingQueryException)
    if is_wrapped and (causes := error_texts.CAUSE.findall(str(error))):
        return str(causes[-1])
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def describe(options: argparse.Namespace) -> str:
    """The options in force, one a line, for ``--dry-run``."""
    hidden = ("config", "dry_run")
    shown = {key: value for key, value in sorted(vars(options).items()) if key not in hidden}
    return "\n".join(f"  {key.replace('_', '-'):<24} {value}" for key, value in shown.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, as 0.5 is") from None


def unit_interval(text: str) -> float:
    """An argparse type: a number within 0..1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not within 0..1")
    return value


def above_zero(text: str) -> float:
    """An argparse type: a number above 0."""
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def zero_or_more(text: str) -> float:
    """An argparse type: a number of at least 0."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
