"""Measures the exported models through LiteRT, on pictures that were never trained on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from demo_detector import data
from demo_detector.average_precision import Boxes, average_precisions, iou_matrix, match
from pyspark_vision.clients.scenes import LABELS

NMS_IOU = 0.5
DEFAULT_THRESHOLD = 0.5
# Average precision wants the whole curve; below this no detection changes its area visibly.
_CURVE_THRESHOLD = 0.02


@dataclass(frozen=True)
class DetectorReport:
    """What was measured of a detector; fractions in [0, 1], in the order of ``LABELS``."""

    scenes: int
    objects: int
    average_precisions: tuple[float, ...]
    precisions: tuple[float, ...]
    recalls: tuple[float, ...]
    mean_average_precision_75: float
    precision: float
    recall: float
    milliseconds: float

    @property
    def mean_average_precision(self) -> float:
        """mAP at an IoU of 0.5."""
        return float(np.nanmean(self.average_precisions))


@dataclass(frozen=True)
class ClassifierReport:
    """What was measured of a classifier; fractions in [0, 1], in the order of ``LABELS``."""

    pictures: int
    accuracy: float
    recalls: tuple[float, ...]
    milliseconds: float


@dataclass(frozen=True)
class EmbedderReport:
    """What was measured of an embedding of ``size`` numbers; fractions, cosines in [-1, 1]."""

    pictures: int
    size: int
    nearest_same_class: float
    nearest_ten_same_class: float
    cosine_within: float
    cosine_between: float
    milliseconds: float


def run_model(model: Path, pictures: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """A model's outputs by name, stacked over ``pictures``, and its milliseconds a picture."""
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    runner = interpreter.get_signature_runner()
    started = time.perf_counter()
    outputs = [runner(image=picture[None].astype(np.float32)) for picture in pictures]
    milliseconds = 1000 * (time.perf_counter() - started) / len(pictures)
    return {
        name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]
    }, milliseconds


def detections(boxes_yxyx: np.ndarray, class_scores: np.ndarray, threshold: float) -> Boxes:
    """A picture's raw ``(N, 4)`` boxes and ``(N, C)`` scores after threshold and NMS by class."""
    kept_xyxy, kept_ids, kept_scores = [], [], []
    for class_id, scores in enumerate(class_scores.T):
        candidates = np.flatnonzero(scores >= threshold)
        candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
        xyxy = boxes_yxyx[candidates][:, [1, 0, 3, 2]]
        overlaps = iou_matrix(xyxy, xyxy) > NMS_IOU
        alive = np.ones(len(candidates), bool)
        for index in range(len(candidates)):
            if alive[index]:
                alive[index + 1 :] &= ~overlaps[index, index + 1 :]
        kept_xyxy.append(xyxy[alive])
        kept_scores.append(scores[candidates[alive]])
        kept_ids.append(np.full(int(alive.sum()), class_id))
    return Boxes(np.concatenate(kept_xyxy), np.concatenate(kept_ids), np.concatenate(kept_scores))


def evaluate_detector(model: Path, side: int, scenes: int) -> DetectorReport:
    """mAP, and precision and recall at the default threshold, over ``scenes`` scenes of 640x480."""
    pictures, truths = data.evaluation_scenes(data.EVALUATION_SEEDS[:scenes], side)
    outputs, milliseconds = run_model(model, pictures)
    raw = list(zip(outputs["boxes"], outputs["class_scores"], strict=True))
    curve = [detections(boxes, scores, _CURVE_THRESHOLD) for boxes, scores in raw]
    used = [detections(boxes, scores, DEFAULT_THRESHOLD) for boxes, scores in raw]
    right = np.concatenate(
        [match(answer, truth, 0.5) for answer, truth in zip(used, truths, strict=True)]
    )
    found_ids = np.concatenate([answer.class_ids for answer in used])
    true_ids = np.concatenate([truth.class_ids for truth in truths])
    each = range(len(LABELS))
    return DetectorReport(
        scenes=scenes,
        objects=len(true_ids),
        average_precisions=tuple(map(float, average_precisions(curve, truths, len(LABELS), 0.5))),
        precisions=tuple(float(right[found_ids == class_id].mean()) for class_id in each),
        recalls=tuple(
            float(right[found_ids == class_id].sum() / (true_ids == class_id).sum())
            for class_id in each
        ),
        mean_average_precision_75=float(
            np.nanmean(average_precisions(curve, truths, len(LABELS), 0.75))
        ),
        precision=float(right.mean()),
        recall=float(right.sum() / len(true_ids)),
        milliseconds=milliseconds,
    )


def evaluate_classifier(model: Path, side: int, pictures: int) -> ClassifierReport:
    """Accuracy over pictures of one object each, drawn at 640x480."""
    images, class_ids = data.evaluation_singles(data.EVALUATION_SEEDS[:pictures], side)
    outputs, milliseconds = run_model(model, images)
    right = outputs["scores"].argmax(axis=1) == class_ids
    return ClassifierReport(
        pictures=pictures,
        accuracy=float(right.mean()),
        recalls=tuple(
            float(right[class_ids == class_id].mean()) for class_id in range(len(LABELS))
        ),
        milliseconds=milliseconds,
    )


def evaluate_embedder(model: Path, side: int, pictures: int) -> EmbedderReport:
    """Whether the nearest other pictures show the same class, over pictures of one object each."""
    images, class_ids = data.evaluation_singles(data.EVALUATION_SEEDS[:pictures], side)
    outputs, milliseconds = run_model(model, images)
    embeddings = outputs["embedding"]
    cosines = embeddings @ embeddings.T
    same = class_ids[:, None] == class_ids[None, :]
    others = ~np.eye(pictures, dtype=bool)
    nearest = np.argsort(np.where(others, -cosines, np.inf), axis=1)[:, :10]
    same_nearest = np.take_along_axis(same, nearest, axis=1)
    return EmbedderReport(
        pictures=pictures,
        size=embeddings.shape[1],
        nearest_same_class=float(same_nearest[:, 0].mean()),
        nearest_ten_same_class=float(same_nearest.mean()),
        cosine_within=float(cosines[same & others].mean()),
        cosine_between=float(cosines[~same].mean()),
        milliseconds=milliseconds,
    )
