"""Rows of stream_detect's results for tests of the dashboard, as Parquet in ``batch_id=N``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NOON = datetime(2026, 11, 21, 12, 0)

_ITEM = pa.struct(
    [("class_id", pa.int32()), ("label", pa.string()), ("score", pa.float32())]
    + [(side, pa.float32()) for side in ("xmin", "ymin", "xmax", "ymax")]
)
SCHEMA = pa.schema(
    [
        ("origin", pa.string()),
        ("received", pa.timestamp("us")),
        ("camera_id", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("detections", pa.list_(_ITEM)),
        ("error", pa.struct([("code", pa.string()), ("message", pa.string())])),
    ]
)


def item(label: str | None, score: float | None = 0.9, class_id: int = 1) -> dict[str, Any]:
    """One detection, in the middle of its picture."""
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), (0.25, 0.25, 0.75, 0.75), strict=True))
    return {"class_id": class_id, "label": label, "score": score, **sides}


def row(
    camera: str | None = "hall",
    labels: Sequence[str | None] | None = ("cat",),
    *,
    minute: float | None = 0,
    late_ms: float = 100,
    code: str | None = None,
    origin: str = "frames-0-1",
    score: float | None = 0.9,
) -> dict[str, Any]:
    """A frame of ``minute`` minutes after noon in UTC, received ``late_ms`` later."""
    at = None if minute is None else NOON + timedelta(minutes=minute)
    return {
        "origin": origin,
        "received": None if at is None else at + timedelta(milliseconds=late_ms),
        "camera_id": camera,
        "timestamp": at,
        "detections": None if labels is None or code else [item(one, score) for one in labels],
        "error": {"code": code, "message": "why"} if code else None,
    }


def write_batch(output: Path, batch_id: int, rows: Sequence[dict[str, Any]]) -> Path:
    """A batch as the job's sink leaves it: its own folder, and a file that no reader takes."""
    folder = output / f"batch_id={batch_id}"
    folder.mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    file = folder / f"part-0000-{len(rows)}.snappy.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), file)
    return file
