"""The hot path: Arrow arrays of encoded bytes (or images) -> Arrow arrays of results.

One pass per image: bytes -> decode (reduced scale) -> the model's input -> engine -> typed row.
A decoded picture is resized before the next one is decoded, so that a worker holds one picture and
one engine batch, however many rows Arrow sends and however big they are.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from pyspark_vision.executor import results
from pyspark_vision.executor.answer_watch import watch_of
from pyspark_vision.executor.arrow_arrays import binaries, lists, numbers
from pyspark_vision.executor.decode.images import FIRST, DecodeOptions, Picture
from pyspark_vision.executor.drawing import draw
from pyspark_vision.executor.drawing.draw_keypoints import draw_keypoints
from pyspark_vision.executor.drawing.draw_masks import draw_masks
from pyspark_vision.executor.drawing.draw_text_lines import draw_text_lines
from pyspark_vision.executor.fetch import object_store
from pyspark_vision.executor.fetch.fetched import Fetched, FetchOptions
from pyspark_vision.executor.messages import arrays
from pyspark_vision.executor.messages.form import MessageForm
from pyspark_vision.executor.models import model_cache, model_files
from pyspark_vision.executor.outputs import heads
from pyspark_vision.executor.outputs.heads import HeadOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.executor.source_rows import (
    Source,
    picture_of,
    pictures_of,
    references_of,
    source_lists_of,
    sources_of,
)
from pyspark_vision.executor.text import text_embeddings
from pyspark_vision.executor.text.text_embeddings import TextInference
from pyspark_vision.executor.text.text_predictor import TextPredictor
from pyspark_vision.executor.text.text_reader import TextReader
from pyspark_vision.executor.worker.isolation import IsolatedRows
from pyspark_vision.executor.worker.loaded import load_model, predictor_of

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.engines import Engine
    from pyspark_vision.executor.models.shared_weights import SharedFolder

# (picture, the items of its row) -> another picture of the same size.
Drawing = Callable[[Image.Image, Sequence[dict[str, Any]]], Image.Image]

# Results leave the worker in pieces of at most this many rows: small enough that 4,096-long
# embeddings stay at 4 MB, large enough that a piece costs nothing beside its inference.
ROWS_PER_PIECE = 256

# Masks are text of some kilobytes each, and of noise of megabytes.
SEGMENTED_ROWS_PER_PIECE = 32

# decode_image returns pixels, fetch_object files: their pieces are cut at this many bytes.
BYTES_PER_PIECE = 32 * 1024 * 1024

# An animation's frames are one row's pixels together, and Arrow holds 2 GiB of them.
BYTES_PER_DECODED_ROW = 512 * 1024 * 1024

# The results of one row's pictures, and how often each of them was worked on.
_Listed = list[tuple[Row, int]]


@dataclass(frozen=True)
class Inference:
    """All that one inference UDF carries to the workers.

    With ``fetch`` the column holds URIs; with ``timings`` a result says what it cost.
    ``row_timeout_s``: what one row may take in a task's retry (:mod:`isolation`).
    """

    spec: ModelSpec
    published: model_files.PublishedFile
    decode: DecodeOptions
    head: HeadOptions
    fetch: FetchOptions | None = None
    timings: bool = False
    row_timeout_s: float = 300.0


def infer(batches: Iterator[pa.Array], inference: Inference) -> Iterator[pa.StructArray]:
    """Images in, the row contract out, in order, nothing dropped.

    The model is loaded when the first row is there, not before: an empty partition costs nothing.
    In a task's retry a row may be what ended the worker: each has a process of its own there.
    The first results leave as soon as they are there, for who waits for them.
    """
    sources = _sources(batches, inference.fetch)
    for first in sources:  # one turn, which uses them all up
        yield from _pieces(itertools.chain([first], sources), inference)


def _pieces(sources: Iterator[Source | Fetched], inference: Inference) -> Iterator[pa.StructArray]:
    predictor = _isolated(inference) if _task_attempts() > 1 else _predictor(inference)
    is_segmenting = isinstance(inference.head, heads.SegmentOptions)
    most_rows = SEGMENTED_ROWS_PER_PIECE if is_segmenting else ROWS_PER_PIECE
    sizes = _piece_sizes(predictor.batch_rows, most_rows)
    try:
        for first in sources:
            # To be used up before the next piece.
            piece = itertools.chain([first], itertools.islice(sources, next(sizes) - 1))
            attempts: list[int] = []
            rows = predictor.predict(_noting(piece, attempts))
            costs = attempts if inference.timings else None
            yield result_array(inference.spec, inference.head, rows, attempts=costs)
    finally:
        if isinstance(predictor, IsolatedRows):
            predictor.close()


def infer_lists(batches: Iterator[pa.Array], inference: Inference) -> Iterator[pa.ListArray]:
    """As :func:`infer`, of rows with several pictures: an array of results for each row.

    They are the elements of an array, or with ``decode.frames`` the frames of one file. The
    engine's batches go on from one row to the next. A null array is null.
    """
    rows = _source_lists(batches, inference)
    for first in rows:  # one turn, which uses them all up
        yield from _list_pieces(itertools.chain([first], rows), inference)


def _source_lists(
    batches: Iterator[pa.Array], inference: Inference
) -> Iterator[Sequence[Source | Fetched] | None]:
    if inference.decode.frames == FIRST:
        return itertools.chain.from_iterable(map(source_lists_of, batches))
    return ([source] for source in _sources(batches, inference.fetch))


def _list_pieces(
    rows: Iterator[Sequence[Source | Fetched] | None], inference: Inference
) -> Iterator[pa.ListArray]:
    predictor = _isolated(inference) if _task_attempts() > 1 else _predictor(inference)
    lengths: deque[int | None] = deque()  # how many sources each row has that was begun
    attempts: deque[int] = deque()

    def sources() -> Iterator[Source | Fetched]:
        for row in rows:
            lengths.append(None if row is None else len(row))
            yield from row or ()

    def array(piece: list[_Listed | None]) -> pa.ListArray:
        flat = [entry for listed in piece if listed is not None for entry in listed]
        results_of = [row for row, _ in flat]
        costs = [asked for _, asked in flat] if inference.timings else None
        items = result_array(inference.spec, inference.head, results_of, attempts=costs)
        return lists([None if listed is None else len(listed) for listed in piece], items)

    try:
        piece: list[_Listed | None] = []
        listed: _Listed = []
        taken = pictures = 0
        for rows_of_source in predictor.stream(_noting(sources(), attempts)):
            while not lengths[0]:
                piece.append(None if lengths.popleft() is None else [])
            asked = attempts.popleft()
            listed += [(row, asked) for row in rows_of_source]
            taken, pictures = taken + 1, pictures + len(rows_of_source)
            if taken == lengths[0]:
                lengths.popleft()
                piece.append(listed)
                listed, taken = [], 0
                if pictures >= ROWS_PER_PIECE:
                    yield array(piece)
                    piece, pictures = [], 0
        piece += [None if length is None else [] for length in lengths]
        if piece:
            yield array(piece)
    finally:
        if isinstance(predictor, IsolatedRows):
            predictor.close()


def fetch_objects(batches: Iterator[pa.Array], options: FetchOptions) -> Iterator[pa.StructArray]:
    """URIs -> ``struct<content, error>``, in pieces bounded by their bytes."""
    piece: list[Fetched] = []
    fetched_bytes = 0
    for fetched in object_store.fetch_ahead(references_of(batches), options):
        piece.append(fetched)
        fetched_bytes += len(fetched.content) if isinstance(fetched.content, bytes) else 0
        if fetched_bytes >= BYTES_PER_PIECE or len(piece) == ROWS_PER_PIECE:
            yield _fetched_array(piece)
            piece, fetched_bytes = [], 0
    if piece:
        yield _fetched_array(piece)


def embed_texts(batches: Iterator[pa.Array], inference: TextInference) -> Iterator[pa.Array]:
    """Texts in, their embeddings in the row contract out (:mod:`text_embeddings`)."""
    return text_embeddings.embed_batches(batches, inference, _threads())


def read_messages(
    batches: Iterator[tuple[pa.Array, pa.Array]], form: MessageForm
) -> Iterator[pa.StructArray]:
    """Records' values and headers -> their pictures and fields (:mod:`messages.arrays`)."""
    return arrays.read_batches(batches, form)


