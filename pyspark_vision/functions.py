"""Column -> Column: encoded images in, typed results out, one Python pass per image.

Every function takes a column name or Column of encoded bytes, of base64 text or data URIs, of
``struct<content, error>`` (what :func:`fetch_object` returns) or of image structs (what
:func:`decode_image` or Spark's own image source returns), and returns a
struct with an ``error`` field: null, or ``{code, message}``
(:class:`pyspark_vision.errors.ErrorCode`). Results have ``warnings``, too: null, or a list of what
they lack (:class:`pyspark_vision.errors.WarningCode`). A bad row never raises and is never
dropped; a wrong column type, model or option raises here, on the driver.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, StructType

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
    checked,
    named,
)
from pyspark_vision.columns.udf import vision_udf
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.fetched import FetchOptions
from pyspark_vision.executor.heads import (
    ClassifyOptions,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    PoseOptions,
    SegmentOptions,
    default_iou_threshold,
)
from pyspark_vision.executor.images import DEFAULT_MAX_BYTES, DecodeOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.spark.session import active_session, row_timeout_s

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import Column, SparkSession
    from pyspark.sql.udf import UserDefinedFunction

    ColumnOrName = Column | str

# Of MoveNet's points, the least that TensorFlow's demo crops by (`MIN_CROP_KEYPOINT_SCORE`).
_DEFAULT_MEAN_SCORE = 0.2

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
    """Encoded bytes -> ``struct<width, height, data, error>``: upright RGB pixels at full scale.

    ``data`` holds ``height * width * 3`` bytes, rows first; EXIF orientation is applied, alpha
    flattened over white, every colour space and depth turned into 8-bit RGB. A bad row has null
    fields and its ``error``. Around it, ``classify_image(decode_image("content"), m)`` is the same
    single pass as ``classify_image("content", m)``: pixels do not leave the Python worker. Keep
    the pixels only where you need them: a 12-megapixel picture is 36 MB.

    Keywords: ``exact``, ``max_bytes``, ``max_pixels``, ``formats`` (:class:`DecodeOptions`).
    """
    options = decode_options("decode_image", decode)
    udf = _decode_udf(None, None, _Read(col, options))
    column = named("decode_image", col, udf(checked("decode_image", col, ENCODED)))
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
    """
    read = _read("classify_image", col, decode, timings=timings)
    udf = _classify_udf(active_session(), model, read, top_k, score_threshold)
    return _applied("classify_image", col, udf, read)


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
    udf = _detect_udf(active_session(), model, read, score_threshold, max_detections, iou_threshold)
    return _applied("detect_objects", col, udf, read)


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
    udf = _segment_udf(
        active_session(),
        model,
        read,
        score_threshold,
        max_segments,
        iou_threshold,
        mask_threshold,
    )
    return _applied("segment_image", col, udf, read)


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
    udf = _keypoints_udf(active_session(), model, read, score_threshold, max_poses, iou_threshold)
    return _applied("detect_keypoints", col, udf, read)


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
    udf = _embed_udf(active_session(), model, read, normalize)
    return _applied("embed_image", col, udf, read)


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


def register(
    session: SparkSession,
    name: str,
    function: Callable[..., Column],
    model: ModelSpec | None = None,
    *,
    deterministic: bool = True,
    **options: Any,
) -> None:
    """Make a function of this module a SQL function, with its model and options bound.

    >>> register(spark, "classify", classify_image, spec, top_k=1)
    >>> spark.sql("SELECT classify(content).predictions[0].label FROM images")

    ``options`` are the function's own. A ``deterministic`` function is run once for all fields
    that a query reads of it, and again for a filter on its result; another one is run for each
    field, and not again for a filter (docs/sql.md has the numbers). Raises for a name that is no
    identifier, another function, or an option that it does not have.
    """
    if not name.isidentifier():
        raise InvalidOptionError(f"name={name!r} is not a SQL identifier: letters, digits and _")
    make_udf = _UDF_MAKERS.get(getattr(function, "__name__", ""))
    if make_udf is None:
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
    udf = make_udf(session, model, read, **values)
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
        col, inner = marked
        options = dataclasses.replace(inner, exact=inner.exact or options.exact)
    marked = None if isinstance(col, str) else col.__dict__.get(_FETCH_MARK)
    uri, fetch = marked or (col, None)
    return _Read(uri, options, fetch, timings)


def _applied(function: str, col: ColumnOrName, udf: UserDefinedFunction, read: _Read) -> Column:
    accepted = IMAGES if read.fetch is None else REFERENCE
    return named(function, col, _once(udf(checked(function, read.col, accepted))))


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


