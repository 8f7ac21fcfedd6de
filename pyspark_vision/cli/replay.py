"""`pyspark-vision replay LETTERS --checkpoint URI`: dead letters go back to where they came from.

Each letter is sent with its payload and key as they came, to its own topic (or ``--to``), where the
job that reads this topic finds it: of Kafka, or of Pub/Sub that of the subscription it came from.
The checkpoint knows which letters were put back: a second run takes only what came since.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField, StructType

from pyspark_vision.errors import (
    CheckpointInUseError,
    ErrorCode,
    InvalidOptionError,
    PysparkVisionError,
    StreamError,
)
from pyspark_vision.job import flags, outputs
from pyspark_vision.job.outputs import StreamPlaces
from pyspark_vision.job.places import Place, Topic, refuse_overlaps, refuse_same_topics
from pyspark_vision.messages.record_headers import HEADERS
from pyspark_vision.messages.topics import KAFKA_SCHEME, PUBSUB_SCHEME, REPLAY_OF
from pyspark_vision.sinks.dead_letters import (
    HEADERS_TYPE,
    LETTER,
    PAYLOAD_LEFT_OUT,
    from_records,
)
from pyspark_vision.sinks.kafka import KafkaTopic, send
from pyspark_vision.sources import kafka_record, kafka_start
from pyspark_vision.sources.kafka import EARLIEST, KafkaConnection, KafkaSource, stream_kafka
from pyspark_vision.sources.pubsub.options import whole_name
from pyspark_vision.spark import error_texts
from pyspark_vision.spark.hadoop import hadoop_path, list_names, literal
from pyspark_vision.spark.session import tool_session
from pyspark_vision.streaming import letters_to_pubsub
from pyspark_vision.streaming.put_back import (
    not_put_back,
    refuse_other_checkpoint,
    remember,
    take_over,
    with_identity,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Of letters without their payload, how many are named.
_SHOWN_ORIGINS = 10

_DEFAULT_SERVERS = "127.0.0.1:9092"

_SHOWN_CODES = ", ".join(code.value for code in ErrorCode)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `replay` to its parser."""
    parser.add_argument(
        "letters", metavar="LETTERS", help="kafka:TOPIC, or the folder of Parquet letters"
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="URI",
        help="the folder that keeps which letters were put back",
    )
    parser.add_argument(
        "--code",
        nargs="+",
        default=[],
        choices=[code.value for code in ErrorCode],
        metavar="CODE",
        help="put only letters of these errors back. Others count as done. The codes are "
        f"{_SHOWN_CODES}",
    )
    parser.add_argument(
        "--to",
        metavar="kafka:TOPIC|pubsub:TOPIC",
        help="send all to one topic (default: each letter's own; of Pub/Sub that is the topic of "
        "its subscription)",
    )
    parser.add_argument(
        "--project-id", metavar="ID", help="the Google Cloud project of --to pubsub:TOPIC"
    )
    parser.add_argument(
        "--kafka-servers",
        metavar="HOST:PORT,…",
        help=f"the brokers (default: {_DEFAULT_SERVERS})",
    )
    flags.add_kafka_config(parser)
    flags.add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Put the letters back that are there now; 0 when all of them went."""
    _refuse_bad_target(args)
    _refuse_mixed_places(args)
    # Of letters in a folder who reads them knows whether some are Kafka's.
    asks_kafka = any((uri or "").startswith(KAFKA_SCHEME) for uri in (args.letters, args.to))
    has_brokers = args.kafka_servers is not None
    args.kafka_servers = args.kafka_servers or _DEFAULT_SERVERS
    if asks_kafka or has_brokers:
        kafka_start.refuse_unreachable(args.kafka_servers)
    connection = flags.kafka_connection(args)
    session = tool_session("replay", args.master, args.conf)
    # Without a mark it is taken for its own if it looks like a stream's: an older version's.
    looks_own = "offsets" in (list_names(session, args.checkpoint) or [])
    places = StreamPlaces("replay", args.checkpoint, (), adopts=looks_own)
    outputs.check(session, places)
    put_back: Counter[str] = Counter()
    left_out: list[str] = []
    of_files: list[str] = []
    lost: list[str] = []

    def send_back(letters: DataFrame) -> None:
        if lost:
            raise CheckpointInUseError(lost[0])
        chosen = _chosen(letters, args)
        # Their pictures are where they were; a letter of a topic may have had no value.
        is_of_file = F.col("topic").isNull() & F.col("subscription").isNull()
        without = is_of_file & F.col("payload").isNull()
        of_files.extend(_origins(chosen.where(without)))
        chosen = chosen.where(~without)
        whole = chosen.where(F.col(PAYLOAD_LEFT_OUT).isNull())
        put_back.update(_put_back(session, connection, whole, args))
        left_out.extend(_origins(chosen.where(F.col(PAYLOAD_LEFT_OUT).isNotNull())))

    with outputs.held(session, places, lost.append):
        if args.letters.startswith(KAFKA_SCHEME):
            _replay_topic(session, connection, args, send_back)
        else:
            _replay_folder(session, args, send_back)
    codes = ", ".join(f"{code} {n}" for code, n in sorted(put_back.items()))
    print(f"replay: {sum(put_back.values())} letters put back" + (f" ({codes})" if codes else ""))
    if left_out:
        print(
            f"replay: {len(left_out)} letters not put back, for they are without their payload, "
            f"which was larger than their topic takes: {_shown(left_out)}"
        )
    if of_files:
        print(
            f"replay: {len(of_files)} letters not put back, for they name files, which are where "
            f"they were (batch_embed --retry-failed takes them again): {_shown(of_files)}"
        )
    return 0


def _origins(letters: DataFrame) -> list[str]:
    return [str(row["origin"]) for row in letters.select("origin").collect()]


def _shown(origins: Sequence[str]) -> str:
    return ", ".join(origins[:_SHOWN_ORIGINS]) + (", …" if origins[_SHOWN_ORIGINS:] else "")


def _refuse_bad_target(args: argparse.Namespace) -> None:
    if args.to is None or args.to.startswith(KAFKA_SCHEME):
        return
    if not args.to.startswith(PUBSUB_SCHEME):
        raise InvalidOptionError(f"--to {args.to}: it must be kafka:TOPIC or pubsub:TOPIC")
    args.to = PUBSUB_SCHEME + whole_name(
        args.to.removeprefix(PUBSUB_SCHEME), args.project_id, "topic"
    )


def _refuse_mixed_places(args: argparse.Namespace) -> None:
    """Refuse to put letters back to where they come from, or to keep progress among them."""
    if args.letters.startswith(KAFKA_SCHEME):
        read = Topic("LETTERS", args.letters.removeprefix(KAFKA_SCHEME))
        is_kafka = (args.to or "").startswith(KAFKA_SCHEME)
        to = args.to.removeprefix(KAFKA_SCHEME) if is_kafka else ""
        refuse_same_topics([read, Topic("--to", to, is_written=True)])
        return
    checkpoint = Place("--checkpoint", args.checkpoint, is_written=True)
    refuse_overlaps([Place("LETTERS", args.letters), checkpoint])


def _replay_topic(
    session: SparkSession,
    connection: KafkaConnection,
    args: argparse.Namespace,
    send_back: Callable[[DataFrame], None],
) -> None:
    """By the offsets of the dead-letter topic, which the checkpoint keeps."""
    refuse_other_checkpoint(session, args.checkpoint)
    topic = args.letters.removeprefix(KAFKA_SCHEME)
    source = KafkaSource(connection, topics=(topic,), starting=EARLIEST, headers=True)
    kafka_start.check_read(session, source, uses_starting=False, flag="LETTERS")

    refused: list[PysparkVisionError] = []
    with kafka_record.agreed(session, source, args.checkpoint) as check:

        def take(batch: DataFrame, _: int) -> None:
            letters = from_records(batch).persist()
            try:
                send_back(letters)
            except PysparkVisionError as error:
                refused.append(error)
                raise
            finally:
                letters.unpersist()
            check.after_batch()

        query = (
            stream_kafka(session, source)
            .writeStream.queryName("replay")
            .option("checkpointLocation", args.checkpoint)
            .trigger(availableNow=True)
            .foreachBatch(take)
            .start()
        )
        try:
            query.awaitTermination()
        except StreamingQueryException as error:
            said = str(refused[0]) if refused else error_texts.lost_records(str(error))
            if said is None:
                raise
            raise StreamError(said) from None


def _replay_folder(
    session: SparkSession, args: argparse.Namespace, send_back: Callable[[DataFrame], None]
) -> None:
    """By the record of letters that were put back: their files may have other names by now."""
    kafka_record.refuse_kafka(session, args.checkpoint)
    file_system, folder = hadoop_path(session, args.letters)
    if not file_system.exists(folder):
        raise InvalidOptionError(f"{args.letters} is not there: no letters, or another folder?")
    more = (StructField(HEADERS, HEADERS_TYPE), StructField("batch_id", IntegerType()))
    schema = StructType([*LETTER, *more])
    stored = session.read.schema(schema).parquet(literal(args.letters)).drop("batch_id")
    nothing_left_out = F.lit(None).cast("long").alias(PAYLOAD_LEFT_OUT)
    file = F.col("_metadata.file_path").alias("file")
    letters = with_identity(stored.select("*", nothing_left_out, file))
    take_over(session, letters, args.checkpoint)
    fresh = not_put_back(session, letters, args.checkpoint).persist()
    try:
        if fresh.count():
            send_back(fresh)
            remember(session, fresh, args.checkpoint)
    except PySparkException as error:
        if not error_texts.file_gone(str(error)):
            raise
        raise StreamError(
            f"{args.letters}: letters were written again while they were read; run replay again"
        ) from None
    finally:
        fresh.unpersist()


def _put_back(
    session: SparkSession, connection: KafkaConnection, letters: DataFrame, args: argparse.Namespace
) -> Counter[str]:
    """Send them to where they go; how many of each error. What is not there is refused first."""
    is_for_pubsub = _is_for_pubsub(args)
    kinds = letters.groupBy(is_for_pubsub.alias("pubsub"), "error_code")
    rows = kinds.agg(F.count(F.lit(1)).alias("letters")).collect()
    of_kafka, of_pubsub = letters.where(~is_for_pubsub), letters.where(is_for_pubsub)
    targets: dict[str | None, str] = {}
    if any(row["pubsub"] for row in rows):
        to = None if args.to is None else args.to.removeprefix(PUBSUB_SCHEME)
        targets = letters_to_pubsub.topics(of_pubsub, to)
    if not all(row["pubsub"] for row in rows):
        topic = _target(session, connection, of_kafka, args)
        target = KafkaTopic(connection, topic, flags.LARGEST_LETTER_BYTES)
        send(_records(of_kafka, own_topic=args.to is None), target)
    if targets:
        letters_to_pubsub.publish(of_pubsub, targets)
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row["error_code"]] += row["letters"]
    return counted


def _is_for_pubsub(args: argparse.Namespace) -> Column:
    if args.to is not None:
        return F.lit(args.to.startswith(PUBSUB_SCHEME))
    return F.col("subscription").isNotNull()


def _target(
    session: SparkSession, connection: KafkaConnection, letters: DataFrame, args: argparse.Namespace
) -> str:
    """Kafka's topic for all letters, or empty; raises if one that they go to is not there."""
    kafka_start.refuse_unreachable(args.kafka_servers)
    if args.to is not None:
        topic = str(args.to).removeprefix(KAFKA_SCHEME)
        kafka_start.topic_limit(session, connection, "--to", topic)
        return topic
    _refuse_without_topic(letters)
    for row in letters.select("topic").distinct().collect():
        kafka_start.topic_limit(session, connection, "the letters' topic", row["topic"])
    return ""


def _chosen(letters: DataFrame, args: argparse.Namespace) -> DataFrame:
    return letters.where(F.col("error_code").isin(*args.code)) if args.code else letters


def _refuse_without_topic(letters: DataFrame) -> None:
    without = letters.where(F.col("topic").isNull()).select("origin").limit(1).collect()
    if without:
        raise InvalidOptionError(
            f"the letter of {without[0]['origin']} came from no topic: say --to kafka:TOPIC "
            "or pubsub:TOPIC"
        )


def _records(letters: DataFrame, *, own_topic: bool) -> DataFrame:
    header = F.struct(F.lit(REPLAY_OF).alias("key"), F.col("origin").cast("binary").alias("value"))
    topic = [F.col("topic")] if own_topic else []
    own = F.coalesce(F.col(HEADERS), F.array().cast(HEADERS_TYPE))
    headers = F.concat(own, F.array(header)).alias(HEADERS)
    return letters.select("key", F.col("payload").alias("value"), headers, *topic)
