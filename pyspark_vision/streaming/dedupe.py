"""Frames that were looked at lately, so that identical ones of the same camera are left out.

What is remembered is a hash of each frame and the time of its batch, as Parquet in the stream's
checkpoint: ``seen_frames/batch_id=N`` is all that was known after batch N. A batch starts from what
the last committed one knew, so a replay leaves out the same rows.

Spark's ``dropDuplicatesWithinWatermark`` would have to stand before the batch, where nobody knows
yet which frames are looked at: it would leave out a frame because of one that was superseded or
failed. Besides, it drops in silence what is behind its watermark, forgets only when newer rows
come, and cannot be turned on or off on a checkpoint.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pyspark_vision.errors import DropReason, InvalidOptionError
from pyspark_vision.messages.planned_time import PLANNED
from pyspark_vision.sinks.parquet import parquet_sink
from pyspark_vision.spark.checkpoint_logs import last_batch
from pyspark_vision.spark.hadoop import delete, list_names, literal
from pyspark_vision.spark.internals import not_compiled
from pyspark_vision.spark.session import parallelism

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


# Columns that frames carry from `mark` to `remember`; no other sink shows them.
KEY = "frame_key"

_SEEN = f"{KEY} binary, seen_ms bigint"
_BATCH = "batch_id="


class SeenFrames:
    """The frames that a stream has looked at in the last ``seconds``, kept in its ``checkpoint``.

    For one run of one stream; ``mark`` and ``remember`` are called once for each batch, in this
    order. About 40 bytes a frame are read and written with each batch, and broadcast: meant for
    up to a million frames. Raises :class:`InvalidOptionError` for a time without an end.
    """

    def __init__(self, session: SparkSession, checkpoint: str, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise InvalidOptionError(
                f"frames are remembered for {seconds:g} seconds; it must be a number above 0, and "
                "not infinite: what is remembered would grow without a bound"
            )
        self._session = session
        self._checkpoint = checkpoint
        self._seconds = seconds
        self._folder = f"{checkpoint}/seen_frames"
        self._write = parquet_sink(session, self._folder)
        self._is_read = False
        self._newest: int | None = None

    def mark(self, frames: DataFrame) -> DataFrame:
        """:func:`mark_duplicates` with what was known after the batch before."""
        if not self._is_read:  # not in __init__: the checkpoint is ours once the stream runs
            self._newest = self._last_committed()
            self._is_read = True
        return mark_duplicates(frames, self._known(frames.sparkSession), self._seconds)

    def remember(self, results: DataFrame, batch_id: int) -> None:
        """A sink: the frames among the results are known from the next batch on.

        Failed ones are not, so that the same frame is tried again when it comes again.
        """
        looked_at = F.col("error").isNull() & F.col(KEY).isNotNull()
        new = results.where(looked_at).select(KEY, F.col(PLANNED).alias("seen_ms"))
        [(planned_ms,)] = new.agg(F.max("seen_ms")).collect()
        if planned_ms is None:
            return
        known = self._known(results.sparkSession)
        known = known.where(_is_recent(not_compiled(F.lit(planned_ms)), self._seconds))
        self._write(new.unionByName(known).coalesce(1), batch_id)
        # A replay of this batch, if it does not come to be committed, starts from the one before.
        self._remove_all_but(batch_id, self._newest)
        self._newest = batch_id

    def _known(self, session: SparkSession) -> DataFrame:
        if self._newest is None:
            nothing = F.lit(None).cast("binary").alias(KEY)
            return session.range(0).select(nothing, F.col("id").alias("seen_ms"))
        return session.read.schema(_SEEN).parquet(literal(f"{self._folder}/{_BATCH}{self._newest}"))

    def _last_committed(self) -> int | None:
        """The newest batch with a folder among those that Spark will not replay."""
        newest = last_batch(self._session, self._checkpoint, "commits")
        names = [name.removeprefix(_BATCH) for name in self._names()]
        folders = [int(name) for name in names if name.isdigit()]
        return max((number for number in folders if number <= newest), default=None)

    def _remove_all_but(self, *batch_ids: int | None) -> None:
        kept = {f"{_BATCH}{batch_id}" for batch_id in batch_ids}
        for name in self._names():
            if name not in kept:
                delete(self._session, f"{self._folder}/{name}")

    def _names(self) -> list[str]:
        return list_names(self._session, self._folder) or []


def mark_duplicates(frames: DataFrame, seen: DataFrame, seconds: float) -> DataFrame:
    """Set ``dropped`` to ``"duplicate"`` where the same camera has shown the very same picture.

    ``frames`` have ``origin, camera_id, timestamp, picture`` (``struct<content, error>``),
    ``value, dropped, planned_ms``; ``frame_key`` is added. ``seen`` are ``frame_key, seen_ms``,
    each key once. A duplicate is a frame with the bytes and the camera of one that was seen less
    than ``seconds`` before, or of an earlier one in this batch. Rows that are dropped already, have
    an error, no bytes or no camera are neither compared nor remembered. No row is removed;
    the ``value`` and the ``picture`` of duplicates become null.
    """
    content = F.col("picture.content")
    comparable = (
        F.col("dropped").isNull() & F.col("picture.error").isNull() & (F.length(content) > 0)
    )
    keyed = frames.withColumn(KEY, F.when(comparable, _key(content, F.col("camera_id"))))
    recent = F.broadcast(seen.select(F.col(KEY).alias("_seen_key"), "seen_ms"))
    matches = (F.col(KEY) == F.col("_seen_key")) & _is_recent(F.col(PLANNED), seconds)
    known = F.col("_seen_key").isNotNull()
    # Known pictures are not carried to the shuffle.
    compared = _without_picture(
        keyed.join(recent, matches, "left").withColumn("_known", known), known
    )
    # What does not compete stands alone: in one group it would be sorted by one task.
    competes = F.col(KEY).isNotNull() & ~F.col("_known")
    group = compared.withColumn("_group", F.when(competes, F.col(KEY))).withColumn(
        "_alone", F.when(~competes, F.col("origin"))
    )
    # The model runs behind this shuffle: on all cores, whatever spark.sql.shuffle.partitions is.
    spread = group.repartition(parallelism(frames.sparkSession), "_group", "_alone")
    places = [name for name in ("offset", "origin") if name in frames.columns]
    first = Window.partitionBy("_group", "_alone").orderBy(
        F.col("timestamp").asc_nulls_last(), *places
    )
    ranked = spread.withColumn("_rank", F.row_number().over(first))
    duplicate = F.col("_known") | (competes & (F.col("_rank") > 1))
    marked = ranked.withColumn(
        "dropped", F.when(duplicate, DropReason.DUPLICATE.value).otherwise(F.col("dropped"))
    )
    return _without_picture(marked, duplicate).select(*frames.columns, KEY)


def _without_picture(frames: DataFrame, where: Column) -> DataFrame:
    return frames.withColumns({name: F.when(~where, F.col(name)) for name in ("value", "picture")})


def _key(content: Column, camera: Column) -> Column:
    """32 bytes, whatever a message names its camera: two that differ would lose a frame."""
    picture = F.unhex(F.sha2(content, 256))
    return F.unhex(F.sha2(F.concat(picture, camera.cast("binary")), 256))


def _is_recent(planned_ms: Column, seconds: float) -> Column:
    # In both directions: of a clock that was set back nothing may be remembered for hours.
    return F.abs(planned_ms - F.col("seen_ms")) < F.lit(seconds * 1000)