def decode_images(batches: Iterator[pa.Array], options: DecodeOptions) -> Iterator[pa.StructArray]:
    """Encoded bytes -> image structs (full scale RGB), in pieces bounded by decoded bytes."""
    for batch in batches:
        for piece in _decoded_pieces(([source] for source in sources_of(batch)), options):
            yield _image_array([pictures[0] for pictures in piece if pictures])


def decode_image_lists(
    batches: Iterator[pa.Array], options: DecodeOptions
) -> Iterator[pa.ListArray]:
    """As :func:`decode_images`, of rows with several pictures (:func:`infer_lists`)."""
    for batch in batches:
        rows: Iterator[list[Source] | None] = (
            source_lists_of(batch)
            if options.frames == FIRST
            else ([source] for source in sources_of(batch))
        )
        for piece in _decoded_pieces(rows, options):
            lengths = [None if pictures is None else len(pictures) for pictures in piece]
            flat = [picture for pictures in piece if pictures for picture in pictures]
            yield lists(lengths, _image_array(flat))


def _decoded_pieces(
    rows: Iterator[list[Source]] | Iterator[list[Source] | None], options: DecodeOptions
) -> Iterator[list[list[Picture | RowError] | None]]:
    """The pictures of each row, in pieces that end when their pixels are ``BYTES_PER_PIECE``."""
    piece: list[list[Picture | RowError] | None] = []
    decoded_bytes = 0
    for row in rows:
        pictures: list[Picture | RowError] = []
        row_bytes = 0
        for source in row or ():
            for picture in pictures_of(source, options, None):
                if row_bytes > BYTES_PER_DECODED_ROW:
                    pictures.append(_too_many_in_a_row())
                    break
                pictures.append(picture)
                if isinstance(picture, Picture):
                    row_bytes += picture.image.width * picture.image.height * 3
        piece.append(None if row is None else pictures)
        decoded_bytes += row_bytes
        if decoded_bytes >= BYTES_PER_PIECE:
            yield piece
            piece, decoded_bytes = [], 0
    if piece:
        yield piece


