"""What workers do with a model: its task and the caller's options, checked here, on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StructType

from pyspark_vision import schemas
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import publish
from pyspark_vision.columns.label_vectors import label_vectors
from pyspark_vision.columns.options import at_least_one, texts, within_unit
from pyspark_vision.columns.worker_functions import WorkerFunction
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.outputs.heads import (
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
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.executor.text.text_embeddings import TextInference
from pyspark_vision.spark.session import row_timeout_s

if TYPE_CHECKING:
    from pyspark_vision.columns.read_columns import ReadColumn

# Of MoveNet's points, the least that TensorFlow's demo crops by (`MIN_CROP_KEYPOINT_SCORE`).
_DEFAULT_MEAN_SCORE = 0.2
# A line would be larger than most pictures; in use are 1.5 to 2.
_MAX_UNCLIP_RATIO = 10

_RESULT_TYPES: dict[type, StructType] = {
    ClassifyOptions: schemas.PREDICTIONS,
    MatchOptions: schemas.PREDICTIONS,
    DetectOptions: schemas.DETECTIONS,
    SegmentOptions: schemas.SEGMENTS,
    PoseOptions: schemas.POSES,
    EmbedOptions: schemas.EMBEDDING,
    ReadOptions: schemas.TEXT_LINES,
}


def classifying(
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    top_k: int,
    score_threshold: float,
    labels: Sequence[str] | None,
) -> WorkerFunction:
    """``classify_image`` by a classifier, or by a dual encoder with labels."""
    at_least_one("top_k", top_k)
    within_unit("score_threshold", score_threshold)
    is_dual = isinstance(model, ModelSpec) and model.task == "dual_encoder"
    if labels is None and not is_dual:
        head = ClassifyOptions(top_k, score_threshold)
        return _inferring("classify_image", ("classify",), session, model, read, head)
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
    return _inferring("classify_image", ("dual_encoder",), session, model, read, match)


def detecting(
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    score_threshold: float,
    max_detections: int,
    iou_threshold: float | None,
) -> WorkerFunction:
    """``detect_objects``."""
    within_unit("score_threshold", score_threshold)
    at_least_one("max_detections", max_detections)
    iou_threshold = _suppression(model, iou_threshold)
    head = DetectOptions(score_threshold, max_detections, iou_threshold)
    return _inferring("detect_objects", ("detect",), session, model, read, head)


def segmenting(
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    score_threshold: float | None,
    max_segments: int,
    iou_threshold: float | None,
    mask_threshold: float,
) -> WorkerFunction:
    """``segment_image``; by default objects of at least 0.5, and all classes."""
    roles = _roles(model)
    if score_threshold is None:
        score_threshold = 0.0 if roles & {"pixel_scores", "pixel_classes"} else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_segments", max_segments)
    within_unit("mask_threshold", mask_threshold)
    iou_threshold = _suppression(model, iou_threshold)
    head = SegmentOptions(score_threshold, max_segments, iou_threshold, mask_threshold)
    return _inferring("segment_image", ("segment",), session, model, read, head)


def finding_keypoints(
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    score_threshold: float | None,
    max_poses: int,
    iou_threshold: float | None,
) -> WorkerFunction:
    """``detect_keypoints``."""
    roles = _roles(model)
    if score_threshold is None:
        is_mean = "keypoints" in roles and "presence" not in roles
        score_threshold = _DEFAULT_MEAN_SCORE if is_mean else 0.5
    within_unit("score_threshold", score_threshold)
    at_least_one("max_poses", max_poses)
    iou_threshold = _suppression(model, iou_threshold)
    head = PoseOptions(score_threshold, max_poses, iou_threshold)
    return _inferring("detect_keypoints", ("keypoints",), session, model, read, head)


def _roles(model: ModelSpec | None) -> set[str]:
    return set(dict(model.file.outputs)) if isinstance(model, ModelSpec) else set()


def _suppression(model: ModelSpec | None, iou_threshold: float | None) -> float | None:
    if iou_threshold is not None:
        within_unit("iou_threshold", iou_threshold)
    elif isinstance(model, ModelSpec):
        return default_iou_threshold(model)
    return iou_threshold


def embedding(
    session: Any, model: ModelSpec | None, read: ReadColumn, normalize: bool
) -> WorkerFunction:
    """``embed_image``."""
    head = EmbedOptions(bool(normalize))
    return _inferring("embed_image", ("embed", "dual_encoder"), session, model, read, head)


def embedding_texts(
    session: Any, model: ModelSpec | None, read: ReadColumn, normalize: bool
) -> WorkerFunction:
    """``embed_text``."""
    spec = _check_model("embed_text", ("dual_encoder",), model)
    inference = TextInference(spec, publish(spec, session), bool(normalize))
    return WorkerFunction("embed_text", "embed_texts", inference, schemas.TEXT_EMBEDDING)


def reading_text(
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    score_threshold: float,
    box_threshold: float,
    unclip_ratio: float,
) -> WorkerFunction:
    """``read_text``."""
    within_unit("score_threshold", score_threshold)
    within_unit("box_threshold", box_threshold)
    if not isinstance(unclip_ratio, (int, float)) or not 0 < unclip_ratio <= _MAX_UNCLIP_RATIO:
        raise InvalidOptionError(
            f"unclip_ratio={unclip_ratio!r} must be a number above 0, at most {_MAX_UNCLIP_RATIO}"
        )
    head = ReadOptions(score_threshold, box_threshold, unclip_ratio)
    return _inferring("read_text", ("ocr",), session, model, read, head)


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


def _inferring(
    function: str,
    tasks: Sequence[str],
    session: Any,
    model: ModelSpec | None,
    read: ReadColumn,
    head: HeadOptions,
) -> WorkerFunction:
    spec = _check_model(function, tasks, model)
    published = publish(spec, session)
    inference = Inference(
        spec, published, read.decode, head, read.fetch, read.timings, row_timeout_s(session)
    )
    is_detector = isinstance(head, DetectOptions)
    has_keypoints = is_detector and spec.keypoint_names
    result_type = schemas.DETECTIONS_WITH_KEYPOINTS if has_keypoints else _RESULT_TYPES[type(head)]
    if read.timings:
        result_type = StructType([*result_type, *schemas.TIMINGS])
    # What a row cost is another number each time.
    return WorkerFunction(
        function, "infer", inference, result_type, "infer_lists", is_deterministic=not read.timings
    )
