"""A folder on HDFS or in a bucket has one owner, whoever comes at the same time."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from claims import owns_alone
from local_services.hdfs import Hdfs
from pyspark.sql import SparkSession

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import owner
from pyspark_vision.sinks.owner import Mark


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
