"""What is read out of the texts of errors, as they stood in logs; any other text is no such."""

from __future__ import annotations

import pytest

from pyspark_vision.spark import error_texts

# Delta Lake 4.4.0 on Spark 4.2.0, and Iceberg 1.12.0 on 4.1.
CONSTRAINT = (
    "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint likely (score > 0.5) violated by row "
    "with values:\n - score : 0.25\n\tat org.apache.spark.sql.delta"
)
# As Delta Lake 3.3.2's MetadataMismatchErrorBuilder words it; not from a log.
OTHER_COLUMNS = (
    "A schema mismatch detected when writing to the Delta table (Table ID: 7d).\n"
    "To enable schema migration using DataFrameWriter or DataStreamWriter, please set:"
)
APPENDED = (
    "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected. A concurrent INSERT"
)
VALIDATION = (
    "py4j.protocol.Py4JJavaError: An error occurred while calling o5.append.\n"
    ": org.apache.iceberg.exceptions.ValidationException: Invalid partition spec\n\tat x"
)
OTHER = "java.io.IOException: No space left on device"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (
            CONSTRAINT,
            "CHECK constraint likely (score > 0.5) violated by row with values: "
            "(DELTA_VIOLATE_CONSTRAINT_WITH_VALUES)",
        ),
        (
            OTHER_COLUMNS,
            "A schema mismatch detected when writing to the Delta table (Table ID: 7d). "
            "(DELTA_METADATA_MISMATCH)",
        ),
        ("[DELTA_TABLE_NOT_FOUND] \n", "DELTA_TABLE_NOT_FOUND (DELTA_TABLE_NOT_FOUND)"),
        (VALIDATION, "Invalid partition spec (ValidationException)"),
        (OTHER, None),
        ("", None),
    ],
)
def test_a_tables_refusal_has_its_reason_and_its_name(message: str, why: str | None) -> None:
    assert error_texts.table_refusal(message) == why


@pytest.mark.parametrize(
    ("message", "is_conflict"),
    [
        (APPENDED, True),
        ("io.delta.exceptions.ConcurrentModificationException: [DELTA_X] x", True),
        (CONSTRAINT, False),
        (OTHER, False),
        ("", False),
    ],
)
def test_a_commit_that_came_second_is_tried_again(message: str, is_conflict: bool) -> None:
    assert error_texts.delta_conflict(message) is is_conflict


@pytest.mark.parametrize(
    ("message", "is_gone"),
    [
        ("[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file a.parquet.", True),
        ("java.io.FileNotFoundException: File file:/a.parquet does not exist", True),
        (OTHER, False),
        ("", False),
    ],
)
def test_a_file_that_went_before_it_was_read_is_known(message: str, is_gone: bool) -> None:
    assert error_texts.file_gone(message) is is_gone


def test_an_object_that_another_made_meanwhile_is_known() -> None:
    refused = "com.google.api.client.googleapis.json.GoogleJsonResponseException: 412 Precondition"

    assert error_texts.made_by_another(f"{refused} Failed\nPUT https://storage.example/upload")
    assert not error_texts.made_by_another(OTHER)


# What str() of a StreamingQueryException says where the process of a Python source was killed:
# PySpark 4.0.5 and 4.2.0.
@pytest.mark.parametrize(
    ("cause", "is_gone"),
    [
        ("Broken pipe SQLSTATE: XXKST", True),
        ("null SQLSTATE: XXKST", True),
        ("Connection reset SQLSTATE: XXKST", True),
        (" SQLSTATE: XXKST", True),
        ("null SQLSTATE: XXKST\n=== Streaming Query ===", True),
        ("Job aborted: Broken pipe SQLSTATE: XXKST", False),
        ("nullable", False),
        ("", False),
        ("\nSQLSTATE: XXKST", False),
    ],
)
def test_a_source_whose_process_was_killed_is_known(cause: str, is_gone: bool) -> None:
    message = f"[STREAM_FAILED] Query [id = 3, runId = 6] terminated with exception: {cause}"

    said = error_texts.source_gone(message)

    assert (said is not None) is is_gone
    assert said is None or said.startswith("Pub/Sub: the source's Python process")


# Of PySpark 4.2.0, where the newest file of a log was empty.
@pytest.mark.parametrize(
    ("cause", "file"),
    [
        (
            "Failed to read log file file:/w/my c/offsets/2. Incomplete log file SQLSTATE: XXKST",
            "file:/w/my c/offsets/2,",
        ),
        (
            "Failed to read log file s3a://b/c/commits/1. Incomplete log file in the offset commit "
            "log SQLSTATE: XXKST",
            "s3a://b/c/commits/1,",
        ),
        ("Failed to read log file file:/c/offsets/2. Unknown version v9", None),
        ("", None),
    ],
)
def test_a_file_of_the_checkpoint_that_was_cut_short_is_named(cause: str, file: str | None) -> None:
    said = error_texts.cut_log(f"[STREAM_FAILED] Query terminated with exception: {cause}")

    assert (said is None) is (file is None)
    assert said is None or said.startswith(f"{file} a file of the checkpoint, was cut short")
