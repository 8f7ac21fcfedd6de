"""Keys of objects, in batches: listed under a prefix of a store, or read from a list.

The driver holds a few batches of URIs at a time, however many there are: the next ones are listed
while executors work on the last. The objects themselves are fetched there, by ``fetch_object``.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyspark_vision.csv_format import RFC_4180
from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.object_store import FetchOptions
from pyspark_vision.executor.s3_clients import s3_client

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Lists of keys, by suffix, and Spark's readers for them.
_LISTS = {".txt": "text", ".csv": "csv", ".parquet": "parquet"}

# Batches that wait for the executors: one would do, two even out a slow page.
_BATCHES_AHEAD = 2

# Keys of a list that are collected at a time: some 5 MB in the driver.
_KEYS_PER_PIECE = 50_000


def is_prefix(keys: str) -> bool:
    """Whether ``--keys`` names a prefix to list, and not a file with a list of keys."""
    return keys.startswith(("s3://", "s3a://")) and PurePosixPath(keys).suffix not in _LISTS


def list_keys(prefix: str, options: FetchOptions) -> Iterator[str]:
    """``s3://bucket/key`` of every object under ``s3://bucket/prefix``, in the store's order.

    Page by page (1,000 keys each), as the iterator is used. Folder markers (keys that end with
    ``/``) are left out. Raises :class:`InvalidOptionError` where the prefix cannot be listed.
    """
    bucket, _, start = prefix.split("://", 1)[1].partition("/")
    try:
        from botocore.exceptions import BotoCoreError, ClientError

        pages = s3_client(options).get_paginator("list_objects_v2")
    except ImportError:
        raise MissingDependencyError(
            "listing keys needs boto3: pip install pyspark_vision[s3]"
        ) from None
    try:
        for page in pages.paginate(Bucket=bucket, Prefix=start):
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):
                    yield f"s3://{bucket}/{entry['Key']}"
    except (ClientError, BotoCoreError) as error:
        raise InvalidOptionError(f"cannot list {prefix}: {error}") from None


def read_keys(
    session: SparkSession, path: str, column: str | None = None, base: str | None = None
) -> Iterator[str]:
    """URIs of a list: text (one a line), CSV with a header, or Parquet, by the file's suffix.

    ``column``: of the CSV or Parquet (default: its only one). ``base``: what goes before entries
    that are no URIs (``s3://bucket/``). Raises :class:`InvalidOptionError` for another suffix, a
    column that is not there, and entries without a URI and without a ``base``.
    """
    kind = _LISTS.get(PurePosixPath(urlsplit(path).path.rstrip("/")).suffix)
    if kind is None:
        raise InvalidOptionError(
            f"--keys {path}: a list ends with {', '.join(_LISTS)}; a prefix begins with s3://"
        )
    reader = session.read.options(**RFC_4180) if kind == "csv" else session.read
    table = reader.format(kind).load(path)
    if column is None and len(table.columns) != 1:
        raise InvalidOptionError(
            f"--keys {path} has the columns {', '.join(table.columns)}: choose one"
        )
    name = column or table.columns[0]
    if name not in table.columns:
        raise InvalidOptionError(
            f"--keys {path} has no column {name}; it has {', '.join(table.columns)}"
        )
    for key in _collected_by_pieces(table.select(table[name].cast("string"))):
        entry = (key or "").strip()
        if not entry:
            continue
        if "://" in entry or entry.startswith("file:"):
            yield entry
        elif base is not None:
            yield base.rstrip("/") + "/" + entry.lstrip("/")
        else:
            raise InvalidOptionError(
                f"--keys {path}: {entry[:80]!r} is no URI; --keys-base says where it lies"
            )


def _collected_by_pieces(keys: DataFrame) -> Iterator[str | None]:
    """The values of the only column, a job for each piece: the driver holds one piece.

    Not ``toLocalIterator``: it keeps in the JVM what it has given, until its end, and a Parquet
    file of a million keys is one partition to it (docs/speed.md).
    """
    pieces = keys.repartition(max(1, math.ceil(keys.count() / _KEYS_PER_PIECE))).rdd
    for piece in range(pieces.getNumPartitions()):
        for row in keys.sparkSession.sparkContext.runJob(pieces, list, [piece]):
            yield row[0]


def in_batches(uris: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of at most ``size``; the next ones are made in a thread while the caller works."""
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
            while batch := list(itertools.islice(uris, size)):
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


def uri_frame(session: SparkSession, uris: list[str], partitions: int) -> DataFrame:
    """One row per URI, ``origin``, over so many partitions."""
    frame = session.createDataFrame([(uri,) for uri in uris], "origin string")
    return frame.repartition(max(1, min(partitions, len(uris))))
