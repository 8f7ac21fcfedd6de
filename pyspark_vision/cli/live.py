"""`pyspark-vision live`: cameras and what a job finds in their frames, in the browser."""

from __future__ import annotations

import argparse

from pyspark_vision.clients import brokers, flag_values, listening_socket
from pyspark_vision.clients.live import letters, replay, server
from pyspark_vision.clients.live.job_numbers import checked_url
from pyspark_vision.clients.live.live import LiveOptions
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.messages.topics import FRAME_TOPIC, RESULT_TOPIC


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `live` to its parser."""
    brokers.add_flags(parser)
    parser.add_argument(
        "--kafka-topic", default=FRAME_TOPIC, metavar="TOPIC", help="the cameras' frames"
    )
    parser.add_argument(
        "--result-topic", default=RESULT_TOPIC, metavar="TOPIC", help="the job's results"
    )
    parser.add_argument(
        "--dead-letters",
        metavar="kafka:TOPIC",
        help="show what failed, as the job's --dead-letters has it, with a button to put it back",
    )
    parser.add_argument(
        "--replay-checkpoint",
        metavar="URI",
        help="the folder that keeps which letters the button has put back (default: one of this "
        "user for this topic, in ~/.local/state)",
    )
    parser.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the Spark that puts letters back, as spark.jars.packages=…. It may be "
        "repeated",
    )
    parser.add_argument(
        "--metrics",
        metavar="URL",
        help="show the job's own numbers: http://127.0.0.1:PORT/metrics, with the port of its "
        "--metrics-port",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to serve at. With another than this machine's own the page needs the "
        "token that is printed with it",
    )
    parser.add_argument(
        "--port",
        type=flag_values.port,
        metavar="PORT",
        help=f"the port to serve at (default: {server.DEFAULT_PORT}, or the next that is free)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open the page in the browser",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    options = _options(args)
    listening = listening_socket.listen(args.host, args.port, server.DEFAULT_PORT)
    return server.serve(options, listening, args.host, opens=args.open)


def _options(args: argparse.Namespace) -> LiveOptions:
    letter_topic = letters.topic_of(args.dead_letters) if args.dead_letters else None
    topics = [args.kafka_topic, args.result_topic, *filter(None, [letter_topic])]
    if len(set(topics)) != len(topics):
        raise InvalidOptionError(
            f"--kafka-topic, --result-topic and --dead-letters must differ, not {', '.join(topics)}"
        )
    if letter_topic is None and args.replay_checkpoint:
        raise InvalidOptionError("--replay-checkpoint needs --dead-letters kafka:TOPIC")
    command: list[str] = []
    refusal = None
    if letter_topic is not None and args.kafka_config:
        # Java's clients, which replay has, know other properties.
        refusal = (
            "these brokers need --kafka-config: run pyspark-vision replay with one of Java's "
            "properties"
        )
    elif letter_topic is not None:
        checkpoint = args.replay_checkpoint or replay.default_checkpoint(
            args.kafka_servers, letter_topic
        )
        command = replay.replay_command(letter_topic, checkpoint, args.kafka_servers, args.conf)
    return LiveOptions(
        brokers=brokers.from_flags(args),
        frame_topic=args.kafka_topic,
        result_topic=args.result_topic,
        letter_topic=letter_topic,
        metrics_url=checked_url(args.metrics) if args.metrics else None,
        replay_command=tuple(command),
        replay_refusal=refusal,
    )
