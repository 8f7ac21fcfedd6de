"""Hadoop's file systems, by which Spark reaches every store: local disks, HDFS, S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def hadoop_path(session: SparkSession, uri: str) -> tuple[Any, Any]:
    """(Hadoop file system of ``uri``, its path) in the JVM."""
    jvm: Any = session.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(uri)
    conf = session._jsc.hadoopConfiguration()
    return path.getFileSystem(conf), path
