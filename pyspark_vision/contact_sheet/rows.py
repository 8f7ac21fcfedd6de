"""Count the rows of a result and choose those that get a card.

Two passes: the first reads everything but the pictures, counts in Arrow, and keeps the rows that
get a card; the second reads the picture bytes of those rows only. Memory is bounded by a record
batch and the cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pyspark_vision.contact_sheet.files import Layout, ResultFile

# Whose results have no classes to count.
CLASSLESS_TASKS = ("embed", "ocr")

MODEL_FIELDS = ("model", "model_sha256")
NO_RESULT_CODE = "no_result"

LIGHT_BATCH_ROWS = 4096
PICTURE_BATCH_ROWS = 16  # encoded pictures are megabytes each
MAX_ITEMS = 100  # detections kept for one card; a page with more boxes cannot be read
MAX_SEGMENTS = 25  # of these each has a mask, of some kilobytes
MAX_TEXT_CHARS = 500
MAX_ORIGIN_CHARS = 4096  # PATH_MAX of Linux: longer is no local path


@dataclass(frozen=True)
class Failure:
    """The `error` of a row."""

    code: str
    message: str


@dataclass(frozen=True)
class Card:
    """What the page shows of one row."""

    place: tuple[int, int]  # number of the file, row in the file
    number: int  # of the row in the whole, from 1
    origin: str | None
    width: int | None
    height: int | None
    failure: Failure | None
    items: list[Any]  # dicts of scored classes or boxes; floats for an embedding
    items_total: int


@dataclass
class Tally:
    """Counts over all rows."""

    pictures: int = 0
    with_results: int = 0
    failed: int = 0
    by_class: Counter[tuple[int | None, str | None]] = field(default_factory=Counter)
    by_error: Counter[str] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)


def scan(
    files: Sequence[ResultFile], limit: int, on_rows: Callable[[int], None]
) -> tuple[Tally, list[Card]]:
    """Count all rows and keep the cards: the failed ones first, then the others, in row order."""
    tally = Tally()
    failed_cards: list[Card] = []
    other_cards: list[Card] = []
    for file_number, file in enumerate(files):
        first_row = 0
        layout = file.layout
        for batch in file.batches(layout.columns, LIGHT_BATCH_ROWS):
            failed = _count(batch, layout, tally)
            for kept, rows in (
                (failed_cards, pc.indices_nonzero(failed)),
                (other_cards, pc.indices_nonzero(pc.invert(failed))),
            ):
                rows = rows.slice(0, max(0, limit - len(kept)))
                number = tally.pictures - batch.num_rows + 1
                kept.extend(_cards(batch, layout, rows, (file_number, first_row), number))
            first_row += batch.num_rows
            on_rows(tally.pictures)
    return tally, failed_cards + other_cards[: limit - len(failed_cards)]


def read_pictures(
    files: Sequence[ResultFile], cards: Sequence[Card]
) -> Iterator[tuple[Card, str, bytes]]:
    """Give (card, column, encoded bytes) for each card whose row holds a picture."""
    wanted: dict[int, dict[int, Card]] = {}
    for card in cards:
        wanted.setdefault(card.place[0], {})[card.place[1]] = card
    for file_number, cards_by_row in sorted(wanted.items()):
        file = files[file_number]
        first_row = 0
        for group, group_rows in enumerate(file.group_rows if file.layout.pictures else ()):
            rows = range(first_row, first_row + group_rows)
            first_row = rows.stop
            if any(row in rows for row in cards_by_row):
                yield from _pictures_of(file, group, rows.start, cards_by_row)


def _pictures_of(
    file: ResultFile, group: int, row: int, cards_by_row: dict[int, Card]
) -> Iterator[tuple[Card, str, bytes]]:
    names = file.layout.pictures
    last = max(cards_by_row)
    for batch in file.batches(names, PICTURE_BATCH_ROWS, [group]):
        for index in range(batch.num_rows):
            card = cards_by_row.get(row + index)
            for column in names if card else ():
                picture = batch.column(column)[index].as_py()
                if card and picture:
                    yield card, column, picture
                    break
        row += batch.num_rows
        if row > last:
            return


def _count(batch: pa.RecordBatch, layout: Layout, tally: Tally) -> pa.Array:
    """Add a batch to the counts; a mask of the failed rows comes back."""
    items = layout.field(batch, layout.items)
    error = layout.field(batch, "error")
    failed = pc.or_(error.is_valid(), items.is_null())
    length = pc.fill_null(pc.list_value_length(items), 0)
    filled = pc.and_(pc.invert(failed), pc.greater(length, 0))
    tally.pictures += batch.num_rows
    tally.with_results += pc.sum(filled).as_py() or 0
    tally.failed += pc.sum(failed).as_py() or 0
    if layout.task not in CLASSLESS_TASKS:
        good = items.filter(filled)
        # a picture counts once for its best class, or for each of its objects
        values = pc.list_element(good, 0) if layout.task == "classify" else pc.list_flatten(good)
        for (class_id, label), count in _value_counts(values, ("class_id", "label")):
            tally.by_class[class_id, None if label is None else as_text(label)] += count
    for row in range(batch.num_rows) if pc.any(failed).as_py() else ():
        if failed[row].as_py():
            tally.by_error[_failure(error[row].as_py()).code] += 1
    names = [layout.field(batch, name).cast(pa.large_binary()) for name in MODEL_FIELDS]
    models = pa.StructArray.from_arrays(names, names=MODEL_FIELDS)
    for (model, sha), count in _value_counts(models, MODEL_FIELDS):
        if model is not None or sha is not None:
            tally.models[as_text(model), as_text(sha)] += count
    return failed


def _value_counts(structs: pa.Array, names: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Count the distinct values of some fields, in Arrow: no Python object for each row."""
    columns = [pc.struct_field(structs, name) for name in names]
    table = pa.Table.from_arrays(columns, names=list(names))
    for row in table.group_by(list(names)).aggregate([([], "count_all")]).to_pylist():
        yield tuple(row[name] for name in names), row["count_all"]


