"""Extract events from Kafka to Parquet: one table of all, and one for each --split.

A batch replaces each table by what is in the topic now. With --stream the tables grow.

spark-submit --py-files dist/pyspark_vision.zip jobs/extract_events.py --help
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job import command_line, flags, outputs, start
from pyspark_vision.job.outputs import Output, StreamPlaces
from pyspark_vision.job.places import Place
from pyspark_vision.messages import events
from pyspark_vision.messages.events import EventFormat
from pyspark_vision.messages.topics import EVENT_TOPIC
from pyspark_vision.sinks import Sink, lake_tables, owner
from pyspark_vision.sinks.console import console_sink
from pyspark_vision.sinks.dead_letters import letters, with_payload_if_failed
from pyspark_vision.sinks.hive import (
    external_table,
    refuse_others_table,
    refuse_without_metastore,
    saved_table_sink,
)
from pyspark_vision.sinks.lake_tables import LakeTable
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.sinks.table import BATCH_FOLDERS, TABLE_FILES, refuse_other_files, table_sink
from pyspark_vision.sinks.table_columns import FLAG
from pyspark_vision.sinks.through import through
from pyspark_vision.sources import kafka_record
from pyspark_vision.sources.kafka import EARLIEST, LATEST, KafkaSource, read_kafka, stream_kafka
from pyspark_vision.streaming import runner

NAME = "extract_events"
ALL_EVENTS = "extracted_events"
LETTERS = "dead_letters"
PARQUET, CONSOLE = "parquet", "console"

_TABLE_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def parser() -> command_line.JobParser:
    job = command_line.JobParser(prog="extract_events", description=__doc__)
    source = job.add_argument_group("source")
    starting = f"{EARLIEST} for a batch, {LATEST} for a stream, as Spark's"
    flags.add_kafka_source(source, EVENT_TOPIC, starting)
    source.add_argument(
        "--ending-offsets",
        metavar="WHERE",
        help=f"where a batch ends, in the forms of --starting-offsets (default: {LATEST})",
    )
    # An event is small: a bound as for pictures would let a busy topic run away from the stream.
    # Where it starts is as Spark's own batches and streams do, and so the course's.
    job.set_defaults(starting_offsets=None, max_offsets_per_trigger=20_000)
    extraction = job.add_argument_group("extraction")
    extraction.add_argument(
        "--fields",
        nargs="+",
        default=list(events.FIELDS),
        metavar="NAME",
        help=f"the fields that become columns. {events.EVENT_TYPE} always does",
    )
    extraction.add_argument(
        "--set",
        nargs="+",
        action="extend",
        type=name_and_value,
        default=[],
        metavar="NAME=VALUE",
        help="give this field this value in every event, before extraction. raw_event stays as it "
        "came. The last value of a NAME counts",
    )
    sink = job.add_argument_group("sink")
    sink.add_argument(
        "--sink",
        nargs="+",
        choices=[PARQUET, flags.DELTA, flags.ICEBERG, CONSOLE],
        default=[PARQUET],
        help="where events go: tables of Parquet files, a stream's Delta or Iceberg tables, or a "
        "few of each batch to the terminal",
    )
    flags.add_table(sink)
    sink.add_argument(
        "--output",
        metavar="URI",
        help=f"the folder of {ALL_EVENTS} and other tables; {PARQUET} needs it",
    )
    sink.add_argument(
        "--split",
        nargs="+",
        action="extend",
        type=name_and_value,
        default=[],
        metavar="NAME=TYPE,…",
        help="write a further table OUTPUT/NAME (of --table: TABLE_NAME) of the events of these "
        "types. The last choice for a NAME counts",
    )
    sink.add_argument(
        "--save-as-table",
        metavar="DATABASE",
        help="save a batch's tables in this database of the session's metastore, too",
    )
    sink.add_argument(
        "--print-ddl",
        action="store_true",
        help="print the tables as Hive reads them, then stop",
    )
    flags.add_dead_letters(sink)
    stream = job.add_argument_group("stream")
    stream.add_argument(
        "--stream", action="store_true", help="go on with new messages. It needs --checkpoint"
    )
    flags.add_stream(stream, "10 seconds", checkpoint_required=False)
    return job


def name_and_value(text: str) -> tuple[str, str]:
    """An argparse type: ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def event_format(options: argparse.Namespace) -> EventFormat:
    return EventFormat(tuple(options.fields), dict(options.set), options.max_message_bytes)


