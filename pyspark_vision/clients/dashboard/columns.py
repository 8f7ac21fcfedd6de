"""What of a table is a camera, a time, an event, a failure: SQL over its columns, by their types.

Read are our jobs' results (``detections``, ``segments``, ``poses``, ``lines``, ``predictions``, or
those inside a struct), week 9's
(``label``, ``confidence``, ``processing_time_ms``), dead letters (``error_code``, ``payload``) and
events (``event_type``). A column that is not there is said in words, and only what needs it is
missing on the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

# What a frame's objects are read of; boxes and pictures are read for examples only.
_ITEM_FIELDS = ("label", "score", "class_id", "text")
_ITEMS = ("detections", "segments", "poses", "lines", "predictions")
_ENDS_WITH_OFFSET = r"(Z|[+-]\d\d:?\d\d)$"

CAMERA_TO_BROKER = "camera to broker"
CAMERA_TO_RESULT = "camera to result"
PROCESSING = "decoding and model"


@dataclass(frozen=True)
class Layout:
    """SQL over a table with this schema; each value may be null.

    - ``is_events``: a row is an event, not a frame.
    - ``columns``: what is read, each with the fields that are wanted of it (none: all).
    - ``camera``, ``origin``: text. ``given_us``: microseconds since 1970, in local time where
      ``is_local`` is true. ``items``: list of ``{label, score}``, null of a failed frame.
      ``code``: of the error.
    - ``latencies``: milliseconds by their definition; ``{instant_us}`` stands for the frame's time.
    - ``missing``: what is not there, in words.
    """

    is_events: bool
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    camera: str
    origin: str
    given_us: str
    is_local: str
    items: str
    code: str
    latencies: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The columns of a row, to select of the table."""
        latencies = ", ".join(f"{sql} AS latency_{n}" for n, (_, sql) in enumerate(self.latencies))
        return (
            f"{self.camera} AS camera, {self.given_us} AS given_us, {self.is_local} AS is_local, "
            f"{self.items} AS item_list, {self.code} AS code, {self.origin} AS origin"
            + (f", {latencies}" if latencies else "")
        )


def find_layout(schema: pa.Schema) -> Layout:
    """How a table with this schema is read. Raises :class:`ValueError` if nothing of it can be."""
    columns: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []

    def text(names: Iterable[str], what: str) -> str:
        for name in names:
            if name in schema.names and _is_text(schema.field(name).type):
                columns[name] = ()
                return f"CAST({quoted(name)} AS VARCHAR)"
        if what:
            missing.append(what)
        return "CAST(NULL AS VARCHAR)"

    is_events = "event_type" in schema.names and _is_text(schema.field("event_type").type)
    camera = text(("camera_id",), "no column camera_id: all is shown as one camera")
    origin = text(("origin", "path"), "")
    when = ("timestamp", "processed_at", "received", "modificationTime")
    given_us, is_local, time_column = _time(schema, when)
    if time_column is None:
        missing.append("no column timestamp: nothing can be shown over time")
    else:
        columns[time_column] = ()
    items = _items(schema, columns)
    code = _code(schema, columns, has_items=items is not None and not is_events)
    if items is None:
        words = f"no column {', '.join(_ITEMS)} or label: there are no events"
        missing.append(words)
        if code == _NULL_TEXT:
            shown = ", ".join(schema.names[:12]) or "none"
            raise ValueError(
                f"it has no column {', '.join(_ITEMS)}, label, event_type, error or error_code; "
                f"its columns are {shown}"
            )
    if code == _NULL_TEXT and not is_events:
        missing.append("no column error: failures are not known")
    latencies = [] if is_events else _latencies(schema, columns, time_column)
    if not is_events and not latencies:
        missing.append("no columns received, processed_at or processing_time_ms: no latencies")
    return Layout(
        is_events,
        tuple(columns.items()),
        camera,
        origin,
        given_us,
        is_local,
        items or "CAST(NULL AS STRUCT(label VARCHAR, score DOUBLE)[])",
        code,
        tuple(latencies),
        tuple(missing),
    )


