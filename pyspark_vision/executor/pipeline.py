"""The hot path: Arrow arrays of encoded bytes (or images) -> Arrow arrays of results.

One pass per image: bytes -> decode (reduced scale) -> the model's input -> engine -> typed row.
A decoded picture is resized before the next one is decoded, so that a worker holds one picture and
one engine batch, however many rows Arrow sends and however big they are.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from pyspark_vision.executor import (
    draw,
    heads,
    model_cache,
    model_files,
    object_store,
    results,
)
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.images import DecodeOptions, decode
from pyspark_vision.executor.isolation import IsolatedRows
from pyspark_vision.executor.object_store import Fetched, FetchOptions
from pyspark_vision.executor.preprocess import Placement, Preprocessor
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.engines import Engine

HeadOptions = heads.ClassifyOptions | heads.DetectOptions | heads.EmbedOptions

# Results leave the worker in pieces of at most this many rows: small enough that 4,096-long
# embeddings stay at 4 MB, large enough that a piece costs nothing beside its inference.
ROWS_PER_PIECE = 256

# decode_image returns pixels, fetch_object files: their pieces are cut at this many bytes.
BYTES_PER_PIECE = 32 * 1024 * 1024

# Encoded bytes, the fields of an image struct or of encoded bytes with an error, the reason why
# there are none, or nothing.
Source = bytes | dict[str, Any] | RowError | None


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
    sources = _sources_of(batches, inference.fetch)
    for first in sources:  # one turn, which uses them all up
        yield from _pieces(itertools.chain([first], sources), inference)


def _pieces(sources: Iterator[Source | Fetched], inference: Inference) -> Iterator[pa.StructArray]:
    predictor = _isolated(inference) if _task_attempts() > 1 else _predictor(inference)
    sizes = _piece_sizes(predictor.batch_rows)
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


def fetch_objects(batches: Iterator[pa.Array], options: FetchOptions) -> Iterator[pa.StructArray]:
    """URIs -> ``struct<content, error>``, in pieces bounded by their bytes."""
    piece: list[Fetched] = []
    fetched_bytes = 0
    for fetched in object_store.fetch_ahead(_uris(batches), options):
        piece.append(fetched)
        fetched_bytes += len(fetched.content) if isinstance(fetched.content, bytes) else 0
        if fetched_bytes >= BYTES_PER_PIECE or len(piece) == ROWS_PER_PIECE:
            yield _fetched_array(piece)
            piece, fetched_bytes = [], 0
    if piece:
        yield _fetched_array(piece)


def decode_images(batches: Iterator[pa.Array], options: DecodeOptions) -> Iterator[pa.StructArray]:
    """Encoded bytes -> image structs (full scale RGB), in pieces bounded by decoded bytes."""
    for batch in batches:
        piece: list[tuple[Image.Image | None, RowError | None]] = []
        decoded_bytes = 0
        for source in _sources(batch):
            try:
                image, _ = _image(source, options, None)
                piece.append((image, None))
                decoded_bytes += image.width * image.height * 3
            except RowError as error:
                piece.append((None, error))
            if decoded_bytes >= BYTES_PER_PIECE:
                yield _image_array(piece)
                piece, decoded_bytes = [], 0
        if piece:
            yield _image_array(piece)


def draw_on_images(
    batches: Iterator[tuple[pa.Array, pa.Array]], options: DecodeOptions
) -> Iterator[pa.Array]:
    """Images with their detections -> JPEG bytes; null where :func:`_drawn` has none."""
    for images, detections in batches:
        for start in range(0, len(images), ROWS_PER_PIECE):
            drawn: list[bytes | None] = []
            boxes = detections.slice(start, ROWS_PER_PIECE)
            for source, found in zip(
                _sources(images.slice(start, ROWS_PER_PIECE)), boxes, strict=True
            ):
                drawn.append(_drawn(source, found.as_py() or [], options))
            yield pa.array(drawn, pa.binary())


@dataclass(frozen=True)
class _Waiting:
    """A picture that stands in the engine's batch: where its row is, and what is known of it."""

    index: int
    placement: Placement
    size_wh: tuple[int, int]
    decode_ms: float