def draw_on_images(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions
) -> Iterator[pa.Array]:
    """Images with their detections -> JPEG bytes; null where :func:`_drawn` has none."""
    return _drawn_on(batches, options, draw.draw_boxes)


def draw_masks_on_images(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions
) -> Iterator[pa.Array]:
    """As :func:`draw_on_images`, with segments."""
    return _drawn_on(batches, options, draw_masks)


def draw_keypoints_on_images(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions
) -> Iterator[pa.Array]:
    """As :func:`draw_on_images`, with poses."""
    return _drawn_on(batches, options, draw_keypoints)


def draw_text_lines_on_images(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions
) -> Iterator[pa.Array]:
    """As :func:`draw_on_images`, with lines of text."""
    return _drawn_on(batches, options, draw_text_lines)


def _drawn_on(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions, drawing: Drawing
) -> Iterator[pa.Array]:
    for images, items in batches:
        for start in range(0, len(images), ROWS_PER_PIECE):
            drawn: list[bytes | None] = []
            of_piece = items.slice(start, ROWS_PER_PIECE)
            for source, detections in zip(
                sources_of(images.slice(start, ROWS_PER_PIECE)), of_piece, strict=True
            ):
                drawn.append(_drawn(source, detections.as_py() or [], options, drawing))
            yield binaries(drawn)


def result_array(
    spec: ModelSpec,
    head: HeadOptions,
    rows: Sequence[Row],
    *,
    attempts: Sequence[int] | None = None,
) -> pa.StructArray:
    """Rows -> the row contract as one Arrow struct array; with ``attempts``, what each cost."""
    if isinstance(head, heads.ClassifyOptions):
        name, values = "predictions", results.predictions_array(rows, dict(spec.labels))
    elif isinstance(head, heads.MatchOptions):
        labels = dict(enumerate(head.labels))
        name, values = "predictions", results.predictions_array(rows, labels)
    elif isinstance(head, heads.ReadOptions):
        name, values = "lines", results.lines_array(rows)
    elif isinstance(head, heads.DetectOptions):
        name = "detections"
        values = results.detections_array(rows, dict(spec.labels), spec.keypoint_names)
    elif isinstance(head, heads.SegmentOptions):
        name, values = "segments", results.segments_array(rows, dict(spec.labels))
    elif isinstance(head, heads.PoseOptions):
        values = results.poses_array(rows, dict(spec.labels), spec.keypoint_names)
        name = "poses"
    else:
        name, values = "embedding", results.embeddings_array(rows)
    return results.result_array(
        name, values, rows, spec.name, spec.sha256, spec.digest, attempts=attempts
    )


def _task() -> Any:
    """Spark's context of the task, ``None`` outside of one."""
    from pyspark import TaskContext

    return TaskContext.get()


def _task_attempts() -> int:
    context = _task()
    return 1 if context is None else 1 + int(context.attemptNumber())


