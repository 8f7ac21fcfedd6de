"""Apache Iceberg in a session: the jar, and the catalog of tables that are folders."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyspark

from pyspark_vision.errors import MissingDependencyError
from pyspark_vision.spark import table_packages
from pyspark_vision.spark.java_errors import has_class

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CATALOG = "org.apache.iceberg.spark.SparkCatalog"

# By Spark's version; those of conf/ivy.xml. For 4.2 and 4.3 there is none (Iceberg 1.12.0).
PACKAGES = {
    "3.5": "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.11.0",
    "4.0": "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.11.0",
    "4.1": "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0",
}


def refuse_without(session: SparkSession) -> None:
    """Raise :class:`MissingDependencyError` if this session cannot write Iceberg tables."""
    if table_packages.package_for(PACKAGES) is None or not has_class(session, CATALOG):
        raise MissingDependencyError(missing(pyspark.__version__))


def missing(version: str) -> str:
    """What brings Iceberg to a Spark of this version, or that nothing does.

    >>> missing("4.2.0")
    '`sink` iceberg: Iceberg has no release for Spark 4.2.0; it has for 3.5, 4.0, 4.1. Use one of these, or another sink'
    """  # noqa: E501
    return table_packages.missing("iceberg", "Iceberg", PACKAGES, version)


def folder_catalog(session: SparkSession, warehouse: str) -> str:
    """The name of a catalog whose tables are the folders in ``warehouse`` (any Hadoop URI)."""
    name = f"pyspark_vision_{hashlib.sha256(warehouse.encode()).hexdigest()[:16]}"
    settings = {"": CATALOG, ".type": "hadoop", ".warehouse": warehouse, ".cache-enabled": "false"}
    for key, value in settings.items():
        session.conf.set(f"spark.sql.catalog.{name}{key}", value)
    return name
