"""In a session with Spark's embedded metastore: extract_events saves tables, and its DDL is run.

    hive_job.py SERVERS TOPIC FOLDER    one JSON line: what the tables then hold

FOLDER gets the tables of a batch and of a stream.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

import job_runs as jobs
from pyspark.sql import SparkSession

servers, topic, folder = sys.argv[1:]
SOURCE = ("--kafka-servers", servers, "--kafka-topic", topic)
STREAM = ("--stream", "--starting-offsets", "earliest", "--trigger", "available-now")
CHECKPOINT = ("--checkpoint", f"{folder}/checkpoint")
SPLIT = ("--split", "swords=purchase_sword")


def extract(*more: str) -> tuple[int, list[str]]:
    """The job's exit code, and the lines that it printed."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as said,
        contextlib.redirect_stderr(io.StringIO()) as complained,
    ):
        code = jobs.run("extract_events", *SOURCE, *SPLIT, *more)
    return code, [*said.getvalue().splitlines(), *complained.getvalue().splitlines()]


def run_ddl(session: SparkSession, database: str, *more: str) -> None:
    code, lines = extract(*more, "--print-ddl")
    assert code == 0, lines
    session.sql(f"create database {database}")
    session.sql(f"use {database}")
    for statement in "\n".join(lines).split(";"):
        if statement.strip():
            session.sql(statement)


def rows(session: SparkSession, query: str) -> list[list[Any]]:
    return [list(row) for row in session.sql(query).collect()]


def main() -> None:
    session = SparkSession.builder.enableHiveSupport().getOrCreate()
    session.sql("create database games")
    session.sql("create database others")
    session.sql("create table others.swords as select 1 as mine")
    batch, stream = ("--output", f"{folder}/batch"), ("--output", f"{folder}/stream")
    saved = [extract(*batch, "--save-as-table", "games") for _ in range(2)]
    refused = [extract(*batch, "--save-as-table", other) for other in ("others", "nobody")]
    assert extract(*stream, *STREAM, *CHECKPOINT)[0] == 0
    run_ddl(session, "of_batch", *batch)
    run_ddl(session, "of_stream", *stream, *STREAM, *CHECKPOINT)
    columns = "event_type, User_Agent, kafka_offset"
    found = {
        "saved": [code for code, _ in saved],
        "refused": [[code, lines[-1]] for code, lines in refused],
        "others": rows(session, "select * from others.swords"),
        **{
            f"{database}.{table}": rows(
                session, f"select {columns} from {database}.{table} order by kafka_offset"
            )
            for database in ("games", "of_batch", "of_stream")
            for table in ("extracted_events", "swords")
        },
        "types": [
            session.table(f"{database}.extracted_events").drop("batch_id").dtypes
            for database in ("games", "of_batch", "of_stream")
        ],
        "at": rows(session, "select count(`timestamp`), max(batch_id) from of_stream.swords"),
    }
    print(json.dumps(found))


main()
