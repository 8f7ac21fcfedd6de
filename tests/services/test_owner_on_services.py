"""A folder on HDFS or in a bucket has one owner, whoever comes at the same time."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from local_services.hdfs import Hdfs
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark
from pyspark_vision.spark.hadoop import list_names


def outcomes_of_four(spark: SparkSession, folder: str) -> tuple[list[str], list[str]]:
    """(owners that won, what the others were told) of four that claim a folder at once."""
    won: list[str] = []
    refused: list[str] = []
    barrier = threading.Barrier(4)

    def come(number: int) -> None:
        mark = Mark("stream_detect", "parquet", f"id-{number}", f"/checkpoints/{number}")
        barrier.wait()
        try:
            won.append(owner.claim(spark, folder, mark, "--output", adopts=False).owner)
        except InvalidOptionError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, refused


def owns_alone(spark: SparkSession, folder: str) -> None:
    won, refused = outcomes_of_four(spark, folder)

    there = owner.read_mark(spark, folder)
    assert there is not None
    assert won == [there.owner]
    assert len(refused) == 3
    assert all("belongs to stream_detect" in said for said in refused)
    assert list_names(spark, folder) == ["_job"]
    with pytest.raises(InvalidOptionError, match="belongs to stream_detect"):
        owner.claim(spark, folder, Mark("batch_embed", "vectors"), "--output", adopts=True)


def test_on_hdfs_one_of_four_owns_the_folder(spark: SparkSession, hdfs: Hdfs) -> None:
    owns_alone(spark, f"{hdfs.fs_uri}/{uuid.uuid4().hex}/out [1]")


def test_in_a_bucket_one_of_four_owns_the_folder(
    spark: SparkSession, s3_client: Any, bucket: str
) -> None:
    owns_alone(spark, f"s3a://{bucket}/out [1]")


def test_in_a_bucket_what_bears_no_mark_is_refused(
    spark: SparkSession, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="pictures/a.jpg", Body=b"mine")
    mark = Mark("stream_detect", "parquet", "id")

    with pytest.raises(InvalidOptionError, match="holds a.jpg"):
        owner.claim(spark, f"s3a://{bucket}/pictures", mark, "--output", adopts=False)
    with pytest.raises(InvalidOptionError, match="holds pictures"):
        owner.claim(spark, f"s3a://{bucket}", mark, "--output", adopts=False)
