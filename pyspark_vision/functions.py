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
from pyspark_vision.columns.options import (
    DECODE_KEYS,
    DEFAULT_FETCH_ATTEMPTS,
    DEFAULT_FETCH_CONCURRENCY,
    DEFAULT_FETCH_TIMEOUT_S,
    at_least_one,
    decode_options,
    fetch_options,
    within_unit,
)
from pyspark_vision.columns.type_checks import (
    ENCODED,
    GENERATION,
    IMAGES,
    REFERENCE,
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
from pyspark_vision.executor.heads import ClassifyOptions, DetectOptions, EmbedOptions, HeadOptions
from pyspark_vision.executor.images import DEFAULT_MAX_BYTES, FIRST, DecodeOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.spark.session import active_session, row_timeout_s

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import Column, SparkSession
    from pyspark.sql.udf import UserDefinedFunction

    ColumnOrName = Column | str

# Where detectors without suppression of their own usually cut (YOLO, torchvision: 0.5 to 0.7).
_DEFAULT_IOU_THRESHOLD = 0.5
# Outputs of models that leave overlapping boxes to their caller.
_UNSUPPRESSED = {"class_scores", "yolov5", "yolov8", "yolov8_rows", "yolox", "yolov2"}

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
    """
    read = _read("classify_image", col, decode, timings=timings)
    udfs = _classify_udfs(active_session(), model, read, top_k, score_threshold)
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
    ``iou_threshold`` is that of the non-maximum suppression within a class; by default it is 0.5
    for models that give raw boxes with a score for each class, and none for models that suppress
    on their own. ``detections`` is null where ``error`` is not. ``timings`` adds what a row cost
    (:data:`schemas.TIMINGS`).
    """
    read = _read("detect_objects", col, decode, timings=timings)
    udfs = _detect_udfs(
        active_session(), model, read, score_threshold, max_detections, iou_threshold
    )
    return _applied("detect_objects", col, udfs, read)


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


def draw_detections(
    col: ColumnOrName, detections: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with its boxes drawn, as JPEG bytes.

    ``detections`` is the array of :func:`detect_objects` (``F.col("result.detections")``); null or
    empty draws none. Null where the picture cannot be read, or has a side above 65,500 pixels,
    which no JPEG holds.
    """
    read = _read("draw_detections", col, decode)
    # The pixels of a fetched object are drawn on as they came: it is not asked for again.
    source = col if read.fetch is not None else read.col
    column = checked("draw_detections", source, IMAGES)
    return named("draw_detections", col, _draw_udfs(None, None, read).one(column, detections))


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
                f"{name}: arrays=True goes with decode_image, classify_image, detect_objects and "
                "embed_image of the first frame of each picture"
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
) -> _Udfs:
    at_least_one("top_k", top_k)
    within_unit("score_threshold", score_threshold)
    head = ClassifyOptions(top_k, score_threshold)
    return _inference_udfs("classify_image", "classify", session, model, read, head)


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
    if iou_threshold is not None:
        within_unit("iou_threshold", iou_threshold)
    elif isinstance(model, ModelSpec) and _UNSUPPRESSED & dict(model.file.outputs).keys():
        iou_threshold = _DEFAULT_IOU_THRESHOLD
    head = DetectOptions(score_threshold, max_detections, iou_threshold)
    return _inference_udfs("detect_objects", "detect", session, model, read, head)


def _embed_udfs(session: Any, model: ModelSpec | None, read: _Read, normalize: bool) -> _Udfs:
    head = EmbedOptions(bool(normalize))
    return _inference_udfs("embed_image", "embed", session, model, read, head)


def _draw_udfs(session: Any, model: None, read: _Read) -> _Udfs:
    if read.decode.frames != FIRST:
        raise InvalidOptionError(
            f"draw_detections: frames={read.decode.frames!r}; it draws on one picture, the first"
        )
    udf = vision_udf("draw_on_images", read.decode, BinaryType(), name="draw_detections")
    return _Udfs(udf, None)


_UDF_MAKERS: dict[str, Callable[..., _Udfs]] = {
    "decode_image": _decode_udfs,
    "classify_image": _classify_udfs,
    "detect_objects": _detect_udfs,
    "embed_image": _embed_udfs,
    "draw_detections": _draw_udfs,
}

_RESULT_TYPES = {
    "classify": schemas.PREDICTIONS,
    "detect": schemas.DETECTIONS,
    "embed": schemas.EMBEDDING,
}


def _inference_udfs(
    function: str,
    task: str,
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    head: HeadOptions,
) -> _Udfs:
    if not isinstance(model, ModelSpec):
        raise InvalidModelError(
            f"{function}: model is {model!r}; it must be a ModelSpec, from ModelSpec.load(bundle) "
            "or ModelSpec.inspect(model file)"
        )
    if model.task != task:
        raise InvalidModelError(
            f"{function}: model {model.name!r} has task {model.task!r}, not {task!r}; "
            "use the function of its task, or inspect it again with task=…"
        )
    published = publish(model, session)
    inference = Inference(
        model, published, read.decode, head, read.fetch, read.timings, row_timeout_s(session)
    )
    result_type = _RESULT_TYPES[task]
    if read.timings:
        result_type = StructType([*result_type, *schemas.TIMINGS])
    one = vision_udf("infer", inference, result_type, name=function)
    several = vision_udf("infer_lists", inference, ArrayType(result_type), name=function)
    if read.timings:  # what a row cost is another number each time
        return _Udfs(one.asNondeterministic(), several.asNondeterministic())
    return _Udfs(one, several)
