"""The page: its layout, and what fills it when a filter changes or something new is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import dash
import duckdb
from dash import Input, Output, State, dcc, html

from pyspark_vision.clients.dashboard import figures
from pyspark_vision.clients.dashboard.answers import (
    AXES,
    MINUTE,
    WEEKDAY,
    Answers,
    Choice,
    Latency,
    answer,
    examples,
)
from pyspark_vision.clients.dashboard.columns import (
    CAMERA_TO_BROKER,
    CAMERA_TO_RESULT,
    PROCESSING,
)
from pyspark_vision.clients.dashboard.example_pictures import ExamplePictures, Shown
from pyspark_vision.clients.dashboard.source import Source, Status
from pyspark_vision.clients.dashboard.summary import SummaryClosedError
from pyspark_vision.messages.topics import NOTHING_DETECTED

# A page asks so often whether something is new; the answer is a few bytes if nothing is.
_TICK_MS = 2_000
# A page waits so long for what it asked for before it asks again; its server may have been away.
_PATIENCE_TICKS = 15
_STRIP_LABELS = 12
_SHOWN_LATENCIES = 24
_SHOWN_CHOICES = 1_000

_AXIS_NAMES = {MINUTE: "Minute of the hour", WEEKDAY: "Weekday", "hour": "Hour of the day"}

_DEFINITIONS = {
    CAMERA_TO_BROKER: "received − timestamp: from the camera's clock to the source that the job "
    "reads; of files it is 0, since their time is the file's.",
    CAMERA_TO_RESULT: "processed_at − timestamp: from the camera's clock to the result; of a live "
    "topic the time of the result's record.",
    PROCESSING: "processing_time_ms: decoding and the model, not the waiting.",
}


def make_app(source: Source, *, title: str) -> dash.Dash:
    """The Dash application over a source; who serves it looks at the source meanwhile."""
    app = dash.Dash(
        "pyspark_vision.clients.dashboard",
        title=title,
        update_title=None,  # type: ignore[arg-type]  # it says None for "no other title"
        serve_locally=True,
    )
    # Else Dash's page asks Plotly's server for its newest version, once its developer tools are on.
    app.enable_dev_tools(debug=False, dev_tools_disable_version_check=True)
    pictures = ExamplePictures(source)
    app.index_string = _INDEX
    app.layout = lambda: _layout(source, title)
    _add_callbacks(app, source, pictures)
    return app


_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def _layout(source: Source, title: str) -> html.Div:
    return html.Div(
        [
            html.Header(
                [
                    html.H1(title, dir="auto"),
                    html.P(
                        [html.Span(source.shown, dir="auto"), html.Span(source.about)],
                        className="about",
                    ),
                    html.Div(id="notes", role="status", **_aria(live="polite")),
                    _filters(),
                    html.Ul(id="totals", className="counts"),
                ],
                className="top",
            ),
            html.Main(
                [
                    _card("over-time", "Events over time", wide=True),
                    _card("over-axis", "Events by minute of the hour"),
                    _card("shares", "Share of each event"),
                    _card("scores", "Scores"),
                    _card("failures", "Failures by code"),
                    html.Section(
                        [
                            html.H2("Latency"),
                            html.Div(id="latency"),
                        ],
                        className="panel wide",
                        **_aria(label="Latency"),
                    ),
                    html.Section(
                        [html.H2("Examples of each event"), html.Div(id="strip")],
                        className="panel wide",
                        **_aria(label="Examples"),
                    ),
                ],
            ),
            dcc.Interval(id="tick", interval=_TICK_MS),
            dcc.Store(id="asked", data=0),
            *(dcc.Store(id=name) for name in ("answered", "drawn", "illustrated")),
        ]
    )


def _filters() -> html.Div:
    return html.Div(
        [
            html.Div(
                [
                    html.Label("Cameras", htmlFor="cameras", id="cameras-label"),
                    dcc.Dropdown(id="cameras", multi=True, placeholder="all cameras"),
                ]
            ),
            html.Div(
                [
                    html.Label("Events", htmlFor="events", id="events-label"),
                    dcc.Dropdown(id="events", multi=True, placeholder="all events"),
                ]
            ),
            html.Fieldset(
                [
                    html.Legend("Histogram over"),
                    dcc.RadioItems(
                        [{"label": axis, "value": axis} for axis in AXES],
                        MINUTE,
                        id="axis",
                        inline=True,
                    ),
                ]
            ),
        ],
        className="filters",
        role="group",
        **_aria(label="Filters"),
    )


def _card(name: str, heading: str, *, wide: bool = False) -> html.Section:
    return html.Section(
        [
            html.H2(heading, id=f"{name}-heading"),
            html.P(id=f"{name}-said", className="said"),
            html.Div(
                dcc.Graph(id=name, config=figures.CONFIG, className="chart"),
                id=f"{name}-chart",
                role="group",
                **_aria(labelledby=f"{name}-heading", describedby=f"{name}-said"),
            ),
        ],
        className="panel wide" if wide else "panel",
    )


def _aria(**names: str) -> Any:
    """``aria-`` attributes, which are no names of Python's."""
    return {f"aria-{name}": value for name, value in names.items()}