def _decode_udf(session: Any, model: None, read: _Read) -> UserDefinedFunction:
    return vision_udf("decode_images", read.decode, schemas.IMAGE, name="decode_image")


def _classify_udf(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    top_k: int,
    score_threshold: float,
) -> UserDefinedFunction:
    at_least_one("top_k", top_k)
    within_unit("score_threshold", score_threshold)
    head = ClassifyOptions(top_k, score_threshold)
    return _inference_udf("classify_image", "classify", session, model, read, head)


def _detect_udf(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float,
    max_detections: int,
    iou_threshold: float | None,
) -> UserDefinedFunction:
    within_unit("score_threshold", score_threshold)
    at_least_one("max_detections", max_detections)
    iou_threshold = _suppression(model, iou_threshold)
    head = DetectOptions(score_threshold, max_detections, iou_threshold)
    return _inference_udf("detect_objects", "detect", session, model, read, head)


def _segment_udf(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float | None,
    max_segments: int,
    iou_threshold: float | None,
    mask_threshold: float,
) -> UserDefinedFunction:
    roles = _roles(model)
    if score_threshold is None:
        score_threshold = 0.0 if roles & {"pixel_scores", "pixel_classes"} else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_segments", max_segments)
    within_unit("mask_threshold", mask_threshold)
    iou_threshold = _suppression(model, iou_threshold)
    head = SegmentOptions(score_threshold, max_segments, iou_threshold, mask_threshold)
    return _inference_udf("segment_image", "segment", session, model, read, head)


def _keypoints_udf(
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    score_threshold: float | None,
    max_poses: int,
    iou_threshold: float | None,
) -> UserDefinedFunction:
    roles = _roles(model)
    if score_threshold is None:
        is_mean = "keypoints" in roles and "presence" not in roles
        score_threshold = _DEFAULT_MEAN_SCORE if is_mean else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_poses", max_poses)
    iou_threshold = _suppression(model, iou_threshold)
    head = PoseOptions(score_threshold, max_poses, iou_threshold)
    return _inference_udf("detect_keypoints", "keypoints", session, model, read, head)


def _roles(model: ModelSpec | None) -> set[str]:
    return set(dict(model.file.outputs)) if isinstance(model, ModelSpec) else set()


def _suppression(model: ModelSpec | None, iou_threshold: float | None) -> float | None:
    if iou_threshold is not None:
        within_unit("iou_threshold", iou_threshold)
    elif isinstance(model, ModelSpec):
        return default_iou_threshold(model)
    return iou_threshold


def _embed_udf(
    session: Any, model: ModelSpec | None, read: _Read, normalize: bool
) -> UserDefinedFunction:
    head = EmbedOptions(bool(normalize))
    return _inference_udf("embed_image", "embed", session, model, read, head)


def _draw_udf(function: str, read: _Read) -> UserDefinedFunction:
    return vision_udf(_DRAWINGS[function], read.decode, BinaryType(), name=function)


def _drawer(function: str) -> Callable[..., UserDefinedFunction]:
    return lambda session, model, read: _draw_udf(function, read)


# The functions of `executor.pipeline` that draw.
_DRAWINGS = {
    "draw_detections": "draw_on_images",
    "draw_masks": "draw_masks_on_images",
    "draw_keypoints": "draw_keypoints_on_images",
}

_UDF_MAKERS: dict[str, Callable[..., UserDefinedFunction]] = {
    "decode_image": _decode_udf,
    "classify_image": _classify_udf,
    "detect_objects": _detect_udf,
    "segment_image": _segment_udf,
    "detect_keypoints": _keypoints_udf,
    "embed_image": _embed_udf,
    **{function: _drawer(function) for function in _DRAWINGS},
}

_RESULT_TYPES = {
    "classify": schemas.PREDICTIONS,
    "detect": schemas.DETECTIONS,
    "segment": schemas.SEGMENTS,
    "keypoints": schemas.POSES,
    "embed": schemas.EMBEDDING,
}


def _inference_udf(
    function: str,
    task: str,
    session: Any,
    model: ModelSpec | None,
    read: _Read,
    head: HeadOptions,
) -> UserDefinedFunction:
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
    has_keypoints = task == "detect" and model.keypoint_names
    result_type = schemas.DETECTIONS_WITH_KEYPOINTS if has_keypoints else _RESULT_TYPES[task]
    if read.timings:
        result_type = StructType([*result_type, *schemas.TIMINGS])
    udf = vision_udf("infer", inference, result_type, name=function)
    # What a row cost is another number each time.
    return udf.asNondeterministic() if read.timings else udf
