"""What is written as CSV is read alike by five readers, and by the jobs that go on from it."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from pyspark.sql import SparkSession

from pyspark_vision.job import batch_rows
from pyspark_vision.sinks.csv import csv_sink, wide
from pyspark_vision.sinks.csv_format import RFC_4180
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.sources.object_keys import read_keys

TEXTS = {
    "quotes": 'a "quoted" word',
    "all in quotes": '"whole"',
    "a quote": '"',
    "quote and comma": 'a",b',
    "comma": "a,b",
    "line feed": "two\nlines",
    "carriage return": "two\rlines",
    "both": "two\r\nlines\r\n",
    "leading blanks": "  in front",
    "trailing blanks": "behind\t ",
    "blanks": "   ",
    "backslash": "C:\\photos\\",
    "backslash and quote": '\\"mixed\\"',
    "backslash and comma": "a\\,b",
    "number sign": "#1",
    "not ASCII": "Bär 猫 🐈 \u2028 \u0085",
    "word for null": "null",
    "apostrophes": "'one'",
    "number": "007",
}
# Column names that need quotes themselves.
HEADER = ['la"bel', "id", "score, best", " blank "]


@pytest.fixture(scope="module")
def file(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One CSV file of all texts, an empty one and a null."""
    folder = tmp_path_factory.mktemp("csv")
    texts = [*TEXTS.values(), "", None]
    rows = [(text, number, number / 4, None) for number, text in enumerate(texts)]
    schema = "label string, id int, score double, none string"
    csv_sink(spark, str(folder))(spark.createDataFrame(rows, schema).toDF(*HEADER).coalesce(1), 0)
    (found,) = folder.glob("batch_id=0/part-*.csv")
    return found


def expected(empty: Any, null: Any) -> list[tuple[Any, ...]]:
    texts = [*TEXTS.values(), empty, null]
    return [(text, number, number / 4, null) for number, text in enumerate(texts)]


def test_pythons_csv_reads_what_was_written(file: Path) -> None:
    with file.open(newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines, strict=True)
    assert header == HEADER
    assert [(a, int(b), float(c), d) for a, b, c, d in rows] == expected("", "")


def test_pandas_reads_what_was_written(file: Path) -> None:
    table = pd.read_csv(file, keep_default_na=False, dtype={HEADER[0]: str})
    assert list(table.columns) == HEADER
    assert list(table.itertuples(index=False, name=None)) == expected("", "")


def test_pyarrow_reads_what_was_written_and_tells_empty_from_null(file: Path) -> None:
    table = pyarrow.csv.read_csv(
        file,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={HEADER[0]: pa.string(), HEADER[3]: pa.string()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    assert table.column_names == HEADER
    assert [tuple(row.values()) for row in table.to_pylist()] == expected("", None)


def test_duckdb_reads_what_was_written_and_tells_empty_from_null(file: Path) -> None:
    options = "header=true, all_varchar=true, allow_quoted_nulls=false, hive_partitioning=false"
    relation: Any = duckdb.sql(f"SELECT * FROM read_csv('{file}', {options})")
    assert relation.columns == [name.strip() for name in HEADER]
    found = [(a, int(b), float(c), d) for a, b, c, d in relation.fetchall()]
    assert found == expected("", None)


def test_spark_reads_what_was_written_and_tells_empty_from_null(
    file: Path, spark: SparkSession
) -> None:
    # Without nullValue Spark takes an empty text for null.
    reader = spark.read.options(**RFC_4180).option("nullValue", "\0")
    table = reader.csv(str(file))
    assert table.columns == HEADER
    found = [(row[0], int(row[1]), float(row[2]), row[3]) for row in table.collect()]
    assert found == expected("", None)


def listed(origin: str) -> ListedFile:
    return ListedFile(origin, origin)


def test_a_resumed_csv_job_finds_the_rows_of_every_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    names = [f"s3://b/{text}" for text in TEXTS.values()]
    rows = [(name, text, [0.5, 1.5]) for name, text in zip(names, TEXTS.values(), strict=True)]
    frame = spark.createDataFrame(rows, "origin string, label string, embedding array<float>")
    csv_sink(spark, str(tmp_path))(wide(frame, 2).coalesce(1), 4)

    rows_there = batch_rows.read_rows(spark, str(tmp_path), "csv")
    files = [listed(name) for name in [*names, "s3://b/new"]]
    split = batch_rows.split(spark, files, rows_there, frozenset())

    assert rows_there.next_batch == 5
    assert [file.origin for file in split.new] == ["s3://b/new"]
    assert (split.were_there, split.again, split.duplicates) == (len(names), [], 0)


def test_a_resumed_csv_job_finds_its_rows_of_long_vectors(
    spark: SparkSession, tmp_path: Path
) -> None:
    # VGG's last convolutions have 25,088 numbers; Spark's CSV reader ends at 20,480 columns.
    (tmp_path / "batch_id=0").mkdir()
    numbers = range(25_088)
    lines = [["origin", "label", *(f"x{i}" for i in numbers)], ["file:/a", "l", *map(str, numbers)]]
    text = "".join(",".join(line) + "\n" for line in lines)
    (tmp_path / "batch_id=0" / "part-0.csv").write_text(text)

    rows_there = batch_rows.read_rows(spark, str(tmp_path), "csv")
    split = batch_rows.split(spark, [listed("file:/a")], rows_there, frozenset())

    assert rows_there.next_batch == 1
    assert (split.new, split.were_there) == ([], 1)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
def test_a_list_of_keys_is_read_as_other_programs_write_csv(
    line_end: str, mark: str, spark: SparkSession, tmp_path: Path
) -> None:
    # Where rows end with CR LF, Spark reads that as LF in a value, too.
    texts = [text for text in TEXTS.values() if line_end == "\n" or "\r\n" not in text]
    keys = [f"s3://b/{text.strip()}.jpg" for text in texts]
    path = tmp_path / "keys.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(mark)
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerows([["key", "caption"], *([key, 'a "caption",\nin lines'] for key in keys)])

    found = read_keys(spark, str(path), Tally(), "key")
    assert sorted(file.origin for file in found) == sorted(keys)


def test_numbers_are_written_without_quotes(file: Path) -> None:
    line = next(line for line in file.read_text("utf-8").split("\n") if re.match("a\\\\", line[1:]))
    assert line.endswith(",13,3.25,")