_CHARTS = ("over-time", "over-axis", "shares", "scores", "failures")


# Dash drops the answer to an earlier request of a callback when a later one is made. So a tick asks
# only when all that was asked for is drawn: else answers that take longer than a tick never come.
_ASK = f"""(ticks, asked, answered, drawn, illustrated) => {{
    const underWay = answered !== asked || illustrated !== drawn?.asked;
    return underWay && ticks - asked < {_PATIENCE_TICKS} ? dash_clientside.no_update : ticks;
}}"""


def _add_callbacks(app: dash.Dash, source: Source, pictures: ExamplePictures) -> None:
    """``asked``, ``answered``: the tick of the last question and of the last answer.

    ``drawn``: what the charts are of, with the tick of its question; ``illustrated``: that tick,
    once the pictures are there, too.
    """
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash gives it no types
        _ASK,
        Output("asked", "data"),
        Input("tick", "n_intervals"),
        *(State(name, "data") for name in ("asked", "answered", "drawn", "illustrated")),
        prevent_initial_call=True,
    )

    filled = (
        Output("drawn", "data"),
        Output("notes", "children"),
        Output("totals", "children"),
        Output("cameras", "options"),
        Output("events", "options"),
        Output("over-axis-heading", "children"),
        Output("latency", "children"),
        *(Output(name, "figure") for name in _CHARTS),
        *(Output(f"{name}-said", "children") for name in _CHARTS),
    )

    @app.callback(
        Output("answered", "data"),
        *filled,
        Input("asked", "data"),
        Input("cameras", "value"),
        Input("events", "value"),
        Input("axis", "value"),
        State("drawn", "data"),
        State("cameras", "options"),
        State("events", "options"),
    )
    def fill(
        asked: Any,
        cameras: Any,
        events: Any,
        axis: Any,
        drawn: Any,
        cameras_now: Any,
        events_now: Any,
    ) -> Any:
        # Not by what triggered it: a choice may wait for an answer that this one takes over from.
        wanted = {"cameras": cameras, "events": events, "axis": axis}
        if isinstance(drawn, dict) and drawn.get("of") == [wanted, source.status.version]:
            return asked, *(dash.no_update for _ in filled)
        choice, axis = _choice(cameras, events), axis if axis in AXES else MINUTE
        status, answers = _of_now(source, lambda now: answer(now.summary, choice, axis))
        color_of = figures.colors(answers.labels)
        charts = (
            figures.over_time(answers.over_time, color_of),
            figures.over_axis(answers.over_axis, axis, color_of),
            figures.shares(answers.events, color_of),
            figures.scores(answers.scores, color_of),
            figures.failures(answers.failures),
        )
        return (
            asked,
            {"of": [wanted, status.version], "asked": asked},
            _notes(status),
            _totals(answers),
            _unless_same(_options(answers.cameras, choice.cameras), cameras_now),
            _unless_same(_options(answers.labels, choice.events), events_now),
            f"Events by {_AXIS_NAMES[axis].lower()}",
            _latencies(answers.latencies),
            *charts,
            *_in_words(answers),
        )

    @app.callback(
        Output("illustrated", "data"),
        Output("strip", "children"),
        Input("drawn", "data"),
        prevent_initial_call=True,
    )
    def fill_strip(drawn: Any) -> Any:
        wanted, _ = drawn["of"]
        choice = _choice(wanted["cameras"], wanted["events"])
        _, rows = _of_now(source, lambda now: _strip_rows(now, choice, pictures))
        return drawn["asked"], rows