def _noting(piece: Iterable[Source | Fetched], attempts: MutableSequence[int]) -> Iterator[Source]:
    """The sources as they are used up; to ``attempts``, how often each was worked on."""
    of_task = _task_attempts()
    for source in piece:
        asked = 1
        if isinstance(source, Fetched):
            asked = source.attempts
        elif isinstance(source, dict):  # image structs, and what others fetched, do not say
            asked = source.get("attempts") or 1
        attempts.append(max(of_task, asked))
        yield source.content if isinstance(source, Fetched) else source


def _isolated(inference: Inference) -> IsolatedRows:
    path, shared = model_files.local_path(inference.published), _shared(inference)
    return IsolatedRows((inference, path, _threads(), shared), inference.row_timeout_s)


def _shared(inference: Inference) -> SharedFolder | None:
    return None if _task() is None else model_files.shared_folder(inference.published)


def _threads() -> int:
    context = _task()
    return context.cpus() if context else 1


def _predictor(inference: Inference) -> Predictor | TextPredictor:
    context, threads = _task(), _threads()
    if context and "gpu" in context.resources():
        # One process, one GPU: before CUDA starts, since it looks once. A worker that is reused
        # by a task with another address keeps the first.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", context.resources()["gpu"].addresses[0])
    spec = inference.spec

    def load() -> Engine | TextReader:
        path = model_files.local_path(inference.published)
        return load_model(spec, path, threads, _shared(inference))

    # All that an engine looks at: two specs of one file may differ in it.
    shape = (spec.input_shape(1), spec.input_dtype, spec.fixed_batch)
    key = (spec.file, spec.precision, *shape, threads)
    model = model_cache.get(key, load)
    return predictor_of(spec, model, inference.decode, inference.head, watch_of(spec))


def _piece_sizes(batch_rows: int, most_rows: int) -> Iterator[int]:
    """Whole batches of the engine: one, then twice as many each, up to ``most_rows``.

    A picture that waits for a stream's next result is the first of its task; and a task of
    thousands pays for a few pieces more.
    """
    most = max(1, most_rows // batch_rows)
    batches = 1
    while True:
        yield batches * batch_rows
        batches = min(2 * batches, most)


def _sources(batches: Iterator[pa.Array], fetch: FetchOptions | None) -> Iterator[Source | Fetched]:
    if fetch is None:
        return itertools.chain.from_iterable(map(sources_of, batches))
    # Across Arrow batches: the fetches must not come to a halt at the end of each.
    return object_store.fetch_ahead(references_of(batches), fetch)


def _drawn(
    source: Source, detections: list[dict[str, Any]], options: DecodeOptions, drawing: Drawing
) -> bytes | None:
    """``None`` where the image cannot be read, or has a side that no JPEG holds."""
    try:
        image = picture_of(source, options, None).image
    except RowError:
        return None
    if max(image.size) > draw.MAX_JPEG_SIDE_PX:
        return None
    return draw.encode_jpeg(drawing(image, detections))


def _image_array(pictures: Sequence[Picture | RowError]) -> pa.StructArray:
    images = [picture.image if isinstance(picture, Picture) else None for picture in pictures]
    rows = [
        Row(warnings=picture.warnings) if isinstance(picture, Picture) else Row(error=picture)
        for picture in pictures
    ]
    return pa.StructArray.from_arrays(
        [
            numbers([None if image is None else image.width for image in images], pa.int32()),
            numbers([None if image is None else image.height for image in images], pa.int32()),
            binaries([None if image is None else image.tobytes() for image in images]),
            results.error_array(rows),
            results.warnings_array(rows),
        ],
        fields=list(results.IMAGE_TYPE),
    )


def _too_many_in_a_row() -> RowError:
    return RowError(
        ErrorCode.TOO_MANY_PIXELS,
        f"the pictures of this row before this one are more than {BYTES_PER_DECODED_ROW >> 20} MiB "
        "of pixels; a model around decode_image takes each by itself",
    )


def _fetched_array(piece: Sequence[Fetched]) -> pa.StructArray:
    null = RowError(ErrorCode.NULL_INPUT, "the URI is null")
    contents = [null if fetched.content is None else fetched.content for fetched in piece]
    errors = [content if isinstance(content, RowError) else None for content in contents]
    return pa.StructArray.from_arrays(
        [
            binaries([content if isinstance(content, bytes) else None for content in contents]),
            results.error_array([Row(error=error) for error in errors]),
            numbers([fetched.attempts for fetched in piece], pa.int32()),
        ],
        fields=list(results.FETCHED_TYPE),
    )
