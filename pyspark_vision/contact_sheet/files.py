"""Find and read the Parquet that a contact sheet is made from; pyarrow only, no Spark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pyspark_vision.errors import InvalidOptionError

RESULT_FIELDS = {
    "detections": "detect",
    "predictions": "classify",
    "segments": "segment",
    "poses": "keypoints",
    "lines": "ocr",
    "embedding": "embed",
}
SCORED_FIELDS = {"class_id", "label", "score"}
BOX_FIELDS = SCORED_FIELDS | {"xmin", "ymin", "xmax", "ymax"}
LINE_FIELDS = {"text", "score", "corners"}
OTHER_FIELDS = ("width", "height", "model", "model_sha256", "model_digest", "error")
SOURCE_COLUMNS = ("content",)
ANNOTATED_COLUMNS = ("annotated", "image")
BUFFER_BYTES = 1 << 20


class ContactSheetError(InvalidOptionError):
    """A mistake of the caller: names the value, the rule and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where a Parquet schema keeps what the sheet shows."""

    task: str  # as of a model
    items: str  # the field that holds the result
    struct: str | None  # the column that holds the fields, None where they are columns
    fields: frozenset[str]  # what stands beside the result: width, height, model, error, ...
    columns: tuple[str, ...]  # what the first pass reads
    pictures: tuple[str, ...]  # binary columns, the best first

    def field(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        """One field of the row contract; all null where the schema lacks it."""
        if name not in self.fields:
            return pa.nulls(batch.num_rows)
        if self.struct is None:
            return batch.column(name)
        return pc.struct_field(batch.column(self.struct), name)


@dataclass(frozen=True)
class ResultFile:
    """One Parquet file and where in it the results are."""

    path: Path
    layout: Layout
    group_rows: tuple[int, ...]  # rows of each row group

    def batches(
        self, columns: Sequence[str], rows: int, groups: Sequence[int] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of some columns, with text as bytes: it may be text that is not UTF-8."""
        # Through pyarrow.dataset a row group stays in memory as a whole: 1,000 MB where this
        # takes 190 for 400 pictures of 1 MB (pyarrow 26).
        try:
            with pq.ParquetFile(self.path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
                for batch in file.iter_batches(rows, groups, list(columns), use_threads=False):
                    types = [_text_as_bytes(column.type) for column in batch.schema]
                    pairs = zip(batch.columns, types, strict=True)
                    arrays = [array.cast(kind) for array, kind in pairs]
                    yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from error


def open_results(results: Path) -> list[ResultFile]:
    """Open a Parquet file, or all of those in a folder and its subfolders, in natural order.

    Names that begin with `_` or `.` are left out, as Spark does; at least one file comes back.
    Raises ContactSheetError where there is nothing to read or files hold results of two tasks.
    """
    if not results.exists():
        raise ContactSheetError(
            f"RESULTS={str(results)!r} does not exist: name the folder of Parquet files that a job "
            "wrote (a local one; copy it here first if it lies in an object store or HDFS)"
        )
    paths = [results] if results.is_file() else _parquet_files(results)
    if not paths:
        raise ContactSheetError(
            f"RESULTS={str(results)!r} holds no *.parquet file: name the folder that the job wrote "
            "its results to, and check that the job has finished a batch"
        )
    files = [_open_file(path) for path in paths]
    for file in files:
        if file.layout.task != files[0].layout.task:
            raise ContactSheetError(
                f"RESULTS={str(results)!r} mixes tasks: {files[0].path.name} holds "
                f"{files[0].layout.items}, {file.path.name} holds {file.layout.items}; make a "
                "sheet of each alone"
            )
    return files


def find_layout(schema: pa.Schema, source: Path) -> Layout:
    """Find the result by its fields: a column of the row contract, or a struct that has one.

    The first one in the schema counts. Raises ContactSheetError naming the columns found.
    """
    for column in schema:
        if pa.types.is_struct(column.type):
            inner = list(column.type)
            result_fields, struct = [part for part in inner if _is_result(part)], column.name
        else:
            inner = list(schema)
            result_fields, struct = [column] if _is_result(column) else [], None
        if result_fields:
            fields = frozenset(part.name for part in inner)
            wanted = (
                [struct] if struct else [result_fields[0].name, *fields.intersection(OTHER_FIELDS)]
            )
            if "origin" in schema.names:
                wanted.append("origin")
            return Layout(
                task=RESULT_FIELDS[result_fields[0].name],
                items=result_fields[0].name,
                struct=struct,
                fields=fields,
                columns=tuple(dict.fromkeys(wanted)),
                pictures=tuple(_picture_columns(schema)),
            )
    columns = ", ".join(f"{column.name}: {column.type}" for column in schema) or "none"
    raise ContactSheetError(
        f"{str(source)!r} has no result column: one of detections, segments or poses (array of "
        f"struct with {', '.join(sorted(BOX_FIELDS))}), predictions (array of struct with "
        f"{', '.join(sorted(SCORED_FIELDS))}), lines (array of struct with "
        f"{', '.join(sorted(LINE_FIELDS))}) or embedding (array of float) is needed, as a column "
        f"or in a struct column. Columns found: {columns}"
    )


def _parquet_files(folder: Path) -> list[Path]:
    def hidden(file: Path) -> bool:
        return any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)

    def natural(file: Path) -> list[str | int]:  # batch_id=2 before batch_id=10
        parts = re.split(r"(\d+)", str(file))  # text and digits by turns
        return [int(part) if turn % 2 else part for turn, part in enumerate(parts)]

    files = [file for file in folder.rglob("*.parquet") if file.is_file() and not hidden(file)]
    return sorted(files, key=natural)


def _open_file(path: Path) -> ResultFile:
    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            sizes = tuple(group.num_rows for group in groups)
            return ResultFile(path, find_layout(file.schema_arrow, path), sizes)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ContactSheetError:
    return ContactSheetError(
        f"{str(path)!r} cannot be read as Parquet: {error}; take the file away if it is damaged, "
        "or run again if a job was writing"
    )


def _text_as_bytes(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _text_as_bytes(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([(part.name, _text_as_bytes(part.type)) for part in kind])
    if _is_list(kind):
        return pa.large_list(_text_as_bytes(kind.value_type))
    return kind


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _is_result(part: pa.Field) -> bool:
    if part.name not in RESULT_FIELDS or not _is_list(part.type):
        return False
    item = part.type.value_type
    if part.name == "embedding":
        return bool(pa.types.is_floating(item))
    needed = {"predictions": SCORED_FIELDS, "lines": LINE_FIELDS}.get(part.name, BOX_FIELDS)
    return pa.types.is_struct(item) and needed <= {inner.name for inner in item}


def _picture_columns(schema: pa.Schema) -> list[str]:
    def is_binary(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    names = [name for name in SOURCE_COLUMNS + ANNOTATED_COLUMNS if name in schema.names]
    return [name for name in names if is_binary(schema.field(name).type)]
