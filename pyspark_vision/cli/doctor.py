"""`pyspark-vision doctor`: checks before a job is submitted, one line each.

`scripts/submit [the job's own options] doctor -- FLAGS` runs it as that job would run: with its
jars, on its cluster, with its executors' Python.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from pyspark_vision.doctor.brokers import Client
from pyspark_vision.doctor.checks import Asked, examine
from pyspark_vision.doctor.findings import FAILED, NOT_CHECKED, OK, Examination, Finding
from pyspark_vision.errors import PysparkVisionError
from pyspark_vision.job.arguments import Parser, with_flags
from pyspark_vision.sinks import terminal
from pyspark_vision.sinks.bigquery.table_name import parse
from pyspark_vision.sources.kafka_properties import read_java_properties
from pyspark_vision.sources.pubsub.options import whole_name
from pyspark_vision.spark.secrets import secrets_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the jobs, as far as they name what a job needs."""
    parser.add_argument(
        "--master", metavar="URL", help="Spark's master (default: what spark-submit was given)"
    )
    parser.add_argument(
        "--model", metavar="URI", help="run this bundle or model file on an executor"
    )
    parser.add_argument("--input", metavar="URI", help="read from this folder, file or glob")
    parser.add_argument("--output", metavar="URI", help="write a probe into this folder")
    parser.add_argument("--checkpoint", metavar="URI", help="write a probe into this folder")
    parser.add_argument("--kafka-servers", metavar="HOST:PORT,…", help="the brokers to ask")
    parser.add_argument(
        "--kafka-config",
        metavar="FILE",
        help="a properties file of Kafka's client: security.protocol, sasl.*, ssl.*",
    )
    parser.add_argument(
        "--kafka-topic", nargs="+", default=[], metavar="TOPIC", help="the topics to be read"
    )
    parser.add_argument("--output-kafka-topic", metavar="TOPIC", help="the topic to be written")
    parser.add_argument(
        "--output-bq-table",
        metavar="TABLE",
        help="the table in BigQuery: PROJECT.DATASET.TABLE, or DATASET.TABLE and --project-id",
    )
    parser.add_argument(
        "--max-message-bytes",
        type=int,
        default=5 * 1024 * 1024,
        metavar="N",
        help="topics must take messages of this size. The default is that of the jobs: %(default)s",
    )
    parser.add_argument(
        "--project-id", metavar="ID", help="the Google Cloud project of Pub/Sub and BigQuery"
    )
    parser.add_argument(
        "--pubsub-subscription",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the subscriptions to be read",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line per check; 0 if none failed, else 1."""
    kafka = _kafka(args)
    named = (args.model, args.input, args.output, args.checkpoint)
    secrets = secrets_of(kafka.properties if kafka else (), [uri for uri in named if uri])
    written = (args.output_kafka_topic,) if args.output_kafka_topic else ()
    examination = Examination(_print, secrets)
    examine(
        Asked(
            master=args.master,
            model=args.model,
            input=args.input,
            output=args.output,
            checkpoint=args.checkpoint,
            kafka=kafka,
            topics=(*args.kafka_topic, *written),
            max_message_bytes=args.max_message_bytes,
            table=parse(args.output_bq_table, args.project_id) if args.output_bq_table else None,
            project=args.project_id,
            subscriptions=tuple(
                whole_name(name, args.project_id) for name in args.pubsub_subscription
            ),
        ),
        examination,
    )
    counts = Counter(finding.state for finding in examination.findings.values())
    print(f"doctor: {', '.join(f'{counts[state]} {state}' for state in (OK, FAILED, NOT_CHECKED))}")
    return 1 if counts[FAILED] else 0


def _kafka(args: argparse.Namespace) -> Client | None:
    if not args.kafka_servers:
        return None
    properties = read_java_properties(args.kafka_config) if args.kafka_config else ()
    return Client(args.kafka_servers, properties)


def _print(finding: Finding) -> None:
    print(finding, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """As a script for spark-submit, which has no subcommands."""
    terminal.make_tolerant()
    parser = Parser(prog="doctor", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return run(args)
    except PysparkVisionError as error:
        print(f"doctor: {with_flags(str(error), args)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
