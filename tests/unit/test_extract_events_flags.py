"""The flags of extract_events and what it refuses; what it does with messages is in services/."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def job(root: Path) -> Any:
    """The job script as a module; scripts are no package, as spark-submit sees them."""
    name = "extract_events"
    spec = importlib.util.spec_from_file_location(name, root / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_batch_reads_everything_and_extracts_the_courses_fields(job: Any) -> None:
    options = job.parser().parse_job(["--output", "out"])

    job.check(options)
    assert (options.starting_offsets, options.ending_offsets) == ("earliest", None)
    assert list(job.event_format(options).extracted) == [
        "Accept",
        "Host",
        "User-Agent",
        "Cache-Control",
        "event_type",
        "description",
        "metadata",
    ]
    assert job.splits(options) == {}
    assert options.trigger == "10 seconds"


def test_a_stream_starts_at_the_end_as_sparks_do_unless_it_is_told(job: Any) -> None:
    flags = ["--output", "out", "--stream", "--checkpoint", "c"]
    own, told = (
        job.parser().parse_job([*flags, *more]) for more in ((), ("--starting-offsets", "earliest"))
    )
    job.check(own)
    job.check(told)

    assert (own.starting_offsets, told.starting_offsets) == ("latest", "earliest")


def test_the_ddl_is_of_each_table_and_needs_no_spark(
    job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--print-ddl --output hdfs:///o'out --fields User-Agent group --split swords=a"

    code = job.main([*flags.split(), "--dead-letters", "/dead"])

    assert code == 0
    assert capsys.readouterr().out == "\n".join(
        f"""create external table if not exists `{name}` (
  `raw_event` string,
  `timestamp` timestamp,
  `User_Agent` string,
  `group` string,
  `event_type` string,
  `kafka_topic` string,
  `kafka_partition` int,
  `kafka_offset` bigint
)
stored as parquet
location 'hdfs:///o\\'out/{name}';
"""
        for name in ("extracted_events", "swords")
    )


def test_flags_may_be_repeated_and_the_last_of_a_name_counts(job: Any) -> None:
    flags = "--output out --set Host=moe Cache-Control=no-cache --set Host=a=b --set Accept= "
    splits = "--split hits=default swords=purchase_sword,purchased_sword --split hits=hit"

    options = job.parser().parse_job([*flags.split(), *splits.split()])

    assert job.event_format(options).replaced == {
        "Host": "a=b",
        "Cache-Control": "no-cache",
        "Accept": "",
    }
    assert job.splits(options) == {
        "hits": ("hit",),
        "swords": ("purchase_sword", "purchased_sword"),
    }


def test_the_example_configuration_is_read_and_flags_win(job: Any, root: Path) -> None:
    example = str(root / "conf" / "extract_events.toml")

    options = job.parser().parse_job(["--config", example, "--set", "Host=larry"])

    job.check(options)
    assert job.event_format(options).replaced == {"Host": "larry", "Cache-Control": "no-cache"}
    assert job.splits(options) == {
        "sword_purchases": ("purchase_sword", "purchased_sword"),
        "default_hits": ("default",),
    }
    assert options.stream is False


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--stream", "--stream needs --checkpoint"),
        ("--checkpoint c", "--checkpoint is for a stream"),
        ("--stream --checkpoint c --ending-offsets latest", "--ending-offsets is for a batch"),
        ("--set Host", "'Host' is not NAME=VALUE"),
        ("--set =moe", "'=moe' is not NAME=VALUE"),
        ("--set host=moe", "cannot set host"),
        ("--fields User-Agent User_Agent", "as is field User-Agent"),
        ("--split hits", "'hits' is not NAME=VALUE"),
        ("--split hits=", "an event type is empty"),
        ("--split hits=a,,b", "an event type is empty"),
        ("--split Extracted_Events=a", "--split Extracted_Events: a table's name"),
        ("--split hits=a HITS=b", "--split HITS: a table's name"),
        ("--split ../hits=a", "--split ../hits: a table's name"),
        ("--split _hits=a", "--split _hits: a table's name"),
        ("--sink console", "--output is for --sink parquet"),
        ("--save-as-table db --stream --checkpoint c", "--save-as-table is for a batch's tables"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(
    job: Any, flags: str, said: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as exit_:
        job.main(["--output", "out", *flags.split()])

    error = capsys.readouterr().err.splitlines()[-1]
    assert exit_.value.code == 2
    assert error.startswith("extract_events: error: ")
    assert said in error


def test_help_is_grouped(job: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        job.main(["--help"])

    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert exit_.value.code == 0
    assert headings == ["options:", "source:", "extraction:", "sink:", "stream:"]


@pytest.mark.parametrize("mode", ["", "--stream --checkpoint {}/checkpoint"])
def test_a_dry_run_prints_the_plan_needs_no_broker_and_writes_nothing(
    mode: str, spark: SparkSession, job: Any, tmp_path: Path, capfd: Any
) -> None:
    flags = f"--dry-run --kafka-servers 127.0.0.1:1 --output {tmp_path}/out {mode}"

    code = job.main(flags.format(tmp_path).split())

    printed = capfd.readouterr().out
    assert code == 0
    assert "extract_events would run with" in printed
    assert "from_json" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_batch_does_not_replace_what_is_no_table_of_its_own(
    spark: SparkSession, job: Any, tmp_path: Path, capsys: Any
) -> None:
    thesis = tmp_path / "out" / "swords" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("mine")
    flags = f"--kafka-servers 127.0.0.1:1 --output {tmp_path}/out --split swords=a"

    code = job.main(flags.split())

    assert code == 2
    assert "swords holds thesis.txt, which is not of such a job" in capsys.readouterr().err
    assert thesis.read_text() == "mine"


def test_a_batch_does_not_replace_a_streams_output(
    spark: SparkSession, job: Any, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "out" / "extracted_events" / "batch_id=0").mkdir(parents=True)

    code = job.main(f"--kafka-servers 127.0.0.1:1 --output {tmp_path}/out".split())

    assert code == 2
    assert "extracted_events holds batch_id=0" in capsys.readouterr().err


def test_a_stream_does_not_add_to_a_batchs_table(
    spark: SparkSession, job: Any, tmp_path: Path, capsys: Any
) -> None:
    spark.range(1).write.parquet(str(tmp_path / "out" / "extracted_events"))
    flags = f"--stream --checkpoint {tmp_path}/c --output {tmp_path}/out"

    code = job.main(["--kafka-servers", "127.0.0.1:1", *flags.split()])

    assert code == 2
    assert "extracted_events holds part-" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("", 2, "--sink parquet needs --output"),
        ("--sink console --split hits=a", 2, "--split is for --sink parquet"),
        ("--sink console --print-ddl", 2, "--print-ddl is of the tables of --sink parquet"),
        ("--print-ddl --output out", 2, "out/extracted_events is no absolute path or URI"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    job: Any, flags: str, code: int, said: str, capsys: Any
) -> None:
    try:
        ended = job.main(flags.split())
    except SystemExit as exit_:
        ended = exit_.code

    assert ended == code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_session_without_a_metastore_saves_no_tables(
    spark: SparkSession, job: Any, tmp_path: Path, capsys: Any
) -> None:
    flags = f"--kafka-servers 127.0.0.1:1 --output {tmp_path}/out --save-as-table default"

    assert job.main(flags.split()) == 2
    assert "this session has no metastore. Submit with --conf" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
