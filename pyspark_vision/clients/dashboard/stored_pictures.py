"""The picture of an example: in its row, or in the file that the row came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.source import Picture, PictureMissing
from pyspark_vision.clients.pycturestream import BadMessageError, read_frame
from pyspark_vision.contact_sheet.pictures import Unavailable, picture_from_origin
from pyspark_vision.executor.drawing.draw import clipped_xyxy

# Pictures with boxes drawn, pictures as they came, and what came in of a dead letter.
_DRAWN, _PLAIN, _PAYLOAD = ("image", "annotated"), ("content",), ("payload",)
_ORIGINS = ("origin", "path")
_RESULTS = ("detections", "result")
# Rows that are read at once: pictures are megabytes each.
_ROWS = 16


def stored_picture(system: Any, example: Example) -> Picture:
    """Find the row of an example by its origin, and its picture there or at that origin.

    Raises :class:`PictureMissing` with the reason, in words for the page.
    """
    row = _row(system, example)
    for name in (*_DRAWN, *_PLAIN, *_PAYLOAD):
        encoded = row.get(name)
        if encoded:
            if name in _PAYLOAD:
                encoded = _of_message(encoded)
            return Picture(encoded, _boxes(row, example) if name in _PLAIN else ())
    picture = picture_from_origin(example.origin)
    if isinstance(picture, Unavailable):
        raise PictureMissing(
            f"{picture.reason}, and the rows hold no picture (stream_detect keeps them "
            "with --annotate)"
        )
    return Picture(picture, _boxes(row, example))


def _row(system: Any, example: Example) -> Mapping[str, Any]:
    if not example.file.endswith(".parquet"):
        return {}
    try:
        with system.open_input_file(example.file) as source, pq.ParquetFile(source) as parquet:
            names = parquet.schema_arrow.names
            key = next((name for name in _ORIGINS if name in names), None)
            if key is None:
                return {}
            wanted = [n for n in (key, *_DRAWN, *_PLAIN, *_PAYLOAD, *_RESULTS) if n in names]
            for number in range(parquet.num_row_groups):
                # The names alone first: pictures are what takes long to read.
                origins = parquet.read_row_group(number, columns=[key]).column(key)
                place = pc.index(origins.cast(pa.string()), example.origin).as_py()
                if place < 0:
                    continue
                batches = parquet.iter_batches(_ROWS, [number], wanted, use_threads=False)
                for batch in batches:
                    if place < batch.num_rows:
                        return dict(batch.slice(place, 1).to_pylist()[0])
                    place -= batch.num_rows
    except FileNotFoundError:
        raise PictureMissing("its file was replaced since it was read") from None
    except (OSError, ValueError) as error:
        raise PictureMissing(f"its file cannot be read: {' '.join(str(error).split())}") from None
    return {}


def _of_message(payload: bytes) -> bytes:
    """The picture of a dead letter: of PyctureStream's message, or the payload itself."""
    if not payload.lstrip().startswith(b"{"):
        return payload
    try:
        return read_frame(payload)[2]
    except BadMessageError as error:
        raise PictureMissing(f"the message has no picture: {error}") from None


def _boxes(
    row: Mapping[str, Any], example: Example
) -> tuple[tuple[float, float, float, float], ...]:
    inner = row.get("result")
    items = row.get("detections")
    if items is None and isinstance(inner, Mapping):
        items = inner.get("detections")
    boxes = []
    for item in items or ():
        label = item.get("label") if item.get("label") is not None else f"#{item.get('class_id')}"
        edges = clipped_xyxy(item)
        if label == example.label and edges is not None:
            boxes.append(edges)
    return tuple(boxes)
