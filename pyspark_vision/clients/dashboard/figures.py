"""Plotly's figures as plain dictionaries, and what each of them says in words.

Plotly reads a few HTML tags in every text, links among them: what comes from data is escaped here.
Colours of texts and lines are the style sheet's, which knows light and dark.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pyspark_vision.clients.dashboard.answers import (
    HOUR,
    MINUTE,
    POSITIONS,
    WEEKDAY,
    WEEKDAYS,
    OverTime,
)

Figure = dict[str, Any]

# Apart for eyes that see red and green alike: Okabe and Ito's (https://jfly.uni-koeln.de/color/),
# darker or lighter so that each has 3:1 on white and on the dark card.
PALETTE = (
    "#2f7fd0", "#c9780a", "#0f9675", "#c2569a", "#d0551c",
    "#3d9fc9", "#8b7ad0", "#96891a", "#b06a4a",
)  # fmt: skip
OTHER_COLOR = "#868e9c"
BAD_COLOR = "#d4544b"

HEIGHT_PX = 320

# More lines and slices cannot be told apart.
SHOWN_LABELS = len(PALETTE)
_SHOWN_BARS = 12
_LABEL_CHARS = 28
# A line has a point for each bucket, zeros too, up to so many; beyond, each label has its own.
_MOST_POINTS = 30_000
_FEW_POINTS = 60

CONFIG: Any = {
    "displaylogo": False,
    "responsive": True,
    "showTips": False,
    # Nothing here sends anything anywhere; these are Plotly's own cloud buttons and links.
    "showSendToCloud": False,
    "showEditInChartStudio": False,
    "showLink": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}


def shown(text: str, most: int = _LABEL_CHARS) -> str:
    """A text of data for Plotly, which decodes ``&lt;`` and no quotes: short, and no markup.

    >>> shown('<a href="https://x.example">cat</a>', 12)
    '&lt;a href="ht…'
    """
    return html.escape(printable(text, most), quote=False)


def printable(text: str, most: int = 200) -> str:
    """A text of data for a page, as text: short, without control and direction characters."""
    visible = "".join(c if c.isprintable() or c in "\u200c\u200d" else "\ufffd" for c in text)
    return visible if len(visible) <= most else visible[: most - 1] + "…"


def colors(labels: Sequence[tuple[str, int]]) -> dict[str, str]:
    """A colour for each of the most frequent labels; others share :data:`OTHER_COLOR`."""
    return {label: PALETTE[n] for n, (label, _) in enumerate(labels[:SHOWN_LABELS])}


def over_time(counts: OverTime, color_of: Mapping[str, str]) -> Figure:
    """A line for each label: events in each bucket."""
    by_label: dict[str, dict[Any, int]] = {}
    for start, label, n in counts.counts:
        line = by_label.setdefault(_or_other(label, color_of), {})
        line[start] = line.get(start, 0) + n
    starts = [start for start, _, _ in counts.counts]
    step = timedelta(minutes=counts.minutes)
    buckets = round((starts[-1] - starts[0]) / step) + 1 if starts else 0
    if buckets * len(by_label) <= _MOST_POINTS and starts:
        every = [starts[0] + n * step for n in range(buckets)]
        by_label = {
            label: {at: line.get(at, 0) for at in every} for label, line in by_label.items()
        }
    few = buckets <= _FEW_POINTS
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if few else "lines",
            "name": _name(label),
            "x": [at.isoformat() for at in line],
            "y": list(line.values()),
            "line": {"color": color_of.get(label, OTHER_COLOR), "width": 2},
            "marker": {"size": 7},
            "hovertemplate": "%{y:,}<extra>%{fullData.name}</extra>",
        }
        for label, line in _in_order(by_label, color_of)
    ]
    axis: dict[str, Any] = {"type": "date"}
    if buckets == 1:  # Plotly would show microseconds around the only point
        axis["range"] = [(starts[0] - 8 * step).isoformat(), (starts[0] + 8 * step).isoformat()]
    figure = _figure(traces, x=axis, y={"rangemode": "tozero"})
    figure["layout"]["hovermode"] = "x unified"
    return figure


def over_axis(
    counts: Sequence[tuple[int, str, int]], axis: str, color_of: Mapping[str, str]
) -> Figure:
    """Stacked bars over the minutes of an hour, the hours of a day or the days of a week."""
    names = {
        MINUTE: [f"{n}" for n in range(60)],
        HOUR: [f"{n}:00" for n in range(24)],
        WEEKDAY: [day[:3] for day in WEEKDAYS],
    }[axis]
    every = {MINUTE: 10, HOUR: 3, WEEKDAY: 1}[axis]
    ticks = list(range(0, POSITIONS[axis], every))
    bars = _stacked(counts, POSITIONS[axis], color_of)
    x = {
        "tickvals": ticks,
        "ticktext": [names[n] for n in ticks],
        "range": [-0.6, POSITIONS[axis] - 0.4],
    }
    for bar in bars:
        bar["customdata"] = names
        bar["hovertemplate"] = "%{customdata}: %{y:,}<extra>%{fullData.name}</extra>"
    return _figure(bars, x=x, y={"rangemode": "tozero"}, barmode="stack")


def shares(counts: Sequence[tuple[str, int]], color_of: Mapping[str, str]) -> Figure:
    """A ring of the events by label."""
    sums: Counter[str] = Counter()
    for label, n in counts:
        sums[_or_other(label, color_of)] += n
    order = [label for label, _ in _in_order(sums, color_of)]
    trace = {
        "type": "pie",
        "hole": 0.62,
        "sort": False,
        "direction": "clockwise",
        # Plotly adds up slices of one label: these are unique, what is shown need not be.
        "labels": [_name(label) for label in order],
        "values": [sums[label] for label in order],
        "marker": {"colors": [color_of.get(label, OTHER_COLOR) for label in order]},
        "textinfo": "percent",
        "textposition": "inside",
        "insidetextorientation": "horizontal",
        "hovertemplate": "%{label}: %{value:,} (%{percent})<extra></extra>",
    }
    figure = _figure([trace] if order else [], legend={"orientation": "v", "x": 1.02, "y": 0.5})
    figure["layout"]["uniformtext"] = {"minsize": 11, "mode": "hide"}
    return figure


def failures(counts: Sequence[tuple[str, int]]) -> Figure:
    """A bar for each code."""
    some = _at_most(counts, _SHOWN_BARS)
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [n for _, n in some],
        "y": list(range(len(some))),
        "text": [f"{n:,}" for _, n in some],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": BAD_COLOR},
        "customdata": [shown(code, 60) for code, _ in some],
        "hovertemplate": "%{customdata}: %{x:,}<extra></extra>",
        "width": 0.62,
    }
    y = {
        "tickvals": list(range(len(some))),
        "ticktext": [shown(code, 22) for code, _ in some],
        "range": [max(len(some), 5) - 0.5, -0.5],
        "showgrid": False,
    }
    x = {"rangemode": "tozero", "showgrid": False, "showticklabels": False}
    return _figure([trace] if some else [], x=x, y=y, legend=None)


def scores(counts: Sequence[tuple[int, str, int]], color_of: Mapping[str, str]) -> Figure:
    """Stacked bars of events by score, in steps of 0.02."""
    steps = [(low // 2, label, n) for low, label, n in counts]
    bars = _stacked(steps, 50, color_of)
    for bar in bars:
        bar["x"] = [place / 50 + 0.01 for place in bar["x"]]
        bar["width"] = 0.02
        bar["customdata"] = [f"{place / 50:.2f} to {(place + 1) / 50:.2f}" for place in range(50)]
        bar["hovertemplate"] = "%{customdata}: %{y:,}<extra>%{fullData.name}</extra>"
    low = min((place for place, _, _ in steps), default=0) / 50
    x = {"range": [max(0.0, low - 0.02), 1.0], "tickformat": ".1f"}
    return _figure(bars, x=x, y={"rangemode": "tozero"}, barmode="stack")


def counted(number: int, what: str) -> str:
    """``1 event``, ``2 events``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def said(counts: Iterable[tuple[str, int]], what: str) -> str:
    """A chart in words, for who does not see it.

    >>> said([("cat", 12), ("dog", 1)], "event")
    '13 events: cat 12, dog 1'
    """
    some = _at_most(list(counts), _SHOWN_BARS)
    total = sum(n for _, n in some)
    if not total:
        return f"No {what}s"
    return f"{counted(total, what)}: " + ", ".join(
        f"{printable(label, 40)} {n:,}" for label, n in some
    )


