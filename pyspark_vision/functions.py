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

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, StructType

from pyspark_vision import schemas
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import publish
from pyspark_vision.columns.label_vectors import label_vectors
from pyspark_vision.columns.options import (
    DECODE_KEYS,
    DEFAULT_FETCH_ATTEMPTS,
    DEFAULT_FETCH_CONCURRENCY,
    DEFAULT_FETCH_TIMEOUT_S,
    at_least_one,
    decode_options,
    fetch_options,
    texts,
    within_unit,
)
from pyspark_vision.columns.type_checks import (
    ENCODED,
    GENERATION,
    IMAGES,
    REFERENCE,
    TEXT,
    URI,
    Accepted,
    by_array,
    checked,
    named,
    or_arrays,
)
from pyspark_vision.columns.udf import vision_udf
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.fetched import FetchOptions
from pyspark_vision.executor.heads import (
    ClassifyOptions,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    MatchOptions,
    PoseOptions,
    ReadOptions,
    SegmentOptions,
    default_iou_threshold,
)
from pyspark_vision.executor.images import DEFAULT_MAX_BYTES, FIRST, DecodeOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.executor.text_embeddings import TextInference
from pyspark_vision.spark.session import active_session, row_timeout_s

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import Column, SparkSession
    from pyspark.sql.udf import UserDefinedFunction

    ColumnOrName = Column | str

# Of MoveNet's points, the least that TensorFlow's demo crops by (`MIN_CROP_KEYPOINT_SCORE`).
_DEFAULT_MEAN_SCORE = 0.2
# A line would be larger than most pictures; in use are 1.5 to 2.
_MAX_UNCLIP_RATIO = 10


# Set on the Columns that decode_image and fetch_object return, so that an image function right
# around them does all in one pass instead of handing pixels or files from one UDF to the next.
_DECODE_MARK = "_pyspark_vision_decode"
_FETCH_MARK = "_pyspark_vision_fetch"


