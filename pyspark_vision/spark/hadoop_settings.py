"""Hadoop's settings (``fs.s3a.endpoint``) of a session, and who has made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark_vision.spark.internals import hadoop_configuration

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def hadoop_setting(session: Any, name: str) -> str | None:
    """A Hadoop setting of the session, or ``None``.

    Under Connect the server's own files (core-site.xml) are out of sight: only what was given as
    ``spark.hadoop.<name>`` is known here.
    """
    from pyspark_vision.spark.session import is_connect  # imports PySpark, which may be missing

    if is_connect(session):
        setting: str | None = session.conf.get(f"spark.hadoop.{name}", None)
    else:
        setting = hadoop_configuration(session).get(name)
    return setting


def set_by(session: SparkSession, name: str) -> str | None:
    """Who has made a setting: a file (``core-site.xml``), or a word of Spark's or Hadoop's.

    ``None``: nobody has, and it is Hadoop's own default, or none.
    """
    sources = list(hadoop_configuration(session).getPropertySources(name) or [])
    return None if not sources or sources[-1].endswith("-default.xml") else str(sources[-1])


def set_missing(session: SparkSession, settings: dict[str, str]) -> None:
    """Make settings that nobody has made (:func:`set_by`)."""
    conf = hadoop_configuration(session)
    for name, value in settings.items():
        if set_by(session, name) is None:
            conf.set(name, value)


def set_as_bytes(session: SparkSession, name: str) -> None:
    """Spell a size with a suffix (``64m``) as a number of bytes, for who cannot read suffixes."""
    conf = hadoop_configuration(session)
    if conf.get(name) is not None:
        conf.setLong(name, conf.getLongBytes(name, 0))
