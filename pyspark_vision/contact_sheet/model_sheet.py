"""A model's answers to pictures as a contact sheet, without a job: what a proposal would give."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pyspark_vision.contact_sheet.files import ContactSheetError
from pyspark_vision.contact_sheet.sheet import SheetCounts, build_contact_sheet
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.outputs.heads import (
    ClassifyOptions,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    PoseOptions,
    ReadOptions,
    SegmentOptions,
    default_iou_threshold,
)
from pyspark_vision.executor.pipeline import result_array
from pyspark_vision.executor.worker.loaded import load_model, predictor_of

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

# Below detect_objects' 0.5: a model that is read wrongly is seen by its weak boxes, too.
SCORE_THRESHOLD = 0.3
_MASK_THRESHOLD = 0.5
# As of read_text.
_BOX_THRESHOLD, _UNCLIP_RATIO = 0.5, 1.6
_TOP_CLASSES = 5
_MOST_BOXES = 100

# A page of ours says so in its first lines (page.html).
_GENERATOR = b'<meta name="generator" content="pyspark-vision contact-sheet">'


def build_model_sheet(
    spec: ModelSpec,
    pictures: Sequence[Path],
    output: str | Path,
    *,
    title: str,
    on_rows: Callable[[int], None] | None = None,
) -> SheetCounts:
    """Run the model on pictures, and write a page with its answers drawn on them.

    ``pictures``: files; one that cannot be read is a failed card. ``output`` is replaced if it is
    such a page, and refused (:class:`ContactSheetError`) if it is another file.
    """
    target = Path(output)
    check_output(target)
    with tempfile.TemporaryDirectory(prefix="pyspark_vision-sheet-") as folder:
        results = Path(folder, "results.parquet")
        writer: Any = None
        for batch in _answers(spec, pictures):
            writer = writer or pq.ParquetWriter(results, batch.schema)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
        return build_contact_sheet(
            results, target, limit=len(pictures), title=title, on_rows=on_rows
        )


def check_output(target: Path) -> None:
    """Refuse a place that holds somebody else's file, before the model runs."""
    if target.is_dir() or not target.parent.is_dir():
        raise ContactSheetError(
            f"`sheet` {target} is a folder, or its folder does not exist: name the HTML file to "
            "write, in a folder that exists"
        )
    if target.exists() and _GENERATOR not in target.read_bytes()[:4096]:
        raise ContactSheetError(
            f"`sheet` {target} exists and is no contact sheet: name another file"
        )


def _answers(spec: ModelSpec, pictures: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """A picture at a time: ``origin, content, result``."""
    head = _head(spec)
    model = load_model(spec, spec.path, os.cpu_count() or 1)
    predictor = predictor_of(spec, model, DecodeOptions(), head)
    for file in pictures:
        content = file.read_bytes()
        result = result_array(spec, head, predictor.predict([content]))
        arrays = [pa.array([file.as_uri()]), pa.array([content], pa.binary()), result]
        yield pa.RecordBatch.from_arrays(arrays, names=["origin", "content", "result"])


def _head(spec: ModelSpec) -> HeadOptions:
    suppression = default_iou_threshold(spec)
    if spec.task == "classify":
        return ClassifyOptions(_TOP_CLASSES, 0.0)
    if spec.task == "embed":
        return EmbedOptions(normalize=False)
    if spec.task == "segment":
        is_map = {"pixel_scores", "pixel_classes"} & dict(spec.file.outputs).keys()
        least = 0.0 if is_map else SCORE_THRESHOLD
        return SegmentOptions(least, _MOST_BOXES, suppression, _MASK_THRESHOLD)
    if spec.task == "keypoints":
        return PoseOptions(SCORE_THRESHOLD, _MOST_BOXES, suppression)
    if spec.task == "ocr":
        return ReadOptions(SCORE_THRESHOLD, _BOX_THRESHOLD, _UNCLIP_RATIO)
    return DetectOptions(SCORE_THRESHOLD, _MOST_BOXES, suppression)
