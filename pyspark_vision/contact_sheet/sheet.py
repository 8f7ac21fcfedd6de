"""The results of a job as one HTML page to look at.

The page is self-contained: no script, nothing loaded from elsewhere, every value escaped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.contact_sheet.cards import card_html, class_name, color_style, escape_text
from pyspark_vision.contact_sheet.files import ANNOTATED_COLUMNS, ContactSheetError, open_results
from pyspark_vision.contact_sheet.page import page_html
from pyspark_vision.contact_sheet.pictures import (
    Thumbnail,
    Unavailable,
    picture_from_origin,
    thumbnail,
)
from pyspark_vision.contact_sheet.rows import Card, Tally, read_pictures, scan

DEFAULT_LIMIT = 200  # about 8 MB of thumbnails
TABLE_ROWS = 12
MODELS_SHOWN = 3
SHORT_SHA = 12

# For each task: what a result is called, and what is counted by class.
WORDS = {
    "detect": ("detections", "Objects by class"),
    "classify": ("predictions", "Pictures by best class"),
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
    `embedding`, and beside it `width`, `height`, `model`, `model_sha256`, `error`. Pictures come
    from a binary column `content` (boxes are drawn on them), else from `annotated` or `image`
    (boxes are on them already), else from `origin` where that is a local path or a `file:` URI.
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
        shown[card.place] = thumbnail(encoded), column in ANNOTATED_COLUMNS
    for card in cards:
        if card.place not in shown:
            found = picture_from_origin(card.origin)
            small = found if isinstance(found, Unavailable) else thumbnail(found)
            shown[card.place] = small, False
    counts = _counts(tally, task, len(cards))
    heading = escape_text(title or f"Contact sheet of {source.resolve().name}")
    pieces = [(card, card_html(card, task, *shown[card.place])) for card in cards]
    body = _sections(pieces, counts) + f"<footer>Made from {escape_text(str(source))}</footer>"
    _write(target, page_html(heading, _header(heading, counts, tally), body))
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


def _header(heading: str, counts: SheetCounts, tally: Tally) -> str:
    word, class_caption = WORDS[counts.task]
    tiles = (
        ("Pictures", counts.pictures, "", ""),
        (f"With {word}", counts.with_results, "ok", "with"),
        ("Without", counts.without_results, "none", "without"),
        ("Failed", counts.failed, "bad" if counts.failed else "none", "failed"),
    )
    items = [_tile(*tile) for tile in tiles]
    share = [
        f'<i class="{kind}" style="flex:{count}"></i>' for _, count, kind, _ in tiles[1:] if count
    ]
    named = tally.by_class if counts.task == "detect" else ()  # only boxes have colours
    colors = {class_name(class_id, label): color_style(class_id) for class_id, label in named}
    tables = _table(class_caption, counts.by_class, colors, "") if class_caption else ""
    tables += _table("Failures by error code", counts.by_error, {}, "bad")
    tables = f'<div class="tables">{tables}</div>' if tables else ""
    left_out = counts.pictures - counts.shown
    note = (
        f'<p class="note">{counts.shown:,} of {counts.pictures:,} pictures are shown, failed ones '
        f"first; the counts are of all. Raise <code>--limit</code> to see more.</p>"
    )
    return (
        f'<h1 dir="auto">{heading}</h1><p class="about">{_models(tally)}</p>'
        f'<ul class="counts">{"".join(items)}</ul><div class="share">{"".join(share)}</div>'
        f"{tables}{note if left_out else ''}"
    )


def _tile(name: str, count: int, kind: str, anchor: str) -> str:
    inner = f"<b>{count:,}</b><span>{name}</span>"
    linked = f'<a href="#{anchor}">{inner}</a>' if anchor and count else inner
    return f'<li class="{kind}">{linked}</li>'


def _models(tally: Tally) -> str:
    named = [
        f"<span>{escape_text(model) or 'unnamed model'} "
        f"<code>{escape_text(sha[:SHORT_SHA])}</code></span>"
        for (model, sha), _ in tally.models.most_common(MODELS_SHOWN)
    ]
    more = len(tally.models) - MODELS_SHOWN
    named += [f"<span>{more:,} more models</span>"] if more > 0 else []
    return "".join(named) or "<span>The rows name no model</span>"


def _table(caption: str, counts: dict[str, int], colors: dict[str, str], kind: str) -> str:
    if not counts:
        return ""
    most = max(counts.values())
    rows = []
    for name, count in list(counts.items())[:TABLE_ROWS]:
        dot = f'<i class="dot" style="{colors[name]}"></i>' if name in colors else ""
        rows.append(
            f'<tr><th scope="row" dir="auto">{dot}{escape_text(name)}</th>'
            f'<td><i class="meter" style="width:{count / most:.2%}"></i></td>'
            f'<td class="n">{count:,}</td></tr>'
        )
    rest = list(counts.values())[TABLE_ROWS:]
    if rest:
        rows.append(
            f'<tr class="soft"><th scope="row">{len(rest):,} more</th><td></td>'
            f'<td class="n">{sum(rest):,}</td></tr>'
        )
    body = "".join(rows)
    return f'<table class="{kind}"><caption>{caption}</caption><tbody>{body}</tbody></table>'


def _sections(pieces: Sequence[tuple[Card, str]], counts: SheetCounts) -> str:
    word = WORDS[counts.task][0]
    failed = [text for card, text in pieces if card.failure]
    found = [text for card, text in pieces if not card.failure and card.items_total]
    nothing = [text for card, text in pieces if not card.failure and not card.items_total]
    if not counts.pictures:
        return '<p class="note">There are no rows in these results.</p>'
    return (
        _section("failed", "Failed", failed, counts.failed)
        + _section("with", f"With {word}", found, counts.with_results)
        + _section("without", f"Without {word}", nothing, counts.without_results)
    )


def _section(anchor: str, heading: str, cards: Iterable[str], total: int) -> str:
    shown = list(cards)
    if not shown:
        return ""
    count = f"{total:,}" if len(shown) == total else f"{len(shown):,} of {total:,}"
    return (
        f'<section id="{anchor}"><header><h2>{heading}</h2><span class="soft">{count}</span>'
        f'</header><div class="grid">{"".join(shown)}</div></section>'
    )


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
