"""A job of two tasks that run at once; it prints the folder each of them works in, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pyspark.sql import SparkSession


def folder(rows: Iterable[int]) -> Iterator[str]:
    yield os.getcwd()


spark = SparkSession.builder.getOrCreate()
# A barrier stage starts all its tasks or none: with one core each, it takes two executors.
for line in spark.sparkContext.parallelize(range(2), 2).barrier().mapPartitions(folder).collect():
    print(line)
spark.stop()
