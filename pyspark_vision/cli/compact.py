"""`pyspark-vision compact OUTPUT --checkpoint URI`: few Parquet files instead of a stream's many.

The job that writes there is stopped meanwhile, and readers are not: each sees the rows as they were
or as they are, once. How: :mod:`pyspark_vision.streaming.compaction`.
"""

from __future__ import annotations

import argparse

from pyspark_vision.job import command_line, flags
from pyspark_vision.job.places import Place, refuse_overlaps
from pyspark_vision.spark.session import tool_session
from pyspark_vision.streaming.compaction import compact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compact` to its parser."""
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="the folder of a stream's Parquet sink, or of its dead letters",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="URI",
        help="the checkpoint of the stream, which must not run",
    )
    parser.add_argument(
        "--target-mb",
        type=command_line.positive,
        default=128,
        metavar="N",
        help="a merged file has about this size. A file of half of it stays as it is",
    )
    parser.add_argument(
        "--read-by",
        nargs="+",
        default=[],
        metavar="URI",
        help="the checkpoints of streams that read OUTPUT, as `replay` reads dead letters. What "
        "they have not read, or would read again, stays as it is",
    )
    flags.add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Merge what can be merged, and say in one line what became of it; 0 also for nothing."""
    output = Place("OUTPUT", args.output, is_written=True)
    refuse_overlaps([output, Place("--checkpoint", args.checkpoint)])
    session = tool_session("compact", args.master, args.conf)
    before, after = compact(
        session, args.output, args.checkpoint, args.target_mb * 1_000_000, args.read_by
    )
    if before == after:
        print(f"compact: nothing to gain: {before}")
    else:
        print(f"compact: {before}, became {after}")
    return 0
