"""`pyspark-vision`: one subcommand per module of this package."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pyspark_vision import __version__
from pyspark_vision.errors import MissingDependencyError, PysparkVisionError
from pyspark_vision.job.arguments import Parser, with_flags
from pyspark_vision.sinks import terminal

# The module of a command is its name with underscores; only the one that is run is imported.
_COMMANDS = {
    "bundle": "inspect a model file, or build a bundle with a checked, faster twin",
    "contact-sheet": "make a self-contained page of results to look at",
    "dashboard": "show results, events or a live topic as charts in a browser",
    "doctor": "check Java, Spark, executors, model, source and sink before a job is submitted",
    "receive": "show results as they come; keep pictures and events.json",
    "live": "show cameras and what a job finds in their frames, in the browser",
    "produce": "send pictures of cameras, videos, folders or drawn scenes to Kafka",
    "events-api": "a web API whose requests become events in Kafka, none lost, none twice",
    "replay": "put dead letters back through a job",
    "up": "run a broker, cameras, a detecting job and its live page until Ctrl-C",
    "simulate": "send drawn images as week 9's simulator does, to Kafka or a bucket",
}

# The extra of this package that brings what a command imports, beside the packages it requires.
_EXTRAS = {
    "pyspark": "spark",
    **dict.fromkeys(
        (
            *("confluent_kafka", "av", "starlette", "uvicorn", "fastapi"),
            *("dash", "plotly", "duckdb", "fsspec", "waitress"),
        ),
        "clients",
    ),
    **dict.fromkeys(
        ("websockets", "prometheus_client"),
        "clients",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 when it worked, 2 for a mistake of the caller (said in one line)."""
    terminal.make_tolerant()
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:  # before the command listens to signals, or one that does not
        print("pyspark-vision: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        _finish_stdout()


def _finish_stdout() -> None:
    """Write what is left in it; Python would do so later, and show a traceback of a full disk."""
    try:
        sys.stdout.flush()
    except OSError as error:
        terminal.leave(sys.stdout)
        reason = f"standard output cannot be written: {error.strerror}"
        print(f"pyspark-vision: {reason}", file=sys.stderr)
        sys.exit(1)


def _run(given: Sequence[str]) -> int:
    parser = Parser(prog="pyspark-vision", description="Vision models over images in Apache Spark.")
    parser.add_argument(
        "--version", action="version", version=__version__, help="print the version, then stop"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # None: a call for help, or a mistake; argparse ends it below.
    chosen = next((name for name in given if name in _COMMANDS), None)
    try:
        module = _module(chosen) if chosen else None
    except MissingDependencyError as error:
        print(f"pyspark-vision {chosen}: {error}", file=sys.stderr)
        return 2
    for name, summary in _COMMANDS.items():
        described = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(name, help=summary, description=described)
        if module and name == chosen:
            module.add_arguments(command)
    arguments = parser.parse_args(given)
    assert module is not None
    try:
        return int(module.run(arguments))
    except PysparkVisionError as error:
        # An engine's own words may be among them, over several lines.
        said = with_flags(" ".join(str(error).split()), arguments)
        print(f"pyspark-vision {arguments.command}: {said}", file=sys.stderr)
        return 2
    except FileNotFoundError:
        if _has_folder():
            raise
        said = "the folder that you are in was removed: go to another one, and start again"
        print(f"pyspark-vision {arguments.command}: {said}", file=sys.stderr)
        return 2


def _has_folder() -> bool:
    """Whether the current folder is there, which all relative paths are of."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _module(command: str) -> Any:
    try:
        return importlib.import_module(f"pyspark_vision.cli.{command.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pyspark_vision.clients"):
            raise MissingDependencyError(
                "it is not in the zip that travels to a cluster: install the package where you "
                "run it (pip install 'pyspark_vision[clients]')"
            ) from None
        extra = _EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        raise MissingDependencyError(
            f"it needs {error.name}, which is not installed: pip install 'pyspark_vision[{extra}]'"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
