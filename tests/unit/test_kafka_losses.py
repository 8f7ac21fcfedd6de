"""What Spark's Kafka source says of lost records, in one line; and how many a batch has not got."""

from __future__ import annotations

import pytest

from pyspark_vision.spark.error_texts import lost_records

# As of spark-sql-kafka-0-10 4.2.0.
SAID = (
    "Some data may have been lost because they are not available in Kafka any more;\neither the "
    "data was aged out by Kafka or the topic may have been deleted before all the data in the\n"
    "topic was processed.\nReason: "
)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (
            "Could not read records in offset [3, 8) for topic partition frames-0\n"
            "with consumer group g.",
            "frames-0 has lost records, at least of the offsets 3..7. Go on",
        ),
        (
            "Partition frames-0 offset was changed from 3 to 6.\nThis could be either",
            "frames-0 has lost the offsets 3..5, by retention. Go on",
        ),
        (
            "Partition frames-0 offset was changed from 3 to 1.\nThis could be either",
            "frames-0 ends at offset 1 and was read up to 3: the topic was made anew, and",
        ),
        (
            "Added partition frames-1 starts from 5 instead of 0.",
            "frames-1 has lost the offsets 0..4, by retention. Go on",
        ),
        (
            "Partitions Set(frames-1) have been deleted.",
            "Set(frames-1) are gone with all that was not read of them. Go on",
        ),
        ("Something new.", "records are gone that were not read yet. Go on"),
    ],
)
def test_each_form_names_the_partition_and_the_offsets(reason: str, line: str) -> None:
    said = lost_records(SAID + reason)

    assert said is not None
    assert said.startswith(line)
    assert "`skip_lost` TOPIC" in said


def test_another_error_is_none() -> None:
    assert lost_records("disk full") is None
