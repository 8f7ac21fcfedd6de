"""Column -> Column: encoded images in, typed results out, one Python pass per image.

Every function takes a column name or Column of encoded bytes, or of image structs (what
:func:`decode_image` returns), and returns a struct with an ``error`` field: null, or
``{code, message}`` (:class:`pyspark_vision.errors.ErrorCode`). A bad row never raises and is never
dropped; a wrong column type, model or option raises here, on the driver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from pyspark_vision import schemas
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import publish
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.heads import ClassifyOptions, DetectOptions, EmbedOptions
from pyspark_vision.executor.images import ALLOWED_FORMATS, DecodeOptions
from pyspark_vision.executor.pipeline import HeadOptions, Inference
from pyspark_vision.session import active_session
from pyspark_vision.udf import vision_udf

if TYPE_CHECKING:
    from typing import Unpack

    from pyspark.sql import Column, SparkSession
    from pyspark.sql.udf import UserDefinedFunction

    ColumnOrName = Column | str

# Where detectors without suppression of their own usually cut (YOLO, torchvision: 0.5 to 0.7).
_DEFAULT_IOU_THRESHOLD = 0.5

# Set on the Column that decode_image returns, so that an image function right around it decodes
# and infers in one pass instead of handing pixels from one UDF to the next.
_DECODE_MARK = "_pyspark_vision_decode"


_DECODE_KEYS = tuple(field.name for field in dataclasses.fields(DecodeOptions))


class DecodeKeywords(TypedDict, total=False):
    """Keywords of every image function; see :class:`executor.images.DecodeOptions`."""

    exact: bool
    max_bytes: int
    max_pixels: int
    formats: Sequence[str]


def decode_image(col: ColumnOrName, **decode: Unpack[DecodeKeywords]) -> Column:
    """Encoded bytes -> ``struct<width, height, data, error>``: upright RGB pixels at full scale.

    ``data`` holds ``height * width * 3`` bytes, rows first; EXIF orientation is applied, alpha
    flattened over white, every colour space and depth turned into 8-bit RGB. A bad row has null
    fields and its ``error``. Around it, ``classify_image(decode_image("content"), m)`` is the same
    single pass as ``classify_image("content", m)``: pixels do not leave the Python worker. Keep
    the pixels only where you need them: a 12-megapixel picture is 36 MB.

    Keywords: ``exact``, ``max_bytes``, ``max_pixels``, ``formats`` (:class:`DecodeOptions`).
    """
    options = _decode_options("decode_image", decode)
    udf = _decode_udf(None, None, options)
    column = _named("decode_image", col, udf(_checked("decode_image", col, images=False)))
    column.__dict__[_DECODE_MARK] = (col, options)
    return column


def classify_image(
    col: ColumnOrName,
    model: ModelSpec,
    top_k: int = 5,
    score_threshold: float = 0.0,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The ``top_k`` best classes with a score of at least ``score_threshold``.

    Returns ``struct<predictions: array<struct<class_id, label, score>>, width, height, model,
    model_sha256, error>``, best first; ``width`` and ``height`` are those of the upright source.
    ``predictions`` is null where ``error`` is not, and empty where no class reaches the threshold.

    >>> spec = ModelSpec.load("models/demo-classifier")
    >>> df.select(classify_image("content", spec, top_k=1).alias("r")).select("r.*").show()
    """
    col, options = _fused("classify_image", col, decode)
    udf = _classify_udf(active_session(), model, options, top_k, score_threshold)
    return _named("classify_image", col, udf(_checked("classify_image", col, images=True)))


