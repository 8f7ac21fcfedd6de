"""What is there: the batches of an output, and what their Parquet files say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.hadoop import hadoop_path
from pyspark_vision.streaming.compaction.plan import Batch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BATCH = re.compile(r"batch_id=(\d+)")
_HIDDEN = ("_", ".")

# A footer takes two short reads, and the driver waits for most of their time.
_FOOTERS_AT_ONCE = 8


@dataclass(frozen=True)
class Contents:
    """What the footers of some files say.

    ``schema`` is Parquet's, with each column optional, since Spark writes it so whatever it read.
    ``codec`` is as Spark's option ``compression`` has it, ``None`` without rows.
    """

    rows: int
    schema: str
    codec: str | None


def list_batches(session: SparkSession, output: str) -> list[Batch]:
    """The batches of an output folder (any Hadoop URI), by their numbers.

    Raises :class:`InvalidOptionError` if one holds anything but Parquet files.
    """
    file_system, root = hadoop_path(session, output)
    found = []
    for status in file_system.listStatus(root):
        if name := _BATCH.fullmatch(status.getPath().getName()):
            found.append(_batch(file_system, status.getPath(), int(name.group(1))))
    return sorted(found, key=lambda batch: batch.batch_id)


def _batch(file_system: Any, folder: Any, batch_id: int) -> Batch:
    statuses = [
        status
        for status in file_system.listStatus(folder)
        if not status.getPath().getName().startswith(_HIDDEN)
    ]
    for status in statuses:
        if status.isDirectory() or not status.getPath().getName().endswith(".parquet"):
            raise InvalidOptionError(
                f"{status.getPath()} is not a Parquet file: only outputs of --sink parquet, and "
                "folders of dead letters, can be compacted"
            )
    return Batch(
        batch_id,
        str(folder),
        tuple(str(status.getPath()) for status in statuses),
        sum(status.getLen() for status in statuses),
        max((status.getModificationTime() for status in statuses), default=0),
    )


def read_contents(session: SparkSession, batches: Iterable[Batch]) -> dict[int, Contents]:
    """What each batch holds, by its number; nothing for a batch without files.

    Raises :class:`InvalidOptionError` if the files of one batch have different columns.
    """
    with_files = [batch for batch in batches if batch.files]
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        found = list(pool.map(lambda batch: _contents(session, batch), with_files))
    return {batch.batch_id: contents for batch, contents in zip(with_files, found, strict=True)}


def _contents(session: SparkSession, batch: Batch) -> Contents:
    footers = [_footer(session, file) for file in batch.files]
    if len({footer.schema for footer in footers}) > 1:
        raise InvalidOptionError(f"the files of {batch.folder} have different columns")
    codecs = [footer.codec for footer in footers if footer.codec]
    rows = sum(footer.rows for footer in footers)
    return Contents(rows, footers[0].schema, codecs[0] if codecs else None)


def _footer(session: SparkSession, file: str) -> Contents:
    jvm: Any = session.sparkContext._jvm
    _, path = hadoop_path(session, file)
    parquet = jvm.org.apache.parquet.hadoop
    try:
        opened = parquet.util.HadoopInputFile.fromPath(path, session._jsc.hadoopConfiguration())
        reader = parquet.ParquetFileReader.open(opened)
    except Py4JJavaError as error:
        raise InvalidOptionError(f"{file} cannot be read: {error.java_exception}") from None
    try:
        schema = reader.getFileMetaData().getSchema().toString()
        blocks = reader.getFooter().getBlocks()
        codec = blocks[0].getColumns()[0].getCodec().name().lower() if len(blocks) else None
        return Contents(reader.getRecordCount(), re.sub(r"\brequired ", "optional ", schema), codec)
    finally:
        reader.close()
