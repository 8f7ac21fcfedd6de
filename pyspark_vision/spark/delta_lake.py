"""Delta Lake in a session: the jar, and the settings that a session takes only when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyspark

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.spark import table_packages
from pyspark_vision.spark.java_errors import has_class

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXTENSIONS = "spark.sql.extensions"
EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "spark.sql.catalog.spark_catalog"

SETTINGS = {
    EXTENSIONS: EXTENSION,
    _CATALOG: "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Delta reads its log with a job of 50 tasks, as for a table of millions of files.
    "spark.databricks.delta.snapshotPartitions": "2",
}

# By Spark's version; those of conf/ivy.xml. For 4.3 there is none (Delta Lake 4.4.0).
PACKAGES = {
    "3.5": "io.delta:delta-spark_2.12:3.3.2",
    "4.0": "io.delta:delta-spark_4.0_2.13:4.4.0",
    "4.1": "io.delta:delta-spark_4.1_2.13:4.4.0",
    "4.2": "io.delta:delta-spark_4.2_2.13:4.4.0",
}


def refuse_without(session: SparkSession) -> None:
    """Raise if this session cannot write Delta tables, with what it lacks."""
    if not has_class(session, EXTENSION):
        raise MissingDependencyError(missing(pyspark.__version__))
    if EXTENSION not in (session.conf.get(EXTENSIONS, None) or ""):
        settings = " ".join(f"--conf {key}={SETTINGS[key]}" for key in (EXTENSIONS, _CATALOG))
        raise InvalidOptionError(
            f"`sink` delta: this session was made without Delta Lake's settings: {settings}"
        )


def missing(version: str) -> str:
    """What brings Delta Lake to a Spark of this version, or that nothing does.

    >>> missing("4.2.0").partition(": ")[2]
    'this Spark has no Delta Lake. Submit with --packages io.delta:delta-spark_4.2_2.13:4.4.0 (scripts/submit brings it by itself)'
    """  # noqa: E501
    return table_packages.missing("delta", "Delta Lake", PACKAGES, version)