def _at_most(counts: Sequence[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """The first ones; the others as one."""
    if len(counts) <= most:
        return list(counts)
    others = counts[most - 1 :]
    return [*counts[: most - 1], (f"{len(others):,} others", sum(n for _, n in others))]


_LEGEND_BELOW = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"}

# No label is empty after `_name`, so this is nobody else's.
_OTHERS = ""


def _or_other(label: str, color_of: Mapping[str, str]) -> str:
    return label if label in color_of else _OTHERS


def _name(label: str) -> str:
    return "others" if label == _OTHERS else shown(label) or "(empty)"


def _in_order(by_label: Mapping[str, Any], color_of: Mapping[str, str]) -> list[tuple[str, Any]]:
    """In the order of the colours, others last."""
    order = {label: n for n, label in enumerate(color_of)}
    return sorted(by_label.items(), key=lambda item: order.get(item[0], len(order)))


def _stacked(
    counts: Sequence[tuple[int, str, int]], places: int, color_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    by_label: dict[str, list[int]] = {}
    for place, label, n in counts:
        by_label.setdefault(_or_other(label, color_of), [0] * places)[place] += n
    return [
        {
            "type": "bar",
            "name": _name(label),
            "x": list(range(places)),
            "y": heights,
            "marker": {"color": color_of.get(label, OTHER_COLOR), "line": {"width": 0}},
        }
        for label, heights in _in_order(by_label, color_of)
    ]


def _figure(
    traces: list[dict[str, Any]],
    *,
    x: Mapping[str, Any] | None = None,
    y: Mapping[str, Any] | None = None,
    legend: Mapping[str, Any] | None = _LEGEND_BELOW,
    **more: Any,
) -> Figure:
    axis = {"automargin": True, "zeroline": False, "fixedrange": False}
    layout = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12.5, "family": "inherit"},
        "height": HEIGHT_PX,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8, "pad": 4},
        "bargap": 0.12,
        "showlegend": legend is not None,
        "dragmode": False,
        # What a person has zoomed to stays when new counts come.
        "uirevision": "same",
        "xaxis": {**axis, **(x or {})},
        "yaxis": {**axis, "tickformat": ",", **(y or {})},
        **more,
    }
    if legend is not None:
        layout["legend"] = {**legend, "traceorder": "normal", "bgcolor": "rgba(0,0,0,0)"}
    if not traces:
        layout["xaxis"], layout["yaxis"] = {"visible": False}, {"visible": False}
        layout["annotations"] = [
            {"text": "nothing here yet", "showarrow": False, "xref": "paper", "yref": "paper"}
        ]
    return {"data": traces, "layout": layout}
