"""The Pub/Sub source on Google's own in-memory server: messages per second, and their age as rows.

``python -m benchmarks.pubsub``: a backlog of small messages read to its end, beside what the server
gives and takes back alone (pull and acknowledge, nothing else); then messages at a rate, each with
the time at which it was published.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]

from local_services import pubsub as local_pubsub  # noqa: E402
from pubsub_topics import Topic  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

from pyspark_vision.sources.pubsub.service import Service  # noqa: E402
from pyspark_vision.sources.pubsub.stream import PubSubSource, stream_pubsub  # noqa: E402

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# About what a notification of Cloud Storage has.
MESSAGE_BYTES = 700


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=40_000, help="of the backlog")
    parser.add_argument("--rate", type=float, default=20, help="messages per second, for their age")
    parser.add_argument("--seconds", type=float, default=60, help="how long at that rate")
    given = parser.parse_args(argv)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-pubsub-")))
        server = stack.enter_context(local_pubsub.running(folder))
        alone = server_alone(server.endpoint, given.messages)
        print(f"the server alone, one client: {alone:,.0f} messages/s", flush=True)
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        stack.callback(session.stop)
        rate = backlog(session, server.endpoint, folder, given.messages)
        print(f"through Spark, two cores: {rate:,.0f} messages/s", flush=True)
        ages = at_rate(session, server.endpoint, folder, given.rate, given.seconds)
        p50, p95 = statistics.median(ages), statistics.quantiles(ages, n=20)[-1]
        print(
            f"publish to row at {given.rate:g}/s: p50 {p50:.2f} s, p95 {p95:.2f} s, "
            f"{len(ages)} messages"
        )


def server_alone(endpoint: str, count: int) -> float:
    """Messages per second that one client pulls and acknowledges."""
    topic = Topic(endpoint).make()
    topic.publish([bytes(MESSAGE_BYTES)] * count)
    began, done = time.monotonic(), 0
    with Service(endpoint) as service:
        while done < count:
            messages = service.pull(topic.subscription, 1000)
            service.acknowledge(topic.subscription, [message.ack_id for message in messages])
            done += len(messages)
    return count / (time.monotonic() - began)


def backlog(session: SparkSession, endpoint: str, folder: Path, count: int) -> float:
    """Messages per second from the first batch to the last, Spark's start left out."""
    topic = Topic(endpoint).make()
    topic.publish([bytes(MESSAGE_BYTES)] * 100)
    source = PubSubSource((topic.subscription,), endpoint=endpoint, max_messages_per_batch=5000)
    done = 0

    def take(batch: DataFrame, batch_id: int) -> None:
        nonlocal done
        done += batch.count()

    checkpoint = str(folder / "backlog")
    messages = stream_pubsub(session, source, checkpoint)
    writer = messages.writeStream.foreachBatch(take).option("checkpointLocation", checkpoint)
    query = writer.trigger(processingTime="0 seconds").start()
    while done < 100:
        time.sleep(0.05)
    publishing = threading.Thread(target=topic.publish, args=([bytes(MESSAGE_BYTES)] * count,))
    began = time.monotonic()
    publishing.start()
    while done < 100 + count:
        time.sleep(0.02)
    took_s = time.monotonic() - began
    publishing.join()
    query.stop()
    return count / took_s


def at_rate(
    session: SparkSession, endpoint: str, folder: Path, rate: float, seconds: float
) -> list[float]:
    """Seconds from before a message is published until its row is in the driver's hands."""
    topic = Topic(endpoint).make()
    source = PubSubSource((topic.subscription,), endpoint=endpoint)
    ages: list[float] = []
    started = threading.Event()

    def take(batch: DataFrame, batch_id: int) -> None:
        rows = batch.select("value").collect()
        now = time.time()
        if started.is_set():
            ages.extend(now - float(row.value) for row in rows)

    checkpoint = str(folder / "rate")
    messages = stream_pubsub(session, source, checkpoint)
    writer = messages.writeStream.foreachBatch(take).option("checkpointLocation", checkpoint)
    query = writer.trigger(processingTime="0 seconds").start()
    sent, began, count = 0, time.monotonic(), 0
    warm = 10 * rate
    while sent < warm + rate * seconds:
        if sent >= warm:
            started.set()
            count += 1
        topic.publish([repr(time.time()).encode()])
        sent += 1
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    deadline = time.monotonic() + 30
    while len(ages) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    query.stop()
    return ages


if __name__ == "__main__":
    main()