def quoted(name: str) -> str:
    """A name for SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


_NULL_TEXT = "CAST(NULL AS VARCHAR)"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _time(schema: pa.Schema, names: Iterable[str]) -> tuple[str, str, str | None]:
    """(microseconds, whether they are local, the column): of the first column that is a time."""
    for name in names:
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if pa.types.is_timestamp(kind):
            return _instant(name, kind), "FALSE", name
        if _is_text(kind):
            text = f"CAST({quoted(name)} AS VARCHAR)"
            has_offset = f"regexp_matches({text}, '{_ENDS_WITH_OFFSET}')"
            us = (
                f"CASE WHEN {has_offset} THEN epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)) "
                f"ELSE epoch_us(TRY_CAST({text} AS TIMESTAMP)) END"
            )
            return us, f"NOT {has_offset}", name
    return "CAST(NULL AS BIGINT)", "FALSE", None


def _instant(name: str, kind: pa.DataType) -> str:
    # A time without a zone is in UTC: Spark's and week 9's files have it so.
    return f"epoch_us(CAST({quoted(name)} AS {'TIMESTAMPTZ' if kind.tz else 'TIMESTAMP'}))"


def _items(schema: pa.Schema, columns: dict[str, tuple[str, ...]]) -> str | None:
    if "event_type" in schema.names:
        columns["event_type"] = ()
        return "[{label: CAST(event_type AS VARCHAR), score: CAST(NULL AS DOUBLE)}]"
    for path, kind in _paths(schema, _ITEMS):
        item = kind.value_type if _is_list(kind) else None
        if item is None or not pa.types.is_struct(item):
            continue
        fields = {field.name for field in item}
        if not fields & {"label", "class_id", "text"}:
            continue
        wanted = tuple(name for name in _ITEM_FIELDS if name in fields)
        columns[path[0]] = (*columns.get(path[0], ()), *wanted)
        label = "CAST(one.label AS VARCHAR)" if "label" in fields else _NULL_TEXT
        if "text" in fields:  # of a line of text it is what it says
            label = "CAST(one.text AS VARCHAR)"
        if "class_id" in fields:
            label = f"coalesce({label}, '#' || one.class_id)"
        score = "CAST(one.score AS DOUBLE)" if "score" in fields else "CAST(NULL AS DOUBLE)"
        place = ".".join(map(quoted, path))
        # Of classes the first is the answer; the others say how near they were.
        some = f"{place}[1:1]" if path[-1] == "predictions" else place
        return f"list_transform({some}, lambda one: {{label: {label}, score: {score}}})"
    if "label" in schema.names and _is_text(schema.field("label").type):
        columns["label"] = ()
        score = "CAST(NULL AS DOUBLE)"
        if "confidence" in schema.names:
            columns["confidence"] = ()
            score = "CAST(confidence AS DOUBLE)"
        label = "CAST(label AS VARCHAR)"
        return f"CASE WHEN label IS NOT NULL THEN [{{label: {label}, score: {score}}}] END"
    return None


def _code(schema: pa.Schema, columns: dict[str, tuple[str, ...]], *, has_items: bool) -> str:
    """The code of a failed row; ``no_result`` of one that has neither a result nor an error."""
    code = _NULL_TEXT
    for path, kind in _paths(schema, ("error",)):
        if pa.types.is_struct(kind) and "code" in {field.name for field in kind}:
            columns[path[0]] = (*columns.get(path[0], ()), "code")
            place = ".".join(map(quoted, path))
            code = f"CAST({place}.code AS VARCHAR)"
            break
    else:
        if "error_code" in schema.names:
            columns["error_code"] = ()
            code = "coalesce(CAST(error_code AS VARCHAR), 'no_code')"
        elif "error_message" in schema.names:
            columns["error_message"] = ()
            code = "split_part(CAST(error_message AS VARCHAR), ':', 1)"
    if code != _NULL_TEXT and has_items:
        code = f"coalesce({code}, CASE WHEN item_list IS NULL THEN 'no_result' END)"
    return code


def _paths(
    schema: pa.Schema, names: Iterable[str]
) -> Iterable[tuple[tuple[str, ...], pa.DataType]]:
    """Columns of these names, and fields of these names in columns that are structs."""
    for name in names:
        if name in schema.names:
            yield (name,), schema.field(name).type
        for column in schema:
            if pa.types.is_struct(column.type):
                for field in column.type:
                    if field.name == name:
                        yield (column.name, name), field.type


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _latencies(
    schema: pa.Schema, columns: dict[str, tuple[str, ...]], time_column: str | None
) -> list[tuple[str, str]]:
    latencies = []
    if time_column == "timestamp":
        later = ((CAMERA_TO_BROKER, "received"), (CAMERA_TO_RESULT, "processed_at"))
        for definition, name in later:
            us, is_local, column = _time(schema, (name,))
            if column is not None:
                columns[column] = ()
                # A time without an offset is nobody's to compare with.
                known = us if is_local == "FALSE" else f"CASE WHEN NOT ({is_local}) THEN {us} END"
                latencies.append((definition, f"({known} - {{instant_us}}) / 1000.0"))
    if "processing_time_ms" in schema.names:
        columns["processing_time_ms"] = ()
        latencies.append((PROCESSING, "CAST(processing_time_ms AS DOUBLE)"))
    return latencies
