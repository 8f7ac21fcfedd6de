"""Keras models to LiteRT files with named inputs and outputs, batch 1."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from demo_detector.evaluation import run_model
from demo_detector.input_sides import CLASSIFIER_SIDE, DETECTOR_SIDE

# Float arithmetic in another order; a damaged file is off by far more, or not a number.
_MAX_DIFFERENCE = 1e-3


def export_detector(detector: keras.Model, target: Path) -> None:
    """``image`` -> ``boxes`` ``(1, N, 4)`` yxyx in [0, 1] and ``class_scores`` ``(1, N, C)``."""
    image = _image(DETECTOR_SIDE)
    predicted = detector(image, training=False)
    xmin, ymin, xmax, ymax = ops.split(ops.clip(predicted[..., :4], 0.0, 1.0), 4, axis=-1)
    boxes = ops.concatenate([ymin, xmin, ymax, xmax], axis=-1)
    _export(image, {"boxes": boxes, "class_scores": ops.sigmoid(predicted[..., 4:])}, target)


def export_classifier(classifier: keras.Model, target: Path) -> None:
    """``image`` -> ``scores`` ``(1, C)``, probabilities that sum to 1."""
    image = _image(CLASSIFIER_SIDE)
    _export(image, {"scores": classifier(image, training=False)}, target)


def export_embedder(embedder: keras.Model, target: Path) -> None:
    """``image`` -> ``embedding`` ``(1, D)`` of length 1."""
    image = _image(CLASSIFIER_SIDE)
    _export(image, {"embedding": embedder(image, training=False)}, target)


def _image(side: int) -> keras.KerasTensor:
    return keras.Input((side, side, 3), batch_size=1, name="image")


def _export(image: keras.KerasTensor, outputs: dict[str, keras.KerasTensor], target: Path) -> None:
    # Not by way of a tf.Module around the model: TensorFlow 2.21 then leaves the weights out.
    model = keras.Model({"image": image}, outputs)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    _check_export(model, target)


def _check_export(model: keras.Model, target: Path) -> None:
    """Raise RuntimeError unless the file answers as the model does; NaN is never an answer."""
    picture = np.random.default_rng(0).uniform(0, 255, model.inputs[0].shape)
    wanted = model({"image": picture.astype(np.float32)}, training=False)
    detections, _ = run_model(target, picture)
    for name, values in wanted.items():
        difference = float(np.abs(detections[name] - np.asarray(values)).max())
        if not difference <= _MAX_DIFFERENCE:
            raise RuntimeError(
                f"{target}: output {name!r} differs by {difference} from the model it was made of; "
                f"at most {_MAX_DIFFERENCE} is allowed"
            )
