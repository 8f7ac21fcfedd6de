"""The start of a job: its places are looked at before Spark starts, where that can be done."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyspark_vision.job.places import Place, Topic, refuse_overlaps, refuse_same_topics
from pyspark_vision.spark.hadoop import local_path, qualified
from pyspark_vision.spark.session import is_connect, job_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def refuse_mixed(places: Sequence[Place], topics: Sequence[Topic] = ()) -> None:
    """Raise :class:`InvalidOptionError` if a job writes where it reads, or two things to one place.

    As far as that can be told without Spark; it costs nothing, so it comes before all else.
    """
    refuse_overlaps(places)
    refuse_same_topics(topics)


def session_for(
    job: str,
    places: Sequence[Place],
    check: Callable[[SparkSession | None], object],
    *,
    writes_delta: bool = False,
) -> SparkSession:
    """The session of a job that writes where it may.

    ``places``: all that it reads and writes; the job has called :func:`refuse_mixed`, and they are
    compared again as Spark's file systems name them. ``check`` raises if what is written is
    another's. It is called once: before Spark starts, without a session, if all that is written is
    on this machine, or else with the session (not with one of Connect, which has no file system).
    ``writes_delta``: the session is one for Delta tables.

    Raises :class:`InvalidOptionError` if the job writes where it reads, or two things to one place.
    """
    is_checked = _are_on_this_machine(None, places)
    if is_checked:
        check(None)
    session = job_session(job, writes_delta=True) if writes_delta else job_session(job)
    if is_connect(session):
        return session
    refuse_overlaps(places, functools.partial(qualified, session))
    # A setting of Spark's may have another default file system.
    if not (is_checked and _are_on_this_machine(session, places)):
        check(session)
    return session


def _are_on_this_machine(session: SparkSession | None, places: Sequence[Place]) -> bool:
    return all(local_path(session, place.uri) is not None for place in places if place.is_written)