def _of_now(source: Source, ask: Callable[[Status], Any]) -> tuple[Status, Any]:
    """What is asked of the summary that is shown; of the next one, if that has just taken over."""
    while True:
        status = source.status
        try:
            return status, ask(status)
        except SummaryClosedError:
            if source.status is status:
                raise
        except duckdb.Error:
            if source.status is status:
                raise


def _choice(cameras: Any, events: Any) -> Choice:
    """What a browser sent, whatever it is."""

    def texts(value: Any) -> tuple[str, ...]:
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    return Choice(texts(cameras), texts(events))


def _options(counts: Sequence[tuple[str, int]], chosen: Sequence[str]) -> list[dict[str, str]]:
    names = [name for name, _ in counts[:_SHOWN_CHOICES]]
    names += [name for name in chosen if name not in names]
    return [{"label": figures.printable(name, 60) or "(empty)", "value": name} for name in names]


def _unless_same(options: list[dict[str, str]], now: Any) -> Any:
    """Leave a menu alone that has them: drawn anew, it loses a click that comes meanwhile."""
    return dash.no_update if options == now else options


def _notes(status: Status) -> list[html.P]:
    notes = [html.P(note, className="note", dir="auto") for note in map(_plain, status.notes)]
    if status.progress:
        notes.insert(0, html.P(status.progress, className="note progress"))
    return notes


def _plain(text: str) -> str:
    return figures.printable(text, 1_000)


def _totals(answers: Answers) -> list[html.Li]:
    totals = answers.totals
    if not totals.frames and totals.events:  # of a list of events frames are not known
        tiles = [("Events", totals.events, ""), ("Kinds", len(answers.events), "ok")]
    else:
        tiles = [
            ("Frames", totals.frames, ""),
            ("Events", totals.events, "ok"),
            ("Failed frames", totals.failed, "bad" if totals.failed else "none"),
        ]
    tiles.append(("Cameras", len(answers.cameras), "none"))
    return [html.Li([html.B(f"{n:,}"), html.Span(name)], className=kind) for name, n, kind in tiles]


def _in_words(answers: Answers) -> tuple[str, ...]:
    over_time = answers.over_time
    minutes = over_time.minutes
    width = f"{minutes} minutes" if minutes < 60 else f"{minutes // 60:,} hours"
    width = "1 hour" if minutes == 60 else width
    said_time = f"Events in each {width}, local time"
    if minutes != 15:
        said_time += " (15 minutes would be more points than can be drawn)"
    timeless = answers.totals.timeless
    if timeless:
        said_time += f"; {timeless:,} events without a time are left out"
    of_positions = sum(n for _, _, n in answers.over_axis)
    return (
        f"{said_time}." if answers.events else "",
        f"{figures.counted(of_positions, 'event')}, local time." if of_positions else "",
        figures.said(answers.events, "event") if answers.events else "",
        f"{figures.counted(sum(n for _, _, n in answers.scores), 'event')} with a score of 0 to 1, "
        "in steps of 0.02."
        if answers.scores
        else "",
        f"{answers.totals.failed:,} of {answers.totals.frames:,} frames failed"
        + (
            f": {figures.said(answers.failures, 'failed').partition(': ')[2]}."
            if answers.failures
            else "."
        )
        if answers.totals.frames
        else "",
    )