class DecodeKeywords(TypedDict, total=False):
    """Keywords of every image function; see :class:`executor.images.DecodeOptions`."""

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

    Fetched in the executors, by one client per worker with ``concurrency`` objects under way; in
    ``classify_image(fetch_object("uri"), m)`` that goes on while the model runs, in one pass. A
    missing, forbidden or unreachable object is that row's error (``fetch_not_found``,
    ``fetch_denied``, ``fetch_failed``), after ``max_attempts`` with growing pauses for throttling,
    5xx answers, lost connections and short bodies; null gives ``null_input``.

    The address of the service is Spark's own setting (``fs.s3a.endpoint``, ``….region``,
    ``fs.s3a.path.style.access``); credentials are the executor's (role, profile, ``AWS_*``).
    ``prefixes``: where URIs come from outside, the folders they may name; others are
    ``fetch_denied``. ``file:`` URIs are read only under a prefix that names them.

    ``gs://`` needs the extra ``gcp`` on executors, and asks with their application-default
    credentials; docs/gcs.md has its settings (``fs.gs.*``). ``generation``: a column (BIGINT, or
    STRING of digits) of the generation of the object that each row means, null for any. A
    generation that is gone because the object was replaced is ``fetch_replaced``, one that is gone
    with its object ``fetch_not_found``. URIs of other stores have none (``fetch_failed``).

    >>> df.select(classify_image(fetch_object("uri"), spec).alias("r")).select("r.*").show()
    """
    options = fetch_options(
        active_session(), prefixes, max_bytes, concurrency, max_attempts, timeout_s
    )
    udf = vision_udf("fetch_objects", options, schemas.FETCHED, name="fetch_object")
    reference = checked("fetch_object", col, URI)
    if generation is not None:
        number = checked("fetch_object(generation=…)", generation, GENERATION)
        # As text: pandas, through which PySpark before 4.1 goes, makes floats of numbers and nulls.
        reference = F.struct(reference.alias("uri"), number.cast("string").alias("generation"))
    # Not deterministic: a store may answer differently the second time it is asked.
    column = named("fetch_object", col, udf.asNondeterministic()(reference))
    column.__dict__[_FETCH_MARK] = (reference, options)
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
    read = _Read(col, options)
    result = _by_type("decode_image", ENCODED, _decode_udfs(None, None, read), read)
    column = named("decode_image", col, result)
    column.__dict__[_DECODE_MARK] = (col, options)
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

    Of an array of pictures, an array of results:

    >>> pair = df.select(F.array("content", F.lit(b"no picture")).alias("pictures"))
    >>> results = pair.select(F.explode(classify_image("pictures", spec, top_k=1)).alias("r"))
    >>> results.select("r.predictions.label", "r.error.code").show()
    +-----+------------------+
    |label|              code|
    +-----+------------------+
    |[car]|              NULL|
    | NULL|unsupported_format|
    +-----+------------------+

    ``labels``: of a dual encoder (CLIP, SigLIP), which has no classes of its own, the texts that a
    picture is compared with; a ``class_id`` is a text's place in the list. Their embeddings are
    computed once, here, with the extras ``onnx`` and ``text``. Scores add up to 1 over the texts
    where the model's ``score_kind`` is ``logit``; where it is ``sigmoid`` each is by itself.

    >>> dual = ModelSpec.load("models/demo-dual-encoder")
    >>> best = classify_image("content", dual, top_k=1, labels=["a red car", "a blue boat"])
    """
    read = _read("classify_image", col, decode, timings=timings)
    udfs = _classify_udfs(active_session(), model, read, top_k, score_threshold, labels)
    return _applied("classify_image", col, udfs, read)


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
    a score for each class, and none for models that suppress on their own. Of a model that names
    keypoints (``spec.keypoint_names``: BlazeFace, YuNet), each detection has
    ``keypoints: array<struct<name, x, y, score>>``, too. ``detections`` is null where ``error`` is
    not. ``timings`` adds what a row cost
    (:data:`schemas.TIMINGS`).
    """
    read = _read("detect_objects", col, decode, timings=timings)
    udfs = _detect_udfs(
        active_session(), model, read, score_threshold, max_detections, iou_threshold
    )
    return _applied("detect_objects", col, udfs, read)


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
    read = _read("segment_image", col, decode, timings=timings)
    udfs = _segment_udfs(
        active_session(),
        model,
        read,
        score_threshold,
        max_segments,
        iou_threshold,
        mask_threshold,
    )
    return _applied("segment_image", col, udfs, read)


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

    A pose's ``score`` is the model's: of the box (YOLO's pose, MoveNet MultiPose) or of the
    presence (MediaPipe); MoveNet's single pose has the mean of its points'. ``score_threshold`` is
    0.2 for such a mean by default, and else 0.5. All points of a pose are kept: their scores say
    which are seen. Models of one person or hand (MoveNet, MediaPipe) expect that it fills the
    picture. ``iou_threshold`` and ``timings`` are as in :func:`detect_objects`.

    >>> df.select(detect_keypoints("content", spec).alias("r")).select("r.poses.keypoints").show()
    """
    read = _read("detect_keypoints", col, decode, timings=timings)
    udfs = _keypoints_udfs(active_session(), model, read, score_threshold, max_poses, iou_threshold)
    return _applied("detect_keypoints", col, udfs, read)


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
    read = _read("embed_image", col, decode, timings=timings)
    udfs = _embed_udfs(active_session(), model, read, normalize)
    return _applied("embed_image", col, udfs, read)


