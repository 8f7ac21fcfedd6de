"""Every check in its order, on what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pyspark_vision.doctor import bigquery, brokers, cluster, machine, model, pubsub, storage
from pyspark_vision.doctor.findings import Examination
from pyspark_vision.sinks.bigquery.table_name import TableName
from pyspark_vision.spark import own_jvm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Asked:
    """The options of a job, as far as they say what it needs; what is ``None`` is not checked."""

    master: str | None = None
    model: str | None = None
    input: str | None = None
    output: str | None = None
    checkpoint: str | None = None
    kafka: brokers.Client | None = None
    topics: tuple[str, ...] = ()
    max_message_bytes: int = 0
    table: TableName | None = None
    project: str | None = None
    subscriptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One that goes through Spark: ``test(session, *arguments)``.

    ``left_out``: why it is not run, if it was not asked for.
    """

    name: str
    test: Callable[..., str]
    arguments: tuple[object, ...] = ()
    needs: tuple[str, ...] = ()
    left_out: str | None = None
    timeout_s: float = 60


def examine(asked: Asked, examination: Examination) -> None:
    """Look at this machine, then at Spark, and through Spark at everything else."""
    examination.look("java", machine.java)
    examination.look("python", machine.python)
    examination.look("packages", machine.packages)
    if asked.kafka:
        examination.look("kafka ports", partial(brokers.ports, asked.kafka.servers))
    else:
        examination.skip("kafka ports", "give --kafka-servers")
    _bigquery(asked, examination)
    for name in asked.subscriptions:
        short = name.rpartition("/")[2]
        examination.look(f"pubsub {short}", partial(pubsub.subscription, name))
    if not asked.subscriptions:
        examination.skip("pubsub", "give --pubsub-subscription")
    sessions: list[SparkSession] = []

    def start() -> str:
        sessions.append(cluster.start(asked.master))
        return f"{sessions[0].version}, {sessions[0].sparkContext.master}"

    examination.look("spark", start, needs=("java", "packages"), timeout_s=cluster.START_TIMEOUT_S)
    try:
        for check in through_spark(asked):
            if check.left_out:
                examination.skip(check.name, check.left_out)
                continue
            # Not looked at where Spark did not start, for all of these need it.
            test = partial(check.test, *sessions, *check.arguments)
            needs = ("spark", *check.needs)
            examination.look(check.name, test, needs=needs, timeout_s=check.timeout_s)
    finally:
        for session in sessions:
            own_jvm.end_workers(session)
            session.stop()


def _bigquery(asked: Asked, examination: Examination) -> None:
    """What the driver alone does with BigQuery."""
    if asked.table is None:
        examination.skip("bigquery", "give --output-bq-table")
        return
    project = asked.project or asked.table.project
    checks = {"dataset": bigquery.dataset, "table": bigquery.table, "rights": bigquery.rights}
    for name, test in checks.items():
        needs = ("packages",) if name == "dataset" else ("bigquery dataset",)
        examination.look(f"bigquery {name}", partial(test, asked.table, project), needs=needs)


def through_spark(asked: Asked) -> Iterator[Check]:
    """The checks that need a session, in their order."""
    yield Check("executors", cluster.executors, timeout_s=cluster.EXECUTORS_TIMEOUT_S + 60)
    yield Check("file names", cluster.file_names, (), ("executors",))
    uris = {
        "model": asked.model,
        "input": asked.input,
        "output": asked.output,
        "checkpoint": asked.checkpoint,
    }
    schemes = {name: (uri or "").partition("://")[0] for name, uri in uris.items()}
    why_not = None if "s3a" in schemes.values() else "no s3a:// URI is given"
    yield Check("s3a connector", storage.connector, ("s3a",), left_out=why_not)
    if "gs" in schemes.values():
        yield Check("gs connector", storage.connector, ("gs",))
    tests = (model.runs, storage.readable, storage.writable, storage.checkpoint)
    for (name, uri), test in zip(uris.items(), tests, strict=True):
        store = [f"{schemes[name]} connector"] if schemes[name] in ("s3a", "gs") else []
        needs = ("executors", *store)
        yield Check(name, test, (uri,), needs, None if uri else f"give --{name}")
    yield from _kafka(asked)


def _kafka(asked: Asked) -> Iterator[Check]:
    why_not = None if asked.kafka else "give --kafka-servers"
    known = (asked.kafka,)
    yield Check("kafka connector", brokers.connector, (), (), why_not)
    needs = ("kafka ports", "kafka connector")
    yield Check("kafka brokers", brokers.brokers, known, needs, why_not)
    needs = ("kafka brokers", "executors")
    yield Check("kafka from executors", brokers.from_executors, known, needs, why_not)
    for name in asked.topics:
        arguments = (*known, name, asked.max_message_bytes)
        yield Check(f"kafka topic {name}", brokers.topic, arguments, ("kafka brokers",), why_not)
    if not asked.topics:
        why_not = why_not or "give --kafka-topic or --output-kafka-topic"
        yield Check("kafka topic", brokers.topic, left_out=why_not)
