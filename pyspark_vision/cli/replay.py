"""`pyspark-vision replay LETTERS --checkpoint URI`: dead letters go back to where they came from.

Each letter is sent with its payload and key as they came, to its own topic (or ``--to``), where the
job that reads this topic finds it. The checkpoint knows which letters were put back: a second run
takes only what came since.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StructField, StructType

from pyspark_vision import job_flags
from pyspark_vision.errors import ErrorCode, InvalidOptionError
from pyspark_vision.session import tool_session
from pyspark_vision.sinks.dead_letters import HEADER_PREFIX, LETTER, from_records
from pyspark_vision.sinks.kafka import KafkaTopic, send
from pyspark_vision.sources.kafka import EARLIEST, KafkaSource, stream_kafka

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# A letter that was put back says where it first failed.
REPLAY_HEADER = HEADER_PREFIX + "replay_of"

_SHOWN_CODES = ", ".join(code.value for code in ErrorCode)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `replay` to its parser."""
    parser.add_argument(
        "letters", metavar="LETTERS", help="kafka:TOPIC, or the folder of Parquet letters"
    )
    parser.add_argument("--checkpoint", required=True, metavar="URI", help="what was put back")
    parser.add_argument(
        "--code",
        nargs="+",
        default=[],
        choices=[code.value for code in ErrorCode],
        metavar="CODE",
        help=f"only letters of these errors; others count as done. One of {_SHOWN_CODES}",
    )
    parser.add_argument(
        "--to", metavar="kafka:TOPIC", help="one topic for all (default: each letter's own)"
    )
    parser.add_argument(
        "--kafka-servers", default="127.0.0.1:9092", metavar="HOST:PORT,…", help="brokers"
    )
    parser.add_argument("--kafka-config", metavar="FILE", help="properties file of Kafka's client")
    job_flags.add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Put the letters back that are there now; 0 when all of them went."""
    to = args.to
    if to is not None and not to.startswith(job_flags.KAFKA_SCHEME):
        raise InvalidOptionError(f"--to {to}: it must be kafka:TOPIC")
    session = tool_session("replay", args.master, args.conf)
    put_back: Counter[str] = Counter()

    def send_back(batch: DataFrame, batch_id: int) -> None:
        chosen = _chosen(batch, args).persist()
        try:
            counted = _by_code(chosen)
            if to is None:
                _refuse_without_topic(chosen)
            topic = "" if to is None else to.removeprefix(job_flags.KAFKA_SCHEME)
            limit = job_flags.LARGEST_LETTER_BYTES
            target = KafkaTopic(job_flags.kafka_connection(args), topic, limit)
            send(_records(chosen, own_topic=to is None), target)
            put_back.update(counted)
        finally:
            chosen.unpersist()

    query = (
        _letters(session, args)
        .writeStream.queryName("replay")
        .option("checkpointLocation", args.checkpoint)
        .trigger(availableNow=True)
        .foreachBatch(send_back)
        .start()
    )
    query.awaitTermination()
    codes = ", ".join(f"{code} {n}" for code, n in sorted(put_back.items()))
    print(f"replay: {sum(put_back.values())} letters put back" + (f" ({codes})" if codes else ""))
    return 0


def _letters(session: SparkSession, args: argparse.Namespace) -> DataFrame:
    if args.letters.startswith(job_flags.KAFKA_SCHEME):
        topic = args.letters.removeprefix(job_flags.KAFKA_SCHEME)
        connection = job_flags.kafka_connection(args)
        source = KafkaSource(connection, topics=(topic,), starting=EARLIEST, headers=True)
        return from_records(stream_kafka(session, source))
    schema = StructType([*LETTER, StructField("batch_id", IntegerType())])
    return session.readStream.schema(schema).parquet(args.letters).drop("batch_id")


def _chosen(letters: DataFrame, args: argparse.Namespace) -> DataFrame:
    return letters.where(F.col("error_code").isin(*args.code)) if args.code else letters


def _by_code(letters: DataFrame) -> dict[str, int]:
    rows = letters.groupBy("error_code").agg(F.count(F.lit(1)).alias("letters")).collect()
    return {row["error_code"]: row["letters"] for row in rows}


def _refuse_without_topic(letters: DataFrame) -> None:
    without = letters.where(F.col("topic").isNull()).select("origin").limit(1).collect()
    if without:
        raise InvalidOptionError(
            f"the letter of {without[0]['origin']} came from no topic: say --to kafka:TOPIC"
        )


def _records(letters: DataFrame, *, own_topic: bool) -> DataFrame:
    header = F.struct(
        F.lit(REPLAY_HEADER).alias("key"), F.col("origin").cast("binary").alias("value")
    )
    topic = [F.col("topic")] if own_topic else []
    return letters.select(
        "key", F.col("payload").alias("value"), F.array(header).alias("headers"), *topic
    )