def embed_text(col: ColumnOrName, model: ModelSpec, normalize: bool = False) -> Column:
    """Texts -> the vectors of a dual encoder's text side, in the space of its ``embed_image``.

    Returns ``struct<embedding: array<float>, model, model_sha256, model_digest, error, warnings>``.
    ``normalize`` divides by the L2 norm: the cosine of a picture and a text is then the sum of the
    products. A null text is ``null_input``, a blank one ``empty_input``; of a text with more tokens
    than the model takes the rest is left out, and ``warnings`` says so (``text_cut``). Executors
    need the extras ``onnx`` and ``text``.

    >>> dual = ModelSpec.load("models/demo-dual-encoder")
    >>> queries = df.select(embed_text("query", dual, normalize=True).alias("r"))
    """
    udfs = _embed_text_udfs(active_session(), model, _Read(col, DecodeOptions()), normalize)
    return named("embed_text", col, _once(udfs.one(checked("embed_text", col, TEXT))))


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
    read = _read("read_text", col, decode, timings=timings)
    udfs = _read_text_udfs(
        active_session(), model, read, score_threshold, box_threshold, unclip_ratio
    )
    return _applied("read_text", col, udfs, read)


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
    if not name.isidentifier():
        raise InvalidOptionError(f"name={name!r} is not a SQL identifier: letters, digits and _")
    make_udfs = _UDF_MAKERS.get(getattr(function, "__name__", ""))
    if make_udfs is None:
        raise InvalidOptionError(
            f"function={function!r} cannot be registered; choose one of {', '.join(_UDF_MAKERS)}"
        )
    own = {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    if unknown := sorted(set(options) - {*own, *DECODE_KEYS}):
        raise InvalidOptionError(
            f"{function.__name__} does not take {', '.join(unknown)}; it takes "
            f"{', '.join([*own, *DECODE_KEYS])}"
        )
    decode = {key: options.pop(key) for key in DECODE_KEYS if key in options}
    values = {**own, **options}
    read = _Read("", decode_options(name, decode), timings=bool(values.pop("timings", False)))
    udfs = make_udfs(session, model, read, **values)
    udf = udfs.one if read.decode.frames == FIRST else udfs.lists
    if arrays:
        if read.decode.frames != FIRST or udfs.lists is None:
            raise InvalidOptionError(
                f"{name}: arrays=True with {function.__name__}, frames={read.decode.frames!r}; it "
                "goes with functions that give a result for each picture, of its first frame"
            )
        udf = udfs.lists
    assert udf is not None
    session.udf.register(name, udf if deterministic else udf.asNondeterministic())


@dataclasses.dataclass(frozen=True)
class _Read:
    """The column that the worker gets, and how it makes pixels of it."""

    col: ColumnOrName
    decode: DecodeOptions
    fetch: FetchOptions | None = None
    timings: bool = False


def _read(function: str, col: ColumnOrName, decode: Any, *, timings: bool = False) -> _Read:
    """Right around ``decode_image(x)`` or ``fetch_object(x)`` the column read is ``x`` itself."""
    options = decode_options(function, decode)
    marked = None if isinstance(col, str) else col.__dict__.get(_DECODE_MARK)
    if marked is not None:
        if others := sorted(set(decode) - {"exact"}):
            raise InvalidOptionError(
                f"{function}: {', '.join(others)} must be decode_image's, which is inside of it"
            )
        col, inner = marked
        options = dataclasses.replace(inner, exact=inner.exact or options.exact)
    marked = None if isinstance(col, str) else col.__dict__.get(_FETCH_MARK)
    uri, fetch = marked or (col, None)
    return _Read(uri, options, fetch, timings)


@dataclasses.dataclass(frozen=True)
class _Udfs:
    """A function for a picture in each row, and for several: the same results in an array."""

    one: UserDefinedFunction
    lists: UserDefinedFunction | None


def _applied(function: str, col: ColumnOrName, udfs: _Udfs, read: _Read) -> Column:
    accepted = IMAGES if read.fetch is None else REFERENCE
    return named(function, col, _once(_by_type(function, accepted, udfs, read)))


def _by_type(function: str, accepted: Accepted, udfs: _Udfs, read: _Read) -> Column:
    """Arrays of pictures and several frames of a picture give an array of results."""
    assert udfs.lists is not None
    if read.decode.frames != FIRST:
        return udfs.lists(checked(function, read.col, accepted))
    if read.fetch is not None:
        return udfs.one(checked(function, read.col, accepted))
    column = checked(function, read.col, or_arrays(accepted))
    return by_array(column, udfs.lists(column), udfs.one(column))


def _drawn(function: str, col: ColumnOrName, items: ColumnOrName, decode: Any) -> Column:
    read = _read(function, col, decode)
    # The pixels of a fetched object are drawn on as they came: it is not asked for again.
    source = col if read.fetch is not None else read.col
    udf = _draw_udf(function, read)
    return named(function, col, udf(checked(function, source, IMAGES), items))


def _once(result: Column) -> Column:
    """The same column, in a plan that runs the model once, however often the column is used.

    Two things are wanted of Spark. Calls that stand beside each other (``r["label"], r["score"]``)
    become one only where they are deterministic, which ours are. Deterministic ones it runs again
    for a filter on the result, which it pushes below; so what is around them is not, though its
    value is always true. (``rand() >= 0`` would be: Spark's optimizer knows that.)
    """
    return F.when(F.spark_partition_id() >= 0, result)


def _decode_udfs(session: Any, model: None, read: _Read) -> _Udfs:
    one = vision_udf("decode_images", read.decode, schemas.IMAGE, name="decode_image")
    several = ArrayType(schemas.IMAGE)
    return _Udfs(one, vision_udf("decode_image_lists", read.decode, several, name="decode_image"))


def _classify_udfs(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    top_k: int,
    score_threshold: float,
    labels: Sequence[str] | None,
) -> _Udfs:
    at_least_one("top_k", top_k)
    within_unit("score_threshold", score_threshold)
    is_dual = isinstance(model, ModelSpec) and model.task == "dual_encoder"
    if labels is None and not is_dual:
        head = ClassifyOptions(top_k, score_threshold)
        return _inference_udfs("classify_image", ("classify",), session, model, read, head)
    if isinstance(model, ModelSpec) and not is_dual:
        raise InvalidOptionError(
            f"classify_image: labels are for a dual encoder; the task of model {model.name!r} is "
            f"{model.task!r}, and a classifier has labels of its own (ModelSpec.inspect(labels=…))"
        )
    if labels is None:
        raise InvalidOptionError(
            "classify_image: a dual encoder needs labels=, the texts to compare pictures with"
        )
    named_labels = texts("labels", labels)
    spec = _check_model("classify_image", ("dual_encoder",), model)
    vectors = label_vectors(spec, named_labels)
    match = MatchOptions(top_k, score_threshold, named_labels, vectors)
    return _inference_udfs("classify_image", ("dual_encoder",), session, model, read, match)


def _detect_udfs(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float,
    max_detections: int,
    iou_threshold: float | None,
) -> _Udfs:
    within_unit("score_threshold", score_threshold)
    at_least_one("max_detections", max_detections)
    iou_threshold = _suppression(model, iou_threshold)
    head = DetectOptions(score_threshold, max_detections, iou_threshold)
    return _inference_udfs("detect_objects", ("detect",), session, model, read, head)


def _segment_udfs(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float | None,
    max_segments: int,
    iou_threshold: float | None,
    mask_threshold: float,
) -> _Udfs:
    roles = _roles(model)
    if score_threshold is None:
        score_threshold = 0.0 if roles & {"pixel_scores", "pixel_classes"} else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_segments", max_segments)
    within_unit("mask_threshold", mask_threshold)
    iou_threshold = _suppression(model, iou_threshold)
    head = SegmentOptions(score_threshold, max_segments, iou_threshold, mask_threshold)
    return _inference_udfs("segment_image", ("segment",), session, model, read, head)


def _keypoints_udfs(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float | None,
    max_poses: int,
    iou_threshold: float | None,
) -> _Udfs:
    roles = _roles(model)
    if score_threshold is None:
        is_mean = "keypoints" in roles and "presence" not in roles
        score_threshold = _DEFAULT_MEAN_SCORE if is_mean else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_poses", max_poses)
    iou_threshold = _suppression(model, iou_threshold)
    head = PoseOptions(score_threshold, max_poses, iou_threshold)
    return _inference_udfs("detect_keypoints", ("keypoints",), session, model, read, head)


def _roles(model: ModelSpec | None) -> set[str]:
    return set(dict(model.file.outputs)) if isinstance(model, ModelSpec) else set()


def _suppression(model: ModelSpec | None, iou_threshold: float | None) -> float | None:
    if iou_threshold is not None:
        within_unit("iou_threshold", iou_threshold)
    elif isinstance(model, ModelSpec):
        return default_iou_threshold(model)
    return iou_threshold


def _embed_udfs(session: Any, model: ModelSpec | None, read: _Read, normalize: bool) -> _Udfs:
    head = EmbedOptions(bool(normalize))
    return _inference_udfs("embed_image", ("embed", "dual_encoder"), session, model, read, head)


def _embed_text_udfs(session: Any, model: ModelSpec | None, read: _Read, normalize: bool) -> _Udfs:
    if read.decode != DecodeOptions():
        raise InvalidOptionError(f"embed_text reads no pictures: it takes no {read.decode}")
    spec = _check_model("embed_text", ("dual_encoder",), model)
    inference = TextInference(spec, publish(spec, session), bool(normalize))
    udf = vision_udf("embed_texts", inference, schemas.TEXT_EMBEDDING, name="embed_text")
    return _Udfs(udf, None)


def _read_text_udfs(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float,
    box_threshold: float,
    unclip_ratio: float,
) -> _Udfs:
    within_unit("score_threshold", score_threshold)
    within_unit("box_threshold", box_threshold)
    if not isinstance(unclip_ratio, (int, float)) or not 0 < unclip_ratio <= _MAX_UNCLIP_RATIO:
        raise InvalidOptionError(
            f"unclip_ratio={unclip_ratio!r} must be a number above 0, at most {_MAX_UNCLIP_RATIO}"
        )
    head = ReadOptions(score_threshold, box_threshold, unclip_ratio)
    return _inference_udfs("read_text", ("ocr",), session, model, read, head)


def _draw_udf(function: str, read: _Read) -> UserDefinedFunction:
    if read.decode.frames != FIRST:
        raise InvalidOptionError(
            f"{function}: frames={read.decode.frames!r}; it draws on one picture, the first"
        )
    return vision_udf(_DRAWINGS[function], read.decode, BinaryType(), name=function)


def _drawer(function: str) -> Callable[..., _Udfs]:
    return lambda session, model, read: _Udfs(_draw_udf(function, read), None)


# The functions of `executor.pipeline` that draw.
_DRAWINGS = {
    "draw_detections": "draw_on_images",
    "draw_masks": "draw_masks_on_images",
    "draw_keypoints": "draw_keypoints_on_images",
    "draw_text_lines": "draw_text_lines_on_images",
}

_UDF_MAKERS: dict[str, Callable[..., _Udfs]] = {
    "decode_image": _decode_udfs,
    "classify_image": _classify_udfs,
    "detect_objects": _detect_udfs,
    "segment_image": _segment_udfs,
    "detect_keypoints": _keypoints_udfs,
    "embed_image": _embed_udfs,
    "embed_text": _embed_text_udfs,
    "read_text": _read_text_udfs,
    **{function: _drawer(function) for function in _DRAWINGS},
}

_RESULT_TYPES: dict[type, StructType] = {
    ClassifyOptions: schemas.PREDICTIONS,
    MatchOptions: schemas.PREDICTIONS,
    DetectOptions: schemas.DETECTIONS,
    SegmentOptions: schemas.SEGMENTS,
    PoseOptions: schemas.POSES,
    EmbedOptions: schemas.EMBEDDING,
    ReadOptions: schemas.TEXT_LINES,
}


def _check_model(function: str, tasks: Sequence[str], model: ModelSpec | None) -> ModelSpec:
    if not isinstance(model, ModelSpec):
        raise InvalidModelError(
            f"{function}: model is {model!r}; it must be a ModelSpec, from ModelSpec.load(bundle) "
            "or ModelSpec.inspect(model file)"
        )
    if model.task not in tasks:
        raise InvalidModelError(
            f"{function}: model {model.name!r} has task {model.task!r}, not "
            f"{' or '.join(map(repr, tasks))}; use the function of its task, or inspect it again "
            "with task=…"
        )
    return model


def _inference_udfs(
    function: str,
    tasks: Sequence[str],
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    head: HeadOptions,
) -> _Udfs:
    model = _check_model(function, tasks, model)
    published = publish(model, session)
    inference = Inference(
        model, published, read.decode, head, read.fetch, read.timings, row_timeout_s(session)
    )
    is_detector = isinstance(head, DetectOptions)
    has_keypoints = is_detector and model.keypoint_names
    result_type = schemas.DETECTIONS_WITH_KEYPOINTS if has_keypoints else _RESULT_TYPES[type(head)]
    if read.timings:
        result_type = StructType([*result_type, *schemas.TIMINGS])
    one = vision_udf("infer", inference, result_type, name=function)
    several = vision_udf("infer_lists", inference, ArrayType(result_type), name=function)
    if read.timings:  # what a row cost is another number each time
        return _Udfs(one.asNondeterministic(), several.asNondeterministic())
    return _Udfs(one, several)
