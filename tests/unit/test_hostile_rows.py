"""Every hostile file among good ones, 1,000 rows: each row stands on its own."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.errors import ErrorCode
from pyspark_vision.executor.decode.formats import ALLOWED_FORMATS
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.functions import classify_image

ROWS = 1000
LIMIT_S = 1.0
LIMIT_MB = 300


def files_of(shared_data: Path) -> list[Path]:
    hostile = sorted((shared_data / "hostile").iterdir())
    return hostile + sorted((shared_data / "pngsuite" / "png").glob("*.png"))


def test_each_of_1000_rows_gets_its_own_result_or_reason(
    spark: SparkSession, shared_data: Path, classifier: ModelSpec
) -> None:
    files = files_of(shared_data)
    good = sorted((shared_data / "exif").glob("*.jpg"))
    names = [str(file) for file in files] * 2
    names += [str(good[i % len(good)]) for i in range(ROWS - len(names))]
    random.Random(1).shuffle(names)
    content = {name: Path(name).read_bytes() for name in set(names)}
    # What a row must be is decided by its own bytes alone, outside Spark.
    expected: dict[str, str | None] = {}
    for name, data in content.items():
        try:
            decode(data, DecodeOptions(), classifier.input_hw)
            expected[name] = None
        except RowError as error:
            expected[name] = error.code.value
    rows = [(i, name, content[name]) for i, name in enumerate(names)]
    df = spark.createDataFrame(rows, "id int, name string, content binary").repartition(4)

    found = df.select("id", "name", classify_image("content", classifier).alias("r")).collect()

    assert sorted(row["id"] for row in found) == list(range(ROWS))
    assert {row["name"] for row in found} == set(names)
    for row in found:
        failure = row["r"]["error"]
        assert (failure and failure["code"]) == expected[row["name"]], row["name"]
        assert row["name"] == names[row["id"]]
        assert failure is None or (failure["code"] in list(ErrorCode) and failure["message"])
        assert (row["r"]["predictions"] is None) == (failure is not None)
    results = {(row["name"], str(row["r"])) for row in found}
    assert len(results) == len(set(names)), "the same bytes gave different results"
    assert sum(code is not None for code in expected.values()) > 20


@pytest.mark.parametrize("formats", [None, ALLOWED_FORMATS])
def test_no_hostile_file_takes_long_or_much(
    formats: tuple[str, ...] | None, shared_data: Path
) -> None:
    options = DecodeOptions(formats=formats) if formats else DecodeOptions()
    slow = []
    for file in files_of(shared_data):
        data = file.read_bytes()
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.process_time()
        try:
            decode(data, options)
        except RowError:
            pass
        took_s = time.process_time() - started
        grew_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb
        if took_s > LIMIT_S or grew_mb > LIMIT_MB:
            slow.append((file.name, took_s, grew_mb))

    assert slow == []