def _latencies(latencies: Sequence[Latency]) -> Any:
    if not latencies:
        return html.P(
            "No latencies: none of the frames has two times to compare.", className="soft"
        )
    heads = ("Camera", "Frames", "Median", "95 %", "99 %", "Slowest")
    parts: list[Any] = []
    for definition in dict.fromkeys(latency.definition for latency in latencies):
        some = [latency for latency in latencies if latency.definition == definition]
        body = [
            html.Tr(
                [
                    html.Th(figures.printable(latency.camera, 60), scope="row", dir="auto"),
                    html.Td(f"{latency.frames:,}"),
                    *(
                        html.Td(_ms(ms))
                        for ms in (latency.p50, latency.p95, latency.p99, latency.slowest)
                    ),
                ]
            )
            for latency in some[:_SHOWN_LATENCIES]
        ]
        before = sum(latency.before_sent for latency in some)
        table = html.Table(
            [
                html.Caption(
                    [
                        f"{definition[0].upper()}{definition[1:]} ",
                        html.Span(_DEFINITIONS[definition]),
                    ]
                ),
                html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
                html.Tbody(body),
            ]
        )
        words: list[Any] = [html.B(f"{_capital(definition)} "), _DEFINITIONS[definition]]
        said = html.P(words, className="definition")
        parts += [said, html.Div(table, className="scrolls", tabIndex=0)]
        if len(some) > _SHOWN_LATENCIES:
            parts.append(
                html.P(f"{len(some) - _SHOWN_LATENCIES:,} more cameras: choose some above.")
            )
        if before:
            parts.append(
                html.P(
                    f"{before:,} frames came before they were sent: the camera's clock is ahead.",
                    className="note",
                )
            )
    return parts


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ms(ms: float | None) -> str:
    if ms is None:
        return "–"
    if ms < 1:
        return "< 1 ms"
    if ms < 1_000:
        return f"{ms:,.0f} ms"
    if ms < 120_000:
        return f"{ms / 1_000:,.{max(0, 2 - int(math.log10(ms / 1_000)))}f} s"
    return f"{ms / 60_000:,.0f} min" if ms < 7_200_000 else f"{ms / 3_600_000:,.0f} h"


def _strip_rows(status: Status, choice: Choice, pictures: ExamplePictures) -> list[Any]:
    answers = answer(status.summary, choice, MINUTE)
    names = [label for label, _ in answers.events if label != NOTHING_DETECTED][:_STRIP_LABELS]
    codes = [code for code, _ in answers.failures][:_STRIP_LABELS]
    rows: list[Any] = []
    for some, failed in ((names, False), (codes, True)):
        chosen = examples(status.summary, choice, some, failed=failed)
        by_name: dict[str, list[Shown]] = {}
        for example in chosen:
            by_name.setdefault(example.label, []).append(pictures.shown(example))
        for name in some:
            if name in by_name:
                rows.append(_row(name, by_name[name], failed=failed))
    if rows:
        return rows
    if answers.events or answers.failures:
        return [
            html.P(
                f"No pictures: {pictures.why_none}.",
                className="soft",
            )
        ]
    return [html.P("No events, so no pictures.", className="soft")]


def _row(name: str, some: Sequence[Shown], *, failed: bool) -> html.Div:
    heading = figures.printable(name, 60)
    with_picture = [picture for picture in some if picture.data_uri]
    whys = dict.fromkeys(picture.why_missing for picture in some if picture.why_missing)
    inside: list[Any] = [_figure(heading, picture, failed=failed) for picture in with_picture]
    if not with_picture:
        inside.append(html.P(f"No picture: {'; '.join(whys)}.", className="soft", dir="auto"))
    return html.Div(
        [
            html.H3([html.Span("failed ", className="bad") if failed else "", heading], dir="auto"),
            html.Div(inside, className="pictures"),
        ],
        className="example",
    )


def _figure(name: str, picture: Shown, *, failed: bool) -> html.Figure:
    camera = figures.printable(picture.example.camera, 40)
    when = f"{picture.example.at:%Y-%m-%d %H:%M:%S}" if picture.example.at else "no time"
    return html.Figure(
        [
            html.Div(
                [
                    html.Img(
                        src=picture.data_uri,
                        alt=f"{'failed: ' if failed else ''}{name}, {camera}, {when}",
                        width=picture.width,
                        height=picture.height,
                    ),
                    *(
                        html.I(
                            className="box",
                            style={
                                "left": f"{xmin:.2%}",
                                "top": f"{ymin:.2%}",
                                "width": f"{xmax - xmin:.2%}",
                                "height": f"{ymax - ymin:.2%}",
                            },
                        )
                        for xmin, ymin, xmax, ymax in picture.boxes
                    ),
                ],
                className="picture",
            ),
            html.Figcaption([html.Span(camera, dir="auto"), html.Span(when)]),
        ]
    )
