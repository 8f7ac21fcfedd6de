"""Keys of objects, in batches: listed under a prefix of a store, or read from a list.

The driver holds a few batches of URIs at a time, however many there are: the next ones are listed
while executors work on the last. The objects themselves are fetched there, by ``fetch_object``.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.sinks.csv_format import RFC_4180
from pyspark_vision.sources import bucket_listing
from pyspark_vision.sources.file_names import LeftOut, Names
from pyspark_vision.sources.listed_files import ListedFile, Tally, key_column
from pyspark_vision.spark.hadoop import literal, local_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

T = TypeVar("T")

_STORES = ("s3://", "s3a://", "gs://")
_FILE = "origin string, uri string"

# Lists of keys, by suffix, and Spark's readers for them.
_LISTS = {".txt": "text", ".csv": "csv", ".parquet": "parquet"}

# Batches that wait for the executors: one would do, two even out a slow page.
_BATCHES_AHEAD = 2

# Keys of a list that are collected at a time: some 5 MB in the driver.
_KEYS_PER_PIECE = 50_000


def is_prefix(keys: str) -> bool:
    """Whether ``--keys`` names a prefix to list, and not a file with a list of keys."""
    return keys.startswith(_STORES) and PurePosixPath(keys).suffix not in _LISTS


def check_before_spark(keys: str) -> None:
    """Raise :class:`InvalidOptionError` for a list that is none, or is not on this machine."""
    if is_prefix(keys):
        return
    _kind(keys)
    local = local_path(None, keys)
    if local is not None and not local.exists():
        raise InvalidOptionError(f"`keys` {keys} does not exist: name a list or a prefix")


def list_keys(
    prefix: str, options: FetchOptions, names: Names, tally: Tally
) -> Iterator[ListedFile]:
    """Every object under ``s3://bucket/prefix`` (or ``s3a://``, ``gs://``), in the store's order.

    Page by page (1,000 keys each), as the iterator is used. Folder markers (empty, with a key that
    ends with ``/``) are no objects. Raises :class:`InvalidOptionError` where the prefix cannot be
    listed.
    """
    scheme, _, place = prefix.partition("://")
    bucket = place.partition("/")[0]
    for listed in bucket_listing.objects_below(prefix, options):
        if listed.key.endswith("/") and not listed.size:
            continue
        if not tally.takes(names, listed.key.rpartition("/")[2]):
            continue
        uri = f"{scheme}://{bucket}/{listed.key}"
        yield ListedFile(uri, uri, listed.size, listed.modified_ms)


def list_object(uri: str, options: FetchOptions, tally: Tally) -> Iterator[ListedFile]:
    """The object of this very key, if it is there."""
    for file in list_keys(uri, options, Names("*"), Tally()):
        if file.uri == uri:
            tally.seen += 1
            yield file
        return


def _kind(path: str) -> str:
    kind = _LISTS.get(PurePosixPath(urlsplit(path).path.rstrip("/")).suffix)
    if kind is None:
        raise InvalidOptionError(
            f"`keys` {path}: a list ends with {', '.join(_LISTS)}; a prefix begins with s3:// or "
            "gs://"
        )
    return kind


def read_keys(
    session: SparkSession,
    path: str,
    tally: Tally,
    column: str | None = None,
    base: str | None = None,
) -> Iterator[ListedFile]:
    """URIs of a list: text (one a line), CSV with a header, or Parquet, by the file's suffix.

    ``column``: of the CSV or Parquet (default: its only one). ``base``: what goes before entries
    that are no URIs (``s3://bucket/``). A key that stands there twice, in whatever spelling, comes
    once; blank entries are none. Raises :class:`InvalidOptionError` for another suffix, a column
    that is not there, and entries without a URI and without a ``base``.
    """
    kind = _kind(path)
    reader = session.read.options(**RFC_4180) if kind == "csv" else session.read
    table = reader.format(kind).load(literal(path))
    if column is None and len(table.columns) != 1:
        raise InvalidOptionError(
            f"`keys` {path} has the columns {', '.join(table.columns)}: choose one"
        )
    name = column or table.columns[0]
    if name not in table.columns:
        raise InvalidOptionError(
            f"`keys` {path} has no column {name}; it has {', '.join(table.columns)}"
        )
    entry = F.regexp_replace(table[name].cast("string"), r"^\s+|\s+$", "")
    keys = table.select(entry.alias("key")).where(F.length("key") > 0)
    is_uri = F.col("key").contains("://") | F.col("key").startswith("file:")
    if base is None:
        odd = keys.where(~is_uri).first()
        if odd is not None:
            raise InvalidOptionError(
                f"`keys` {path}: {odd.key[:80]!r} is no URI; `keys_base` says where it lies"
            )
    below = F.concat(F.lit((base or "").rstrip("/") + "/"), F.regexp_replace("key", "^/+", ""))
    uris = keys.select(F.when(is_uri, F.col("key")).otherwise(below).alias("uri"))
    once = uris.groupBy(key_column(F.col("uri")).alias("place")).agg(
        F.min("uri").alias("uri"), F.count("*").alias("times")
    )
    for uri, times in _collected_by_pieces(once.select("uri", "times")):
        tally.seen += times
        if times > 1:
            tally.leave_out(LeftOut.DUPLICATE_KEY, times - 1)
        yield ListedFile(uri, uri)


def _collected_by_pieces(keys: DataFrame) -> Iterator[Row]:
    """The rows, a job for each piece: the driver holds one piece.

    Not ``toLocalIterator``: it keeps in the JVM what it has given, until its end, and a Parquet
    file of a million keys is one partition to it (benchmarks/NOTES.md).
    """
    pieces = keys.repartition(max(1, math.ceil(keys.count() / _KEYS_PER_PIECE))).rdd
    for piece in range(pieces.getNumPartitions()):
        yield from keys.sparkSession.sparkContext.runJob(pieces, list, [piece])


def in_batches(
    items: Iterator[T],
    size: int,
    *,
    first: int | None = None,
    most_bytes: int | None = None,
    bytes_of: Callable[[T], int] = lambda item: 0,
) -> Iterator[list[T]]:
    """Lists of at most ``size``; the next ones are made in a thread while the caller works.

    The first list has at most ``first``, each later one at most twice as many as the last. A list
    is cut before it has more than ``most_bytes``.
    """
    ready: queue.Queue[Any] = queue.Queue(_BATCHES_AHEAD)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for batch in batches_of(items, size, first or size, most_bytes, bytes_of):
                if not put(batch):
                    return
            put(None)
        # Whatever stops the listing must stop the job, in the caller's thread.
        except BaseException as error:
            put(error)

    threading.Thread(target=fill, name="list-keys", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()


def batches_of(
    items: Iterator[T],
    size: int,
    first: int,
    most_bytes: int | None,
    bytes_of: Callable[[T], int],
) -> Iterator[list[T]]:
    """The lists of :func:`in_batches`."""
    limit, batch, total = min(first, size), list[T](), 0
    for item in items:
        weight = bytes_of(item)
        if batch and most_bytes is not None and total + weight > most_bytes:
            yield batch
            limit, batch, total = min(2 * limit, size), [], 0
        batch.append(item)
        total += weight
        if len(batch) == limit:
            yield batch
            limit, batch, total = min(2 * limit, size), [], 0
    if batch:
        yield batch


def file_frame(session: SparkSession, files: Sequence[ListedFile], partitions: int) -> DataFrame:
    """One row per file, ``origin`` and ``uri``, over so many partitions."""
    frame = session.createDataFrame([(file.origin, file.uri) for file in files], _FILE)
    return frame.repartition(max(1, min(partitions, len(files))))
