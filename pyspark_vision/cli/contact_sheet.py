"""`pyspark-vision contact-sheet RESULTS --output FILE`: a page of results to look at."""

from __future__ import annotations

import argparse
import sys

from pyspark_vision.contact_sheet.files import ContactSheetError
from pyspark_vision.contact_sheet.sheet import DEFAULT_LIMIT, WORDS, build_contact_sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `contact-sheet` to its parser."""
    parser.add_argument("results", metavar="RESULTS", help="the folder of Parquet that a job wrote")
    parser.add_argument("--output", required=True, metavar="FILE", help="the HTML file to write")
    parser.add_argument(
        "--limit",
        type=int,
        default=DEFAULT_LIMIT,
        metavar="N",
        help="the page has at most so many cards, failed ones first. Its counts are of all rows",
    )
    parser.add_argument(
        "--title", metavar="TEXT", help="the heading of the page (default: the folder's name)"
    )


def run(args: argparse.Namespace) -> int:
    """Run `contact-sheet`: 0 when the page is written, 2 for a mistake in the arguments."""
    on_rows = _progress if sys.stderr.isatty() else None
    try:
        counts = build_contact_sheet(
            args.results, args.output, limit=args.limit, title=args.title, on_rows=on_rows
        )
    except ContactSheetError as error:
        print(f"pyspark-vision contact-sheet: {error}", file=sys.stderr)
        return 2
    finally:
        if on_rows:
            print(file=sys.stderr)
    word = WORDS[counts.task][0]
    print(
        f"{args.output}: {counts.pictures:,} pictures, {counts.with_results:,} with {word}, "
        f"{counts.without_results:,} without, {counts.failed:,} failed; {counts.shown:,} shown"
    )
    return 0


def _progress(rows: int) -> None:
    print(f"\r{rows:,} rows read", end="", file=sys.stderr, flush=True)
