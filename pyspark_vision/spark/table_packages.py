"""The packages of a table format by Spark's version, and what to say where one is missing."""

from __future__ import annotations

from collections.abc import Mapping

import pyspark


def package_for(packages: Mapping[str, str], version: str = pyspark.__version__) -> str | None:
    """The package for a Spark of this version (``4.1.4``); ``None`` where there is no release."""
    return packages.get(".".join(version.split(".")[:2]))


def missing(sink: str, name: str, packages: Mapping[str, str], version: str) -> str:
    """What brings the format to a Spark of this version, or that nothing does.

    >>> missing("iceberg", "Iceberg", {"4.1": "org.apache.iceberg:…"}, "4.2.0")
    '`sink` iceberg: Iceberg has no release for Spark 4.2.0; it has for 4.1. Use one of these, or another sink'
    """  # noqa: E501
    package = package_for(packages, version)
    if package is None:
        return (
            f"`sink` {sink}: {name} has no release for Spark {version}; it has for "
            f"{', '.join(packages)}. Use one of these, or another sink"
        )
    return (
        f"`sink` {sink}: this Spark has no {name}. Submit with --packages {package} "
        "(scripts/submit brings it by itself)"
    )
