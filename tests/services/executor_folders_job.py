"""A job that prints the folder in which each of two executors works, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pyspark.sql import SparkSession


def folder(rows: Iterable[int]) -> Iterator[str]:
    yield os.getcwd()


spark = SparkSession.builder.getOrCreate()
# A barrier stage runs all its tasks at once: with one core each, on two executors.
for line in spark.sparkContext.parallelize(range(2), 2).barrier().mapPartitions(folder).collect():
    print(line)
spark.stop()
