"""A stream from Pub/Sub to Parquet, a folder for each batch, in a process that may be killed.

``python pubsub_job.py ENDPOINT SUBSCRIPTION FOLDER TRIGGER``
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from pyspark_vision.sources.pubsub.stream import (
    PubSubSource,
    acknowledge_committed,
    stream_pubsub,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main(endpoint: str, subscription: str, folder: str, trigger: str) -> None:
    session = SparkSession.builder.appName("pubsub_job").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    source = PubSubSource(
        (subscription,), endpoint=endpoint, max_messages_per_batch=20, ack_deadline_s=10
    )
    checkpoint = f"{folder}/checkpoint"
    messages = stream_pubsub(session, source, checkpoint)

    def write(batch: DataFrame, batch_id: int) -> None:
        batch.write.mode("overwrite").parquet(f"{folder}/out/batch_id={batch_id}")

    writer = messages.writeStream.foreachBatch(write).option("checkpointLocation", checkpoint)
    if trigger == "available-now":
        query = writer.trigger(availableNow=True).start()
    else:
        query = writer.trigger(processingTime=trigger).start()
    query.awaitTermination()
    acknowledge_committed(session, source, checkpoint)


if __name__ == "__main__":
    main(*sys.argv[1:])
