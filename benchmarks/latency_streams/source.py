"""The floor with our Kafka source in place of Spark's own."""

from __future__ import annotations

from benchmarks.latency_streams.floor import copy
from benchmarks.latency_streams.streams import Work
from pyspark_vision.sources.kafka import EARLIEST, KafkaConnection, KafkaSource, stream_kafka
from pyspark_vision.spark.session import job_session


def main() -> None:
    work = Work.from_argv()
    source = KafkaSource(
        KafkaConnection(work.servers),
        topics=(work.frames,),
        starting=EARLIEST,
        max_offsets_per_trigger=work.batch_rows,
    )
    copy(stream_kafka(job_session("source"), source), work)


if __name__ == "__main__":
    main()
