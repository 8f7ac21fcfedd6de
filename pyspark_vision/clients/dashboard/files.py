"""Files of results: which there are, and their rows without the pictures, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from pyarrow import fs

from pyspark_vision.clients.dashboard.columns import Layout, find_layout
from pyspark_vision.clients.dashboard.places import Place

PARQUET, JSON_LINES = ".parquet", ".json"

# Rows that are counted at once: 100 MB with five objects each.
_PIECE_ROWS = 500_000

# Arrow would take such texts for times, and those of other forms not.
_TEXTS = ("timestamp", "processed_at", "received")


@dataclass(frozen=True)
class DataFile:
    """``size_bytes`` and ``modified`` change when it is written again."""

    path: str
    size_bytes: int
    modified: str


def list_files(place: Place) -> list[DataFile]:
    """The data files of a place, oldest first; names that begin with ``_`` or ``.`` are left out.

    Raises ``OSError`` and Arrow's errors as the file system does.
    """
    [file_info] = place.system.get_file_info([place.path])
    if file_info.type == fs.FileType.NotFound:
        raise FileNotFoundError(place.shown)
    if file_info.type == fs.FileType.File:
        return [_data_file(file_info)]
    infos = place.system.get_file_info(fs.FileSelector(place.path, recursive=True))
    data_files = [
        file_info
        for file_info in infos
        if file_info.type == fs.FileType.File and _is_data(_relative(place, file_info.path))
    ]
    data_files.sort(key=lambda file_info: (file_info.mtime_ns or 0, file_info.path))
    return [_data_file(file_info) for file_info in data_files]


def pieces(place: Place, file: DataFile) -> Iterator[tuple[Layout, pa.Table]]:
    """The rows of a file, what is counted of them, with a column ``file``.

    A file that cannot be read raises :class:`ValueError`, as Arrow's errors are, or ``OSError``.
    """
    if file.path.endswith(JSON_LINES):
        table = _json_lines(place, file)
        if table.num_rows:
            layout = find_layout(table.schema)
            names = [name for name, _ in layout.columns]
            yield layout, _with_file(table.select(names), file)
        return
    with (
        place.system.open_input_file(file.path) as source,
        pq.ParquetFile(source) as parquet,
    ):
        layout = find_layout(parquet.schema_arrow)
        wanted = _leaves(parquet, layout)
        groups: list[int] = []
        rows = 0
        for number in range(parquet.num_row_groups):
            groups.append(number)
            rows += parquet.metadata.row_group(number).num_rows
            if rows >= _PIECE_ROWS or number == parquet.num_row_groups - 1:
                yield layout, _with_file(parquet.read_row_groups(groups, columns=wanted), file)
                groups, rows = [], 0


def _json_lines(place: Place, file: DataFile) -> pa.Table:
    if not file.size_bytes:
        return pa.table({})
    texts = pa.schema([(name, pa.string()) for name in _TEXTS])
    with place.system.open_input_stream(file.path) as source:
        table = pj.read_json(source, parse_options=pj.ParseOptions(explicit_schema=texts))
    empty = [n for n in _TEXTS if table[n].null_count == table.num_rows]
    return table.drop_columns(empty)


def _leaves(parquet: pq.ParquetFile, layout: Layout) -> list[str]:
    """The paths of the columns in the file; writers name the inside of a list differently."""
    paths = [parquet.schema.column(n).path for n in range(len(parquet.schema))]
    leaves = []
    for name, fields in layout.columns:
        own = [path for path in paths if path == name or path.startswith(f"{name}.")]
        some = [path for path in own if path.rpartition(".")[2] in fields]
        leaves += some or own
    return leaves


def _with_file(table: pa.Table, file: DataFile) -> pa.Table:
    numbers = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
    paths = pa.DictionaryArray.from_arrays(numbers, pa.array([file.path]))
    names = [name for name in table.schema.names if name != "file"]
    return table.select(names).append_column("file", paths)


def _data_file(file_info: fs.FileInfo) -> DataFile:
    return DataFile(file_info.path, file_info.size or 0, str(file_info.mtime))


def _relative(place: Place, path: str) -> str:
    return path.removeprefix(place.path).lstrip("/")


def _is_data(relative: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in relative.split("/"))
    return relative.endswith((PARQUET, JSON_LINES)) and not hidden
