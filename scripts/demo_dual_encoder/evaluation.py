"""The bundle on drawn pictures, compared with texts as a user would."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from demo_dual_encoder.captions import COLORS, Truth, color_of
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.columns.label_vectors import label_vectors
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import MatchOptions
from pyspark_vision.executor.predictor import Predictor


@dataclass(frozen=True)
class Report:
    """Of all pictures, the share whose object is named first; of ``colored``, whose colour is."""

    label_accuracy: float
    colored: int
    color_accuracy: float


def measure(spec: ModelSpec, seeds: Iterable[int], size_wh: tuple[int, int]) -> Report:
    """Kinds of objects on all pictures, colours on those that have a clear one."""
    encoded, truths = [], []
    for seed in seeds:
        image, drawn = scenes.draw_single(seed, size_wh)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        encoded.append(buffer.getvalue())
        truths.append(Truth(drawn.label, color_of(image, drawn.xyxy)))
    labels = [f"a {label}" for label in scenes.LABELS]
    named = _best(spec, encoded, labels)
    right = [text == f"a {truth.label}" for text, truth in zip(named, truths, strict=True)]
    colored = right_colors = 0
    for label in scenes.LABELS:
        chosen = [
            index for index, truth in enumerate(truths) if truth.label == label and truth.color
        ]
        texts = [Truth(label, color).text() for color in COLORS]
        best = _best(spec, [encoded[index] for index in chosen], texts)
        colored += len(chosen)
        right_colors += sum(
            text == truths[index].text() for text, index in zip(best, chosen, strict=True)
        )
    return Report(sum(right) / len(right), colored, right_colors / max(1, colored))


def _best(spec: ModelSpec, encoded: Sequence[bytes], labels: Sequence[str]) -> list[str]:
    options = MatchOptions(1, 0.0, tuple(labels), label_vectors(spec, tuple(labels)))
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), options)
    return [labels[row.value.class_ids[0]] for row in predictor.predict(encoded)]