def _cards(
    batch: pa.RecordBatch, layout: Layout, rows: pa.Array, place: tuple[int, int], number: int
) -> Iterator[Card]:
    names = ("error", "width", "height", layout.items)
    fields = {name: layout.field(batch, name) for name in names}
    origins = batch.column("origin") if "origin" in batch.schema.names else None
    for row in rows.to_pylist():
        items = fields[layout.items][row].values
        error = fields["error"][row].as_py()
        total = 0 if items is None else len(items)
        most = MAX_SEGMENTS if layout.task == "segment" else MAX_ITEMS
        kept = items if items is None or layout.task == "embed" else items[:most]
        origin = None if origins is None else origins[row].as_py()
        yield Card(
            place=(place[0], place[1] + row),
            number=number + row,
            origin=None if origin is None else as_text(origin, MAX_ORIGIN_CHARS),
            width=_as_int(fields["width"][row].as_py()),
            height=_as_int(fields["height"][row].as_py()),
            failure=_failure(error) if error is not None or items is None else None,
            items=[] if kept is None else kept.to_pylist(),
            items_total=total,
        )


def _failure(error: Any) -> Failure:
    if error is None:
        return Failure(NO_RESULT_CODE, "the row holds neither a result nor an error")
    if not isinstance(error, dict):
        return Failure("error", as_text(error))
    code = error.get("code")
    return Failure("no_code" if code is None else as_text(code, 100), as_text(error.get("message")))


def _as_int(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def as_text(value: Any, most: int = MAX_TEXT_CHARS) -> str:
    """Text of any value of a row, shortened; "" for null; what is not UTF-8 becomes U+FFFD."""
    if value is None:
        return ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
