"""Column -> Column: encoded images in, typed results out, one Python pass per image.

Every function takes a column name or Column of encoded bytes, of base64 text or data URIs, of
``struct<content, error>`` (what :func:`fetch_object` returns) or of image structs (what
:func:`decode_image` or Spark's own image source returns), and returns a
struct with an ``error`` field: null, or ``{code, message}``
(:class:`pyspark_vision.errors.ErrorCode`). Results have ``warnings``, too: null, or a list of what
they lack (:class:`pyspark_vision.errors.WarningCode`). A bad row never raises and is never
dropped; a wrong column type, model or option raises here, on the driver.

A column of arrays of any of these has an array of such structs, one for each element (a null array
is null, an empty one empty); so have the frames of an animation or TIFF with ``frames="all"`` or
``frames=n``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pyspark.sql import functions as F

from pyspark_vision import schemas
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.columns.model_functions import (
    classifying,
    detecting,
    embedding,
    embedding_texts,
    finding_keypoints,
    reading_text,
    segmenting,
)
from pyspark_vision.columns.options import (
    DEFAULT_FETCH_ATTEMPTS,
    DEFAULT_FETCH_CONCURRENCY,
    DEFAULT_FETCH_TIMEOUT_S,
    decode_options,
    fetch_options,
)
from pyspark_vision.columns.picture_functions import decoding, drawing
from pyspark_vision.columns.read_columns import (
    ReadColumn,
    mark_decoded,
    mark_fetched,
    read_column,
)
from pyspark_vision.columns.sql_functions import sql_udf
from pyspark_vision.columns.type_checks import (
    ENCODED,
    GENERATION,
    IMAGES,
    TEXT,
    URI,
    checked,
    named,
)
from pyspark_vision.columns.worker_functions import WorkerFunction, applied, once
from pyspark_vision.executor.decode.images import DEFAULT_MAX_BYTES, DecodeOptions
from pyspark_vision.spark.session import active_session

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import Column, SparkSession

    ColumnOrName = Column | str


class DecodeKeywords(TypedDict, total=False):
    """Keywords of every image function; see :class:`executor.decode.images.DecodeOptions`."""

    exact: bool
    max_bytes: int
    max_pixels: int
    formats: Sequence[str]
    decode: str
    grey_range: str | tuple[Any, ...]
    icc: str
    frames: str | int
    max_frames: int


def fetch_object(
    col: ColumnOrName,
    *,
    prefixes: Sequence[str] = (),
    max_bytes: int = DEFAULT_MAX_BYTES,
    concurrency: int = DEFAULT_FETCH_CONCURRENCY,
    max_attempts: int = DEFAULT_FETCH_ATTEMPTS,
    timeout_s: float = DEFAULT_FETCH_TIMEOUT_S,
    generation: ColumnOrName | None = None,
) -> Column:
    """URIs of objects (``s3://``, ``s3a://``, ``gs://``) -> ``struct<content: binary, error,
    attempts>``.

    Executors fetch them, by one client per worker with ``concurrency`` objects under way; in
    ``classify_image(fetch_object("uri"), m)`` that goes on while the model runs, in one pass. A
    missing, forbidden or unreachable object is that row's error (``fetch_not_found``,
    ``fetch_denied``, ``fetch_failed``), after ``max_attempts`` with growing pauses for throttling,
    5xx answers, lost connections and short bodies; null gives ``null_input``.

    The address of the service is Spark's own setting (``fs.s3a.endpoint``, ``….region``,
    ``fs.s3a.path.style.access``); credentials are the executor's (role, profile, ``AWS_*``).
    ``prefixes`` are the folders that URIs from outside may name; other URIs are
    ``fetch_denied``. ``file:`` URIs are read only under a prefix that names them.

    ``gs://`` needs the extra ``gcp`` on executors, and asks with their application-default
    credentials; docs/gcs.md has its settings (``fs.gs.*``). ``generation`` is a column (BIGINT, or
    STRING of digits) with the generation of the object that each row means, null for any. A
    generation that is gone because the object was replaced is ``fetch_replaced``, one that is gone
    with its object ``fetch_not_found``. URIs of other stores have none (``fetch_failed``).

    >>> df.select(classify_image(fetch_object("uri"), spec).alias("r")).select("r.*").show()
    """
    options = fetch_options(
        active_session(), prefixes, max_bytes, concurrency, max_attempts, timeout_s
    )
    # Not deterministic: a store may answer differently the second time it is asked.
    fetching = WorkerFunction(
        "fetch_object", "fetch_objects", options, schemas.FETCHED, is_deterministic=False
    )
    reference = checked("fetch_object", col, URI)
    if generation is not None:
        number = checked("fetch_object(generation=…)", generation, GENERATION)
        # As text: pandas, through which PySpark before 4.1 goes, makes floats of numbers and nulls.
        reference = F.struct(reference.alias("uri"), number.cast("string").alias("generation"))
    column = named("fetch_object", col, fetching.udf()(reference))
    mark_fetched(column, reference, options)
    return column


def decode_image(col: ColumnOrName, **decode: Unpack[DecodeKeywords]) -> Column:
    """Encoded bytes -> ``struct<width, height, data, error, warnings>``: upright RGB at full scale.

    ``data`` holds ``height * width * 3`` bytes, rows first; EXIF orientation is applied, alpha
    flattened over white, every colour space and depth turned into 8-bit RGB. A bad row has null
    fields and its ``error``. Around it, ``classify_image(decode_image("content"), m)`` is the same
    single pass as ``classify_image("content", m)``: pixels do not leave the Python worker. Keep
    the pixels only where you need them: a 12-megapixel picture is 36 MB.

    Keywords are those of :class:`DecodeOptions`, which every image function takes: ``exact``,
    ``max_bytes``, ``max_pixels``, ``formats``, ``decode``, ``grey_range``, ``icc``, ``frames`` and
    ``max_frames``. A function around ``decode_image`` takes only ``exact``.

    >>> frames = gif.select(F.explode(decode_image("content", frames="all")).alias("frame"))
    >>> frames.select("frame.width", "frame.height").show()
    +-----+------+
    |width|height|
    +-----+------+
    |   40|    30|
    |   40|    30|
    +-----+------+
    """
    options = decode_options("decode_image", decode)
    read = ReadColumn(col, options)
    column = named("decode_image", col, applied(decoding(read), read, ENCODED))
    mark_decoded(column, col, options)
    return column


def classify_image(
    col: ColumnOrName,
    model: ModelSpec,
    top_k: int = 5,
    score_threshold: float = 0.0,
    *,
    labels: Sequence[str] | None = None,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The ``top_k`` best classes with a score of at least ``score_threshold``.

    Returns ``struct<predictions: array<struct<class_id, label, score>>, width, height, model,
    model_sha256, model_digest, error, warnings>``, best first; ``width`` and ``height`` are those
    of the upright source.
    ``predictions`` is null where ``error`` is not, and empty where no class reaches the threshold.
    ``timings`` adds what a row cost (:data:`schemas.TIMINGS`).

    >>> spec = ModelSpec.load("models/demo-classifier")
    >>> df.select(classify_image("content", spec, top_k=1).alias("r")).select("r.*").show()

    An array of pictures gives an array of results:

    >>> pair = df.select(F.array("content", F.lit(b"no picture")).alias("pictures"))
    >>> results = pair.select(F.explode(classify_image("pictures", spec, top_k=1)).alias("r"))
    >>> results.select("r.predictions.label", "r.error.code").show()
    +-----+------------------+
    |label|              code|
    +-----+------------------+
    |[car]|              NULL|
    | NULL|unsupported_format|
    +-----+------------------+

    ``labels`` are the texts that a dual encoder (CLIP, SigLIP), which has no classes of its own,
    compares a picture with; a ``class_id`` is a text's place in the list. Their embeddings are
    computed once, here, with the extras ``onnx`` and ``text``. Scores add up to 1 over the texts
    where the model's ``score_kind`` is ``logit``; where it is ``sigmoid`` each is by itself.

    >>> dual = ModelSpec.load("models/demo-dual-encoder")
    >>> best = classify_image("content", dual, top_k=1, labels=["a red car", "a blue boat"])
    """
    read = read_column("classify_image", col, decode, timings=timings)
    function = classifying(active_session(), model, read, top_k, score_threshold, labels)
    return named("classify_image", col, once(applied(function, read)))