def detect_objects(
    col: ColumnOrName,
    model: ModelSpec,
    score_threshold: float = 0.5,
    max_detections: int = 100,
    iou_threshold: float | None = None,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """Objects with a score above ``score_threshold``, at most ``max_detections``, best first.

    Returns ``struct<detections: array<struct<class_id, label, score, xmin, ymin, xmax, ymax>>,
    width, height, model, model_sha256, error>``; boxes are normalized to [0,1] of the upright
    picture. ``iou_threshold`` is that of the non-maximum suppression within a class; by default it
    is 0.5 for models that give raw boxes with a score for each class, and none for models that
    suppress on their own. ``detections`` is null where ``error`` is not.
    """
    col, options = _fused("detect_objects", col, decode)
    udf = _detect_udf(
        active_session(), model, options, score_threshold, max_detections, iou_threshold
    )
    return _named("detect_objects", col, udf(_checked("detect_objects", col, images=True)))


def embed_image(
    col: ColumnOrName,
    model: ModelSpec,
    normalize: bool = False,
    **decode: Unpack[DecodeKeywords],
) -> Column:
    """The model's output as ``array<float>``, flattened; ``normalize`` divides by its L2 norm.

    Returns ``struct<embedding, width, height, model, model_sha256, error>``; ``embedding`` is null
    where ``error`` is not. A spec of ``task="embed"`` names the output; for a Keras model it can
    be a layer (``ModelSpec.inspect(path, task="embed", layer="fc2")``).
    """
    col, options = _fused("embed_image", col, decode)
    udf = _embed_udf(active_session(), model, options, normalize)
    return _named("embed_image", col, udf(_checked("embed_image", col, images=True)))


def draw_detections(
    col: ColumnOrName, detections: ColumnOrName, **decode: Unpack[DecodeKeywords]
) -> Column:
    """The upright picture with its boxes drawn, as JPEG bytes.

    ``detections`` is the array of :func:`detect_objects` (``F.col("result.detections")``); null or
    empty draws none. Null where the picture cannot be read.
    """
    col, options = _fused("draw_detections", col, decode)
    checked = _checked("draw_detections", col, images=True)
    return _named("draw_detections", col, _draw_udf(None, None, options)(checked, detections))


def register(
    session: SparkSession,
    name: str,
    function: Callable[..., Column],
    model: ModelSpec | None = None,
    **options: Any,
) -> None:
    """Make a function of this module a SQL function, with its model and options bound.

    >>> register(spark, "classify", classify_image, spec, top_k=1)
    >>> spark.sql("SELECT classify(content).predictions[0].label FROM images")

    ``options`` are the function's own. Raises for a name that is no identifier, another function,
    or an option that it does not have.
    """
    if not name.isidentifier():
        raise InvalidOptionError(f"name={name!r} is not a SQL identifier: letters, digits and _")
    make_udf = _UDF_MAKERS.get(getattr(function, "__name__", ""))
    if make_udf is None:
        raise InvalidOptionError(
            f"function={function!r} cannot be registered; choose one of {', '.join(_UDF_MAKERS)}"
        )
    decode = {key: options.pop(key) for key in _DECODE_KEYS if key in options}
    try:
        udf = make_udf(session, model, _decode_options(name, decode), **options)
    except TypeError:
        raise InvalidOptionError(
            f"{function.__name__} does not take {', '.join(sorted(options))}; decoding takes "
            f"{', '.join(_DECODE_KEYS)}"
        ) from None
    session.udf.register(name, udf)


def _decode_udf(session: Any, model: None, decode: DecodeOptions) -> UserDefinedFunction:
    return vision_udf("decode_images", decode, schemas.IMAGE, name="decode_image")


def _classify_udf(
    session: Any,
    model: ModelSpec | None,
    decode: DecodeOptions,
    top_k: int = 5,
    score_threshold: float = 0.0,
) -> UserDefinedFunction:
    _at_least_one("top_k", top_k)
    _within_unit("score_threshold", score_threshold)
    head = ClassifyOptions(top_k, score_threshold)
    return _inference_udf("classify_image", "classify", session, model, decode, head)


def _detect_udf(
    session: Any,
    model: ModelSpec | None,
    decode: DecodeOptions,
    score_threshold: float = 0.5,
    max_detections: int = 100,
    iou_threshold: float | None = None,
) -> UserDefinedFunction:
    _within_unit("score_threshold", score_threshold)
    _at_least_one("max_detections", max_detections)
    if iou_threshold is not None:
        _within_unit("iou_threshold", iou_threshold)
    elif isinstance(model, ModelSpec) and "class_scores" in dict(model.file.outputs):
        iou_threshold = _DEFAULT_IOU_THRESHOLD
    head = DetectOptions(score_threshold, max_detections, iou_threshold)
    return _inference_udf("detect_objects", "detect", session, model, decode, head)


def _embed_udf(
    session: Any, model: ModelSpec | None, decode: DecodeOptions, normalize: bool = False
) -> UserDefinedFunction:
    head = EmbedOptions(bool(normalize))
    return _inference_udf("embed_image", "embed", session, model, decode, head)


def _draw_udf(session: Any, model: None, decode: DecodeOptions) -> UserDefinedFunction:
    return vision_udf("draw_on_images", decode, BinaryType(), name="draw_detections")


_UDF_MAKERS: dict[str, Callable[..., UserDefinedFunction]] = {
    "decode_image": _decode_udf,
    "classify_image": _classify_udf,
    "detect_objects": _detect_udf,
    "embed_image": _embed_udf,
    "draw_detections": _draw_udf,
}

_RESULT_TYPES = {
    "classify": schemas.PREDICTIONS,
    "detect": schemas.DETECTIONS,
    "embed": schemas.EMBEDDING,
}


def _inference_udf(
    function: str,
    task: str,
    session: Any,
    model: ModelSpec | None,
    decode: DecodeOptions,
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
    inference = Inference(model, publish(model, session), decode, head)
    udf = vision_udf("infer", inference, _RESULT_TYPES[task], name=function)
    # Deterministic in truth; marked otherwise so that Spark does not run the model twice, once for
    # a filter on the result that it pushed below, and once for the result itself.
    return udf.asNondeterministic()


def _fused(function: str, col: ColumnOrName, decode: Any) -> tuple[ColumnOrName, DecodeOptions]:
    """The column to read, and how: right around ``decode_image(x)`` that is ``x`` itself."""
    options = _decode_options(function, decode)
    marked = None if isinstance(col, str) else col.__dict__.get(_DECODE_MARK)
    if marked is None:
        return col, options
    inner_col, inner = marked
    return inner_col, dataclasses.replace(inner, exact=inner.exact or options.exact)


def _decode_options(function: str, keywords: Any) -> DecodeOptions:
    unknown = sorted(set(keywords) - set(_DECODE_KEYS))
    if unknown:
        raise InvalidOptionError(
            f"{function}: no option {', '.join(unknown)}; decoding takes {', '.join(_DECODE_KEYS)}"
        )
    keywords = dict(keywords)
    if "formats" in keywords:
        formats = tuple(str(f).upper() for f in keywords["formats"])
        refused = sorted(set(formats) - set(ALLOWED_FORMATS))
        if refused or not formats or isinstance(keywords["formats"], str):
            raise InvalidOptionError(
                f"{function}: formats={keywords['formats']!r}; it is a list of "
                f"{', '.join(ALLOWED_FORMATS)}"
            )
        keywords["formats"] = formats
    options = DecodeOptions(**keywords)
    _at_least_one("max_bytes", options.max_bytes)
    _at_least_one("max_pixels", options.max_pixels)
    return options


def _at_least_one(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOptionError(f"{name}={value!r} must be a whole number of at least 1")


def _within_unit(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidOptionError(f"{name}={value!r} must be a number within 0..1")


def _named(function: str, col: ColumnOrName, result: Column) -> Column:
    """A readable name for an unaliased result, instead of the whole checked expression."""
    return result.alias(f"{function}({col})" if isinstance(col, str) else function)


def _checked(function: str, col: ColumnOrName, *, images: bool) -> Column:
    """The column itself, in a plan that cannot be analyzed if its type is wrong.

    A UDF's input type is not Spark's concern, and an error in a worker comes late and from far
    away. So the column is tied to a ``from_json`` of nothing, whose schema is a legal one if the
    column's type is right, and else our message: Spark evaluates schemas during analysis, so the
    message comes as an AnalysisException from the line that made the query. The optimizer then
    folds all of it away; the plan keeps the bare column.
    """
    column = F.col(col) if isinstance(col, str) else col
    accepted = ["binary", schemas.IMAGE.simpleString()] if images else ["binary"]
    described = "BINARY (encoded images, as spark.read.format('binaryFile') gives)"
    if images:
        described += " or an image struct (as decode_image gives)"
    found = F.typeof(column)
    message = F.concat(
        F.lit(f"a `{function}: the column is "), found, F.lit(f"; it must be {described}`")
    )
    schema = F.when(found.isin(*accepted), F.lit("a INT")).otherwise(message)
    probe = F.from_json(F.lit("{}"), schema)
    return F.when(probe.isNull() | probe.isNotNull(), column)