class Predictor:
    """A loaded model with its options; Spark-free, so that bundles are checked with it too."""

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        decode_options: DecodeOptions,
        head: HeadOptions,
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._decode = decode_options
        self._head = head
        self._preprocessor = Preprocessor(spec, exact=decode_options.exact)
        self.batch_rows = spec.fixed_batch or engine.batch_size
        self._batch = self._preprocessor.empty_batch(self.batch_rows)

    def predict(self, sources: Iterable[Source]) -> list[Row]:
        """One row per source, in order; a bad one becomes its error."""
        rows: list[Row] = []
        waiting: list[_Waiting] = []
        for index, source in enumerate(sources):
            rows.append(Row())
            started = time.perf_counter()
            try:
                image, size_wh = _image(source, self._decode, self._spec.input_hw)
                placement = self._preprocessor.fill(self._batch, len(waiting), image)
            except RowError as error:
                rows[index] = Row(error=error, decode_ms=_ms_since(started))
                continue
            waiting.append(_Waiting(index, placement, size_wh, _ms_since(started)))
            if len(waiting) == len(self._batch):
                self._run(rows, waiting)
                waiting = []
        if waiting:
            self._run(rows, waiting)
        return rows

    def _run(self, rows: list[Row], waiting: Sequence[_Waiting]) -> None:
        try:
            self._run_batch(rows, waiting, 0)
        # An engine may refuse one picture of a batch: the others must not pay for it.
        except Exception as failure:
            for position, one in enumerate(waiting):
                reason = failure
                if len(waiting) > 1:
                    try:
                        self._run_batch(rows, [one], position)
                        continue
                    except Exception as own_failure:
                        reason = own_failure
                error = RowError(ErrorCode.MODEL_FAILED, f"{type(reason).__name__}: {reason}")
                rows[one.index] = Row(None, *one.size_wh, error, one.decode_ms)

    def _run_batch(self, rows: list[Row], waiting: Sequence[_Waiting], start: int) -> None:
        count = len(waiting)
        batch = self._batch[start : start + count]
        if self._spec.fixed_batch is not None and count < self._spec.fixed_batch:
            # The rest of the buffer is earlier pictures or noise; its results are not looked at.
            batch = self._batch
        started = time.perf_counter()
        outputs = self._engine.run(batch)
        model_ms = _ms_since(started) / count
        offset = start if batch is self._batch else 0
        for position, one in enumerate(waiting):
            own = {role: values[offset + position] for role, values in outputs.items()}
            value = self._value(own, one.placement)
            rows[one.index] = Row(value, *one.size_wh, None, one.decode_ms, model_ms)

    def _value(self, outputs: heads.Outputs, placement: Placement) -> Any:
        if isinstance(self._head, heads.ClassifyOptions):
            return heads.classify(self._spec, outputs, self._head)
        if isinstance(self._head, heads.DetectOptions):
            return heads.detect(self._spec, outputs, placement, self._head)
        return heads.embed(outputs, self._head)


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
    elif isinstance(head, heads.DetectOptions):
        name, values = "detections", results.detections_array(rows, dict(spec.labels))
    else:
        name, values = "embedding", results.embeddings_array(rows)
    return results.result_array(name, values, rows, spec.name, spec.sha256, attempts=attempts)


def isolated_predictor(
    arguments: tuple[Inference, str, int],
) -> Callable[[Source], Row]:
    """For a child process: ``(inference, the model's local path, threads)`` -> a row's function."""
    inference, path, threads = arguments
    engine = load_engine(inference.spec, path, threads)
    predictor = Predictor(inference.spec, engine, inference.decode, inference.head)
    return lambda source: predictor.predict([source])[0]


def _task() -> Any:
    """Spark's context of the task, ``None`` outside of one."""
    from pyspark import TaskContext

    return TaskContext.get()


def _task_attempts() -> int:
    context = _task()
    return 1 if context is None else 1 + int(context.attemptNumber())


def _noting(piece: Iterable[Source | Fetched], attempts: list[int]) -> Iterator[Source]:
    """The sources as they are used up; to ``attempts``, how often each was worked on."""
    of_task = _task_attempts()
    for one in piece:
        asked = 1
        if isinstance(one, Fetched):
            asked = one.attempts
        elif isinstance(one, dict):  # image structs, and what others fetched, do not say
            asked = one.get("attempts") or 1
        attempts.append(max(of_task, asked))
        yield one.content if isinstance(one, Fetched) else one


def _isolated(inference: Inference) -> IsolatedRows:
    path, threads = model_files.local_path(inference.published), _threads()
    return IsolatedRows((inference, path, threads), inference.row_timeout_s)


def _threads() -> int:
    context = _task()
    return context.cpus() if context else 1


def _predictor(inference: Inference) -> Predictor:
    context, threads = _task(), _threads()
    if context and "gpu" in context.resources():
        # One process, one GPU: before CUDA starts, since it looks once. A worker that is reused
        # by a task with another address keeps the first.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", context.resources()["gpu"].addresses[0])
    spec = inference.spec

    def load() -> Engine:
        return load_engine(spec, model_files.local_path(inference.published), threads)

    key = (spec.file, spec.precision, spec.input_hw, spec.fixed_batch, threads)
    engine = model_cache.get(key, load)
    return Predictor(spec, engine, inference.decode, inference.head)


