"""What workers do with pictures alone, without a model: decoding, and drawing on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.types import BinaryType

from pyspark_vision import schemas
from pyspark_vision.columns.worker_functions import WorkerFunction
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.decode.images import FIRST

if TYPE_CHECKING:
    from pyspark_vision.columns.read_columns import ReadColumn

# The functions of `executor.pipeline` that draw.
DRAWINGS = {
    "draw_detections": "draw_on_images",
    "draw_masks": "draw_masks_on_images",
    "draw_keypoints": "draw_keypoints_on_images",
    "draw_text_lines": "draw_text_lines_on_images",
}


def decoding(read: ReadColumn) -> WorkerFunction:
    """``decode_image``: pixels of each picture."""
    return WorkerFunction(
        "decode_image", "decode_images", read.decode, schemas.IMAGE, "decode_image_lists"
    )


def drawing(function: str, read: ReadColumn) -> WorkerFunction:
    """One of :data:`DRAWINGS`, of two columns: pictures, and what is drawn on them."""
    if read.decode.frames != FIRST:
        raise InvalidOptionError(
            f"{function}: frames={read.decode.frames!r}; it draws on one picture, the first"
        )
    return WorkerFunction(function, DRAWINGS[function], read.decode, BinaryType())
