"""`pyspark-vision up`: a broker, cameras, a detecting job and its page, until Ctrl-C."""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark_vision.clients import flag_values
from pyspark_vision.clients.up import run_folder
from pyspark_vision.clients.up.run import UpOptions, up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `up` to its parser."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where each run makes a folder: the broker's data, the last pictures, logs "
        f"(default: {run_folder.default_base()})",
    )
    parser.add_argument(
        "--port",
        type=flag_values.port,
        metavar="PORT",
        help="the page's port on 127.0.0.1 (default: 8040, or the next that is free)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open the page in the browser",
    )
    parser.add_argument(
        "--drawn", action="store_true", help="take drawn scenes, even where there is a webcam"
    )


def run(args: argparse.Namespace) -> int:
    """Run all until a signal; 0. 1 if a part ended by itself."""
    base = (args.data or run_folder.default_base()).absolute()
    return up(UpOptions(base, args.port, args.open, args.drawn))