def _piece_sizes(batch_rows: int) -> Iterator[int]:
    """Whole batches of the engine: one, then twice as many each, up to ``ROWS_PER_PIECE`` rows.

    A picture that waits for a stream's next result is the first of its task; and a task of
    thousands pays for a few pieces more.
    """
    most = max(1, ROWS_PER_PIECE // batch_rows)
    batches = 1
    while True:
        yield batches * batch_rows
        batches = min(2 * batches, most)


def _sources_of(
    batches: Iterator[pa.Array], fetch: FetchOptions | None
) -> Iterator[Source | Fetched]:
    if fetch is None:
        return itertools.chain.from_iterable(map(_sources, batches))
    # Across Arrow batches: the fetches must not come to a halt at the end of each.
    return object_store.fetch_ahead(_uris(batches), fetch)


def _uris(batches: Iterator[pa.Array]) -> Iterator[str | None]:
    for batch in batches:
        is_text = pa.types.is_string(batch.type) or pa.types.is_large_string(batch.type)
        # Through pandas, a batch of nulls has lost its type.
        if not is_text and batch.null_count < len(batch):
            raise TypeError(f"the column is {batch.type}; it must be a string (URIs)")
        yield from batch.to_pylist()


def _sources(array: pa.Array) -> Iterator[Source]:
    """Row by row: one picture's bytes are copied out of Arrow at a time."""
    # Through pandas, a batch of nulls has lost its type.
    is_any_of = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null)
    encoded = any(is_it(array.type) for is_it in is_any_of)
    if not encoded and not _has_fields(array.type, results.IMAGE_TYPE, results.ENCODED_TYPE):
        raise TypeError(
            f"the column is {array.type}; it must be binary (encoded images), an image struct "
            "of decode_image or the struct of fetch_object"
        )
    return (scalar.as_py() for scalar in array)


def _has_fields(found: pa.DataType, *structs: pa.StructType) -> bool:
    names = {field.name for field in found} if pa.types.is_struct(found) else set()
    return any(names >= {field.name for field in struct} for struct in structs)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _image(
    source: Source, options: DecodeOptions, target_hw: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int]]:
    if isinstance(source, RowError):
        raise source
    if not isinstance(source, dict):
        return decode(source, options, target_hw)
    error = source["error"]
    if error is not None:
        try:
            code = ErrorCode(error["code"])
        except ValueError:  # a struct that someone else made
            code = ErrorCode.UNDECODABLE
        raise RowError(code, error["message"] or "")
    if "content" in source:
        return decode(source["content"], options, target_hw)
    data, size_wh = source["data"], (source["width"], source["height"])
    if data is None:
        raise RowError(ErrorCode.NULL_INPUT, "the image struct has no data")
    if None in size_wh or min(size_wh) < 1 or len(data) != size_wh[0] * size_wh[1] * 3:
        raise RowError(
            ErrorCode.UNDECODABLE,
            f"an image struct of {size_wh[0]}x{size_wh[1]} RGB pixels has {len(data)} bytes",
        )
    return Image.frombuffer("RGB", size_wh, data, "raw", "RGB", 0, 1), size_wh


def _drawn(source: Source, found: list[dict[str, Any]], options: DecodeOptions) -> bytes | None:
    """``None`` where the image cannot be read, or has a side that no JPEG holds."""
    try:
        image, _ = _image(source, options, None)
    except RowError:
        return None
    if max(image.size) > draw.MAX_JPEG_SIDE_PX:
        return None
    return draw.encode_jpeg(draw.draw_boxes(image, found))


def _image_array(
    piece: Sequence[tuple[Image.Image | None, RowError | None]],
) -> pa.StructArray:
    rows = [Row(error=error) for _, error in piece]
    images = [image for image, _ in piece]
    return pa.StructArray.from_arrays(
        [
            pa.array([image and image.width for image in images], pa.int32()),
            pa.array([image and image.height for image in images], pa.int32()),
            pa.array([image and image.tobytes() for image in images], pa.binary()),
            results.error_array(rows),
        ],
        fields=list(results.IMAGE_TYPE),
    )


def _fetched_array(piece: Sequence[Fetched]) -> pa.StructArray:
    null = RowError(ErrorCode.NULL_INPUT, "the URI is null")
    contents = [null if one.content is None else one.content for one in piece]
    errors = [one if isinstance(one, RowError) else None for one in contents]
    return pa.StructArray.from_arrays(
        [
            pa.array([one if isinstance(one, bytes) else None for one in contents], pa.binary()),
            results.error_array([Row(error=error) for error in errors]),
            pa.array([one.attempts for one in piece], pa.int32()),
        ],
        fields=list(results.FETCHED_TYPE),
    )
