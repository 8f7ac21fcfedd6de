"""`pyspark-vision`: one subcommand per module of this package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyspark_vision import __version__
from pyspark_vision.cli import bundle, contact_sheet
from pyspark_vision.errors import PysparkVisionError

_COMMANDS = {
    "bundle": (bundle, "inspect a model file; build a bundle with a checked, faster twin"),
    "contact-sheet": (contact_sheet, "a self-contained page of results to look at"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 when it worked, 2 for a mistake of the caller (said in one line)."""
    parser = argparse.ArgumentParser(
        prog="pyspark-vision", description="Vision models over images in Apache Spark."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in _COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    arguments = parser.parse_args(argv)
    module, _ = _COMMANDS[arguments.command]
    try:
        return int(module.run(arguments))
    except PysparkVisionError as error:
        # An engine's own words may be among them, over several lines.
        said = " ".join(str(error).split())
        print(f"pyspark-vision {arguments.command}: {said}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
