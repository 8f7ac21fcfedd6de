"""The floor: a Kafka -> Kafka stream of Spark's own that does nothing with the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from benchmarks.latency_streams.streams import Work
from pyspark_vision.sources.kafka import KafkaConnection

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main() -> None:
    work = Work.from_argv()
    copy(work.read("floor"), work)


def copy(frames: DataFrame, work: Work) -> None:
    """A short answer to each frame, until it is ended."""
    # The key is the frame's id; its message is read, as it comes with the record, and not parsed.
    image_id, size = F.col("key").cast("string"), F.length("value")
    answer = F.to_json(F.struct(image_id.alias("image_id"), size.alias("bytes")))
    (
        frames.select("key", answer.alias("value"))
        .writeStream.format("kafka")
        .options(**KafkaConnection(work.servers).options())
        .option("topic", work.results)
        .option("checkpointLocation", work.checkpoint)
        .trigger(processingTime="0 seconds")
        .start()
        .awaitTermination()
    )


if __name__ == "__main__":
    main()
