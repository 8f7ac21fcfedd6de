"""`pyspark-vision dashboard WHERE`: charts of results, events or a live topic, in a browser."""

from __future__ import annotations

import argparse
import sys

from pyspark_vision.clients import brokers, flag_values
from pyspark_vision.clients.dashboard import live_topic, server
from pyspark_vision.clients.dashboard import run as dashboard
from pyspark_vision.messages.time_zones import local_time_zone, time_zone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `dashboard` to its parser."""
    parser.add_argument(
        "where",
        metavar="WHERE",
        help="a folder or file of Parquet results (local, s3://, gs://, hdfs:// or webhdfs://), "
        "PyctureStream's events.json, or kafka:TOPIC for a live topic, as kafka:resultstream",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to serve at. At another than this machine's own the page wants the token "
        "that is printed with it",
    )
    parser.add_argument(
        "--port",
        type=flag_values.port,
        metavar="N",
        help=f"the page's port (default: {server.DEFAULT_PORT}, or the next that is free)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open the page in the browser",
    )
    parser.add_argument(
        "--refresh",
        type=flag_values.above_zero,
        default=5.0,
        metavar="SECONDS",
        help="look for what is new so often",
    )
    parser.add_argument(
        "--window",
        type=flag_values.above_zero,
        default=live_topic.DEFAULT_WINDOW_S / 60,
        metavar="MINUTES",
        help="of a live topic, show what came in the last so many minutes",
    )
    parser.add_argument(
        "--time-zone",
        type=time_zone,
        metavar="ZONE",
        help="the zone of the charts, as Europe/Zurich, UTC or +02:00 (default: this machine's). "
        "Times of events.json are shown as they are",
    )
    brokers.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run `dashboard` until it is ended."""
    zone = args.time_zone
    if zone is None:
        local = local_time_zone()
        zone = local.name
        if local.not_understood:
            print(
                "pyspark-vision dashboard: cannot tell this machine's time zone from "
                f"{local.not_understood}; {zone} is taken. --time-zone says which one it is",
                file=sys.stderr,
            )
    known = brokers.from_flags(args)
    source = dashboard.find_source(args.where, known, args.window * 60, zone)
    dashboard.run(source, dashboard.Served(args.host, args.port, args.refresh, args.open))
    return 0