def detect_objects(
    col: ColumnOrName,
    model: ModelSpec,
    score_threshold: float = 0.5,
    max_detections: int = 100,
    iou_threshold: float | None = None,
    *,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """Objects with a score above ``score_threshold``, at most ``max_detections``, best first.

    Returns ``struct<detections: array<struct<class_id, label, score, xmin, ymin, xmax, ymax>>,
    width, height, model, model_sha256, model_digest, error, warnings>``; boxes are normalized to
    [0,1] of the upright picture, and those without area in it are left out (``warnings`` says how
    many).
    ``iou_threshold`` is that of the non-maximum suppression within a class; by default it is the
    model's (``spec.iou_threshold``, 0.5 where that is not said) for models that give raw boxes with
    a score for each class, and none for models that suppress on their own. Where a model names
    keypoints (``spec.keypoint_names``: BlazeFace, YuNet), each detection also has
    ``keypoints: array<struct<name, x, y, score>>``. ``detections`` is null where ``error`` is not.
    ``timings`` adds what a row cost (:data:`schemas.TIMINGS`).
    """
    read = read_column("detect_objects", col, decode, timings=timings)
    function = detecting(
        active_session(), model, read, score_threshold, max_detections, iou_threshold
    )
    return named("detect_objects", col, once(applied(function, read)))


def segment_image(
    col: ColumnOrName,
    model: ModelSpec,
    score_threshold: float | None = None,
    max_segments: int = 100,
    iou_threshold: float | None = None,
    mask_threshold: float = 0.5,
    *,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The pixels of each class, or of each object, as run-length masks of the upright picture.

    Returns ``struct<segments: array<struct<class_id, label, score, xmin, ymin, xmax, ymax, area,
    mask: struct<size, counts>>>, width, height, model, model_sha256, model_digest, error,
    warnings>``, best first. ``mask`` is COCO's (:data:`schemas.MASK`), which pycocotools reads;
    ``area`` is in pixels, the box normalized to [0,1]. ``segments`` is null where ``error`` is not.

    A model of classes (DeepLab, SegFormer, selfie masks) gives a segment for each class that has
    pixels, but for the background. Its ``score`` is the mean of the class' probability over the
    places of the model's map where it is the best; null for maps that hold the classes themselves.
    Where classes do not exclude one another, and for a map of one channel, a pixel belongs to a
    class whose probability is above ``mask_threshold``.

    A model of objects (YOLO's segmentation, Mask R-CNN) gives one for each object, as
    :func:`detect_objects` does; its mask is cut at its box, and may be empty.

    ``score_threshold``: by default 0.5 for objects, and none for classes. ``iou_threshold`` and
    ``timings`` are as in :func:`detect_objects`. Memory grows with the picture, not with the
    number of masks.

    >>> df.select(segment_image("content", spec).alias("r")).select("r.segments.area").show()
    """
    read = read_column("segment_image", col, decode, timings=timings)
    function = segmenting(
        active_session(),
        model,
        read,
        score_threshold,
        max_segments,
        iou_threshold,
        mask_threshold,
    )
    return named("segment_image", col, once(applied(function, read)))


def detect_keypoints(
    col: ColumnOrName,
    model: ModelSpec,
    score_threshold: float | None = None,
    max_poses: int = 100,
    iou_threshold: float | None = None,
    *,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """Named points of persons, hands or other things, with scores.

    Returns ``struct<poses: array<struct<class_id, label, score, xmin, ymin, xmax, ymax, keypoints:
    array<struct<name, x, y, score>>>>, width, height, model, model_sha256, model_digest, error,
    warnings>``, best first. Points are normalized to the upright picture, and may lie outside of
    it; a box is null where the model gives none. ``poses`` is null where ``error`` is not.

    A pose's ``score`` is the model's score of the box (YOLO's pose, MoveNet MultiPose) or of the
    presence (MediaPipe); MoveNet's single pose has the mean of its points' scores.
    ``score_threshold`` is 0.2 for such a mean by default, and else 0.5. All points of a pose are
    kept: their scores say which are seen. Models of one person or hand (MoveNet, MediaPipe)
    expect that it fills the picture. ``iou_threshold`` and ``timings`` are as in
    :func:`detect_objects`.

    >>> df.select(detect_keypoints("content", spec).alias("r")).select("r.poses.keypoints").show()
    """
    read = read_column("detect_keypoints", col, decode, timings=timings)
    function = finding_keypoints(
        active_session(), model, read, score_threshold, max_poses, iou_threshold
    )
    return named("detect_keypoints", col, once(applied(function, read)))


def embed_image(
    col: ColumnOrName,
    model: ModelSpec,
    normalize: bool = False,
    *,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The model's output as ``array<float>``, flattened; ``normalize`` divides by its L2 norm.

    Returns ``struct<embedding, width, height, model, model_sha256, model_digest, error,
    warnings>``;
    ``embedding`` is null where ``error`` is not. A spec of ``task="embed"`` names the output; for
    a Keras model it can be a layer (``ModelSpec.inspect(path, task="embed", layer="fc2")``).
    ``timings`` adds what a row cost (:data:`schemas.TIMINGS`).
    """
    read = read_column("embed_image", col, decode, timings=timings)
    function = embedding(active_session(), model, read, normalize)
    return named("embed_image", col, once(applied(function, read)))


def embed_text(col: ColumnOrName, model: ModelSpec, normalize: bool = False) -> Column:
    """Texts -> the vectors of a dual encoder's text side, in the space of its ``embed_image``.

    Returns ``struct<embedding: array<float>, model, model_sha256, model_digest, error, warnings>``.
    ``normalize`` divides by the L2 norm: the cosine of a picture and a text is then the sum of the
    products. A null text is ``null_input``, a blank one ``empty_input``; a text with more tokens
    than the model takes is cut there, and ``warnings`` says so (``text_cut``). Executors need the
    extras ``onnx`` and ``text``.

    >>> dual = ModelSpec.load("models/demo-dual-encoder")
    >>> queries = df.select(embed_text("query", dual, normalize=True).alias("r"))
    """
    read = ReadColumn(col, DecodeOptions())
    function = embedding_texts(active_session(), model, read, normalize)
    return named("embed_text", col, once(applied(function, read, TEXT)))


def read_text(
    col: ColumnOrName,
    model: ModelSpec,
    score_threshold: float = 0.5,
    *,
    box_threshold: float = 0.5,
    unclip_ratio: float = 1.6,
    timings: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The lines of text in a picture, from top to bottom and left to right.

    Returns ``struct<lines: array<struct<text, score, corners: array<struct<x, y>>>>, width, height,
    model, model_sha256, model_digest, error, warnings>``. ``score`` is the mean of the line's
    characters; lines below ``score_threshold`` are left out. ``corners`` are four, normalized to
    [0,1] of the upright picture, clockwise from the top left of the text as it is read. ``lines``
    is empty where there is no text, and null where ``error`` is not.

    ``box_threshold``: the mean score of a place that is taken for a line; ``unclip_ratio``: how far
    a line grows beyond what the detector shows of it. The defaults are RapidOCR's, as is the rest
    of what happens between picture and text. ``timings`` adds what a row cost
    (:data:`schemas.TIMINGS`). Executors need the extra ``ocr``.

    >>> reader = ModelSpec.load("bundles/ppocr")  # pyspark-vision bundle build FOLDER
    >>> df.select(F.explode(read_text("content", reader)["lines"]["text"])).show()
    """
    read = read_column("read_text", col, decode, timings=timings)
    function = reading_text(
        active_session(), model, read, score_threshold, box_threshold, unclip_ratio
    )
    return named("read_text", col, once(applied(function, read)))


def draw_detections(
    col: ColumnOrName, detections: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with its boxes drawn, as JPEG bytes.

    ``detections`` is the array of :func:`detect_objects` (``F.col("result.detections")``); null or
    empty draws none. Null where the picture cannot be read, or has a side above 65,500 pixels,
    which no JPEG holds.
    """
    return _drawn("draw_detections", col, detections, decode)


def draw_masks(
    col: ColumnOrName, segments: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with its segments filled and named, as JPEG bytes.

    ``segments`` is the array of :func:`segment_image` (``F.col("result.segments")``); else as
    :func:`draw_detections`.
    """
    return _drawn("draw_masks", col, segments, decode)


def draw_keypoints(
    col: ColumnOrName, poses: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with its poses drawn, points and the lines between, as JPEG bytes.

    ``poses`` is the array of :func:`detect_keypoints` (``F.col("result.poses")``); points with a
    score below 0.25 are left out. Else as :func:`draw_detections`.
    """
    return _drawn("draw_keypoints", col, poses, decode)


def draw_text_lines(
    col: ColumnOrName, lines: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with the outlines of its lines of text and what they say, as JPEG bytes.

    ``lines`` is the array of :func:`read_text` (``F.col("result.lines")``). Texts with other
    letters than Latin ones are drawn as their numbers (``#3``). Else as :func:`draw_detections`.
    """
    return _drawn("draw_text_lines", col, lines, decode)


def register(
    session: SparkSession,
    name: str,
    function: Callable[..., Column],
    model: ModelSpec | None = None,
    *,
    deterministic: bool = True,
    arrays: bool = False,
    **options: Any,
) -> None:
    """Make a function of this module a SQL function, with its model and options bound.

    >>> register(spark, "classify", classify_image, spec, top_k=1)
    >>> spark.sql("SELECT classify(content).predictions[0].label FROM images")

    ``options`` are the function's own. A ``deterministic`` function is run once for all fields
    that a query reads of it, and again for a filter on its result; another one is run for each
    field, and not again for a filter (docs/sql.md has the numbers). With ``arrays`` the function
    takes arrays of pictures, and only those: a SQL function has one type. Raises for a name that is
    no identifier, another function, or an option that it does not have.
    """
    udf = sql_udf(session, name, function, model, options, arrays=arrays)
    session.udf.register(name, udf if deterministic else udf.asNondeterministic())


def _drawn(function: str, col: ColumnOrName, items: ColumnOrName, decode: Any) -> Column:
    read = read_column(function, col, decode)
    # The pixels of a fetched object are drawn on as they came: it is not asked for again.
    source = col if read.fetch is not None else read.col
    udf = drawing(function, read).udf()
    return named(function, col, udf(checked(function, source, IMAGES), items))
