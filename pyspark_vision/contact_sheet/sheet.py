"""The results of a job as one HTML page to look at.

The page is self-contained: no script, nothing loaded from elsewhere, every value escaped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.contact_sheet.cards import (
    COLORED_TASKS,
    OPEN_ITEMS,
    card_view,
    class_name,
    color_style,
    painter,
)
from pyspark_vision.contact_sheet.files import ANNOTATED_COLUMNS, ContactSheetError, open_results
from pyspark_vision.contact_sheet.page import page_html
from pyspark_vision.contact_sheet.pictures import (
    Thumbnail,
    Unavailable,
    picture_from_origin,
    thumbnail,
)
from pyspark_vision.contact_sheet.rows import Tally, read_pictures, scan

DEFAULT_LIMIT = 200  # about 8 MB of thumbnails
TABLE_ROWS = 12
TOP_CLASSES = 5
MODELS_SHOWN = 3
SHORT_SHA = 12

# For each task: what a result is called, and what is counted by class.
WORDS = {
    "detect": ("detections", "Objects by class"),
    "classify": ("predictions", "Pictures by best class"),
    "segment": ("segments", "Segments by class"),
    "keypoints": ("poses", "Poses by class"),
    "ocr": ("text", ""),
    "embed": ("a vector", ""),
}


@dataclass(frozen=True)
class SheetCounts:
    """What a contact sheet was made from. Counts are of all rows; `shown` is the cards."""

    task: str
    pictures: int
    with_results: int
    without_results: int
    failed: int
    shown: int
    by_class: dict[str, int]
    by_error: dict[str, int]


def build_contact_sheet(
    results: str | Path,
    output: str | Path,
    *,
    limit: int = DEFAULT_LIMIT,
    title: str | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> SheetCounts:
    """Write one HTML page that shows the results of a job, and return the counts on it.

    In: `results`, a Parquet file or a folder of them (subfolders such as `batch_id=3` too), with
    the row contract as columns or in a struct column: one of `detections`, `predictions`,
    `segments`, `poses`, `lines`, `embedding`, and beside it `width`, `height`, `model`,
    `model_sha256`, `error`. Pictures come from a binary column `content` (boxes, masks, points and
    lines of text are drawn on them), else from `annotated` or `image` (drawn on already), else
    from `origin` where that is a local path or a `file:` URI.
    A row with an error counts as failed; one with neither result nor error too, as `no_result`.

    Out: the page at `output`, replaced in one step. At most `limit` cards, failed rows first;
    the counts are of all rows. A picture that cannot be read gives a card that says so.
    `on_rows` is called with the number of rows read so far.

    Raises ContactSheetError (a ValueError) where there is nothing to read, no result column, a
    negative limit, or a place that cannot be written.

    >>> build_contact_sheet("out/detections", "sheet.html")         # doctest: +SKIP
    SheetCounts(task='detect', pictures=3, with_results=1, without_results=1, failed=1, shown=3,
                by_class={'cat': 2}, by_error={'truncated': 1})
    """
    source, target = Path(results), Path(output)
    if limit < 0:
        raise ContactSheetError(f"limit={limit}: the number of cards must be 0 or more")
    if target.is_dir() or not target.parent.is_dir():
        raise ContactSheetError(
            f"output={str(target)!r} is a folder, or its folder does not exist: name the HTML file "
            "to write, in a folder that exists"
        )
    files = open_results(source)
    task = files[0].layout.task
    tally, cards = scan(files, limit, on_rows or (lambda rows: None))
    shown: dict[tuple[int, int], tuple[Thumbnail | Unavailable, bool]] = {}
    for card, column, encoded in read_pictures(files, cards):
        drawn = column in ANNOTATED_COLUMNS
        paint = None if drawn else painter(card, task)
        shown[card.place] = thumbnail(encoded, paint=paint), drawn
    for card in cards:
        if card.place not in shown:
            picture = picture_from_origin(card.origin)
            paint = painter(card, task)
            small = picture if isinstance(picture, Unavailable) else thumbnail(picture, paint=paint)
            shown[card.place] = small, False
    counts = _counts(tally, task, len(cards))
    word, class_caption = WORDS[task]
    named = tally.by_class if task in COLORED_TASKS else ()
    models = tally.models.most_common(MODELS_SHOWN)
    values = {
        "title": title or f"Contact sheet of {source.resolve().name}",
        "source": str(source),
        "task": task,
        "word": word,
        "class_caption": class_caption,
        "counts": counts,
        "colors": {class_name(class_id, label): color_style(class_id) for class_id, label in named},
        "models": [(model, sha[:SHORT_SHA]) for (model, sha), _ in models],
        "more_models": len(tally.models) - len(models),
        "cards": [card_view(card, task, *shown[card.place]) for card in cards],
        "open_items": OPEN_ITEMS,
        "table_rows": TABLE_ROWS,
        "top_classes": TOP_CLASSES,
    }
    _write(target, page_html(values))
    return counts


def _counts(tally: Tally, task: str, shown: int) -> SheetCounts:
    by_class: Counter[str] = Counter()
    for (class_id, label), count in tally.by_class.items():
        by_class[class_name(class_id, label)] += count
    return SheetCounts(
        task=task,
        pictures=tally.pictures,
        with_results=tally.with_results,
        without_results=tally.pictures - tally.with_results - tally.failed,
        failed=tally.failed,
        shown=shown,
        by_class=_most_first(by_class),
        by_error=_most_first(tally.by_error),
    )


def _most_first(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))


def _write(target: Path, page: str) -> None:
    """Replace the file in one step, so that a reader never sees half a page."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(page, encoding="utf-8", errors="replace")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ContactSheetError(
            f"output={str(target)!r} cannot be written: {error.strerror}; name another place"
        ) from error