def splits(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Table name -> event types of ``--split``."""
    chosen: dict[str, tuple[str, ...]] = {}
    for name, listed in dict(options.split).items():
        others = {ALL_EVENTS, LETTERS, *(known.lower() for known in chosen)}
        if not _TABLE_NAME.fullmatch(name) or name.lower() in others:
            raise InvalidOptionError(
                f"--split {name}: a table's name has letters, digits and _, begins with a letter, "
                f"and is neither {ALL_EVENTS} nor {LETTERS} nor another's, in any case"
            )
        event_types = tuple(event_type.strip() for event_type in listed.split(","))
        if not all(event_types):
            raise InvalidOptionError(f"--split {name}={listed}: an event type is empty")
        chosen[name] = event_types
    return chosen


def extract(records: DataFrame, event_format: EventFormat) -> DataFrame:
    """Records in, one row each with its event or its error; no I/O."""
    read = events.read_events(records, event_format)
    return with_payload_if_failed(read, "value").drop("value")


def tables(options: argparse.Namespace) -> Mapping[str, Callable[[DataFrame], DataFrame]]:
    """Table name -> how its rows are chosen from :func:`extract`'s; those of Parquet files."""
    return _chosen(options) if PARQUET in options.sink else {}


def all_lake_tables(
    options: argparse.Namespace,
) -> Mapping[str, tuple[LakeTable, Callable[[DataFrame], DataFrame]]]:
    """As :func:`tables`, of Delta or Iceberg: ``--table``, and beside it one for each split."""
    of_all = flags.lake_table(options)
    if of_all is None:
        return {}
    uris = {
        name: of_all.uri if name == ALL_EVENTS else f"{of_all.uri}_{name}"
        for name in _chosen(options)
    }
    return {
        name: (replace(of_all, uri=uris[name]), choose) for name, choose in _chosen(options).items()
    }


def _chosen(options: argparse.Namespace) -> Mapping[str, Callable[[DataFrame], DataFrame]]:
    choices: dict[str, Callable[[DataFrame], DataFrame]] = {ALL_EVENTS: events.table}
    for name, event_types in splits(options).items():
        choices[name] = functools.partial(events.table_of_types, event_types=event_types)
    return choices


def saved_tables(
    options: argparse.Namespace,
) -> Mapping[str, Callable[[DataFrame], DataFrame]]:
    """As :func:`tables`, of ``--save-as-table``: ``database.table``."""
    if not options.save_as_table:
        return {}
    return {f"{options.save_as_table}.{name}": choose for name, choose in tables(options).items()}


def ddl(options: argparse.Namespace) -> str:
    """The tables in ``--output`` as Hive reads them."""
    columns = events.table_columns(event_format(options))
    partition = "batch_id int" if options.stream else None
    folders = [output for output in written(options) if output.role != LETTERS]
    statements = (external_table(o.role, columns, o.folder, partition) for o in folders)
    return "\n\n".join(statements)


def sinks(session: SparkSession, options: argparse.Namespace) -> dict[str, Sink]:
    folders = {output.role: output.folder for output in written(options)}
    for folder in folders.values():
        refuse_other_files(session, folder, BATCH_FOLDERS if options.stream else TABLE_FILES)

    def make(role: str) -> Sink:
        if options.stream:
            return parquet_sink(session, folders[role])
        return table_sink(session, folders[role], mark(options, role))

    named_sinks = {name: through(choose, make(name)) for name, choose in tables(options).items()}
    for name, (table, choose) in all_lake_tables(options).items():
        into = lake_tables.lake_sink(session, table, options.checkpoint)
        named_sinks[f"{flags.lake_sink_name(options)} {name}"] = through(choose, into)
    if CONSOLE in options.sink:
        named_sinks[CONSOLE] = console_sink()
    for name, choose in saved_tables(options).items():
        saved = saved_table_sink(session, name, mark(options, name))
        named_sinks[name] = through(choose, saved)
    # A second run leaves one copy, as in the tables.
    if LETTERS in folders and not options.stream:
        named_sinks[LETTERS] = through(letters, make(LETTERS))
    elif options.dead_letters:
        named_sinks[LETTERS] = flags.dead_letters(session, options)
    return named_sinks


def written(options: argparse.Namespace) -> list[Output]:
    """The folders that the job writes: a table each, and its letters."""
    folders = [Output("--output", f"{options.output}/{name}", name) for name in tables(options)]
    if folder := flags.letters_folder(options):
        folders.append(Output("--dead-letters", folder, LETTERS))
    return folders


def stream_places(options: argparse.Namespace) -> StreamPlaces:
    return StreamPlaces(
        NAME,
        options.checkpoint,
        tuple(written(options)),
        adopts=options.adopt,
        removes_beyond=options.remove_beyond,
        tables=tuple(table for table, _ in all_lake_tables(options).values()),
    )


def mark(options: argparse.Namespace, role: str) -> Mark:
    """Whose a table is: of the runs that read the same topics."""
    topics = flags.kafka_source(options, EVENT_TOPIC)
    return Mark(NAME, f"table {role}", topics.pattern or ",".join(sorted(topics.topics)))


def check_written(session: SparkSession | None, options: argparse.Namespace) -> None:
    """Refuse folders of others."""
    if options.stream:
        outputs.check(session, stream_places(options))
        return
    for output in written(options):
        own = mark(options, output.role)
        owner.check(session, output.folder, own, output.flag, adopts=options.adopt)


def check_saved(session: SparkSession, options: argparse.Namespace) -> None:
    """Refuse a session that forgets its tables, and tables of others."""
    if options.save_as_table:
        refuse_without_metastore(session)
        for name in saved_tables(options):
            refuse_others_table(session, name, mark(options, name))


def all_places(options: argparse.Namespace) -> list[Place]:
    """What the job reads and writes."""
    places = [Place(output.flag, output.folder, is_written=True) for output in written(options)]
    for table, _ in all_lake_tables(options).values():
        if (folder := lake_tables.folder(table)) is not None:
            places.append(Place(FLAG, folder, is_written=True))
    if options.checkpoint:
        places.append(Place("--checkpoint", options.checkpoint, is_written=True))
    return places


def run(options: argparse.Namespace) -> None:
    if options.print_ddl:
        print(ddl(options))
        return
    start.refuse_mixed(all_places(options), flags.kafka_topics(options, EVENT_TOPIC))
    source = flags.kafka_source(options, EVENT_TOPIC, options.ending_offsets or LATEST)
    session = start.session_for(
        NAME,
        all_places(options),
        lambda session: check_written(session, options),
        writes_delta=flags.DELTA in options.sink,
    )
    check_saved(session, options)
    if all_lake_tables(options):
        rows = extract(stream_kafka(session, source), event_format(options))
        for table, choose in all_lake_tables(options).values():
            lake_tables.check(session, table, choose(rows).schema, options.checkpoint)
    if options.dry_run:
        if options.stream:
            outputs.beyond(session, stream_places(options))
        print(f"extract_events would run with\n{command_line.describe(options)}\nas the plan")
        # A stream's, in both cases: to plan a batch, Spark asks the brokers for their offsets.
        extract(stream_kafka(session, source), event_format(options)).explain()
        return
    if not options.dead_letters:
        print(
            "extract_events: messages that fail are counted, not kept; --dead-letters keeps them",
            file=sys.stderr,
            flush=True,
        )
    named_sinks = sinks(session, options)
    flags.check_read(session, source, options)
    if options.stream:
        run_stream(session, source, options, named_sinks)
        return
    results = extract(read_kafka(session, source), event_format(options))
    counts = runner.run_batch(results, 0, named_sinks, value="event")
    print(f"extract_events: {counts.summary('messages', 'events')}", flush=True)


def run_stream(
    session: SparkSession,
    source: KafkaSource,
    options: argparse.Namespace,
    named_sinks: Mapping[str, Sink],
) -> None:
    runner.run(
        stream_kafka(session, source),
        lambda records, _: runner.Steps(extract(records, event_format(options))),
        lambda: None,
        named_sinks,
        flags.stream_options(options, options.trigger),
        value="event",
        name=NAME,
        words=("messages", "events"),
        hold=lambda lost: outputs.held(
            session,
            stream_places(options),
            lost,
            kafka_record.agreed(session, source, options.checkpoint),
        ),
    )


def check(options: argparse.Namespace) -> None:
    """Refuse what is wrong by itself or does not go together, before Spark starts."""
    if options.starting_offsets is None:
        options.starting_offsets = LATEST if options.stream else EARLIEST
    if PARQUET in options.sink and not options.output:
        raise InvalidOptionError(f"--sink {PARQUET} needs --output: the folder of the tables")
    for flag, value, sinks in (
        ("--output", options.output, {PARQUET}),
        ("--split", options.split, {PARQUET, *flags.TABLE_SINKS}),
    ):
        if value and not sinks & set(options.sink):
            raise InvalidOptionError(
                f"{flag} is for --sink {PARQUET}; name it, or leave {flag} out"
            )
    flags.check_table_flags(options)
    if options.table and not options.stream:
        raise InvalidOptionError(
            f"--sink {flags.lake_sink_name(options)} is for a stream: say --stream --checkpoint "
            "URI (with --trigger available-now it reads what is there, and stops)"
        )
    if options.print_ddl and PARQUET not in options.sink:
        raise InvalidOptionError(f"--print-ddl is of the tables of --sink {PARQUET}; name it")
    if options.save_as_table and (options.stream or PARQUET not in options.sink):
        raise InvalidOptionError(
            "--save-as-table is for a batch's tables; a stream's folders are tables by --print-ddl"
        )
    event_format(options)
    splits(options)
    if options.stream and not options.checkpoint:
        raise InvalidOptionError("--stream needs --checkpoint: where the stream's progress is kept")
    if options.stream and options.ending_offsets:
        raise InvalidOptionError("--ending-offsets is for a batch; a stream does not end")
    if options.checkpoint and not options.stream:
        raise InvalidOptionError("--checkpoint is for a stream; say --stream, or leave it out")
    if options.stream:
        flags.refuse_taken_port(options)


def main(argv: Sequence[str] | None = None) -> int:
    job = parser()
    return command_line.run_job(job.prog, run, job.parse_job(argv, check))


if __name__ == "__main__":
    sys.exit(main())
