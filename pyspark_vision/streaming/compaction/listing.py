"""What is there: the batches of an output, and what their Parquet files say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.spark.hadoop import hadoop_path, statuses
from pyspark_vision.spark.internals import JavaError, hadoop_configuration, java_exception, jvm
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
    found = []
    for entry in statuses(session, output):
        if name := _BATCH.fullmatch(entry.name):
            found.append(_batch(session, entry.uri, int(name.group(1))))
    return sorted(found, key=lambda batch: batch.batch_id)


def _batch(session: SparkSession, folder: str, batch_id: int) -> Batch:
    files = [file for file in statuses(session, folder) if not file.name.startswith(_HIDDEN)]
    for file in files:
        if file.is_folder or not file.name.endswith(".parquet"):
            raise InvalidOptionError(
                f"{file.uri} is not a Parquet file: only outputs of --sink parquet, and "
                "folders of dead letters, can be compacted"
            )
    return Batch(
        batch_id,
        folder,
        tuple(file.uri for file in files),
        sum(file.size for file in files),
        max((file.modified_ms for file in files), default=0),
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
    _, path = hadoop_path(session, file)
    parquet = jvm(session).org.apache.parquet.hadoop
    try:
        opened = parquet.util.HadoopInputFile.fromPath(path, hadoop_configuration(session))
        reader = parquet.ParquetFileReader.open(opened)
    except JavaError as error:
        raise InvalidOptionError(f"{file} cannot be read: {java_exception(error)}") from None
    try:
        schema = reader.getFileMetaData().getSchema().toString()
        blocks = reader.getFooter().getBlocks()
        codec = blocks[0].getColumns()[0].getCodec().name().lower() if len(blocks) else None
        return Contents(reader.getRecordCount(), re.sub(r"\brequired ", "optional ", schema), codec)
    finally:
        reader.close()
