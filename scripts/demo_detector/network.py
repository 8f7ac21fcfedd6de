"""The demo network: one small backbone, and on it a detector and an embedding with a classifier.

Shapes are batch first, channels last. Pictures are float32 RGB 0..255; the normalization is part of
the network, so that a caller has nothing to know but the size.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from demo_detector.input_sides import CLASSIFIER_SIDE, DETECTOR_SIDE

STRIDES = (8, 16)
EMBEDDING_SIZE = 128

_FINE, _COARSE = 64, 128  # channels at stride 8 and 16


def cell_centres() -> np.ndarray:
    """``(N, 3)``: each cell's centre x, y in [0, 1] and its side; stride 8 first, row by row."""
    levels = []
    for stride in STRIDES:
        cells = DETECTOR_SIDE // stride
        centre = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centre, centre, indexing="ij")
        levels.append(np.stack([x.ravel(), y.ravel(), np.full(cells * cells, 1 / cells)], axis=1))
    return np.concatenate(levels).astype(np.float32)


def build_backbone() -> keras.Model:
    """``(B, H, W, 3)`` -> features ``(B, H/8, W/8, 64)`` and ``(B, H/16, W/16, 128)``; any H, W."""
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = _convolution(x, 16, 3, strides=2)
    x = _convolution(x, 32, 3, strides=2)
    x = _separable(x, _FINE, strides=2)
    for _ in range(2):
        x = x + _separable(x, _FINE)
    fine = x
    x = _separable(x, _COARSE, strides=2)
    for _ in range(4):
        x = x + _separable(x, _COARSE)
    return keras.Model(image, [fine, x], name="backbone")


def build_detector(backbone: keras.Model, classes: int) -> keras.Model:
    """``(B, 160, 160, 3)`` -> ``(B, N, 4 + classes)``: box in xyxy order and class logits.

    One prediction for each of ``cell_centres()``. A box is given by its centre as an offset from
    the cell's and by its size as a power of e, both in cells.
    """
    image = keras.Input((DETECTOR_SIDE, DETECTOR_SIDE, 3), name="image")
    fine, coarse = backbone(image)
    context = layers.UpSampling2D(interpolation="nearest")(_convolution(coarse, _FINE, 1))
    fine = _separable(_convolution(fine, _FINE, 1) + context, _FINE)
    # A prior of 1 % for each class: at the start the many empty cells must not drown the few full
    # ones.
    prior = keras.initializers.Constant(float(np.log(0.01 / 0.99)))
    predictions = []
    for features, width in ((fine, _FINE), (coarse, _COARSE)):
        box = layers.Conv2D(4, 1)(_separable(features, width))
        logits = layers.Conv2D(classes, 1, bias_initializer=prior)(_separable(features, width))
        predictions.append(layers.Reshape((-1, 4 + classes))(layers.Concatenate()([box, logits])))
    raw = layers.Concatenate(axis=1)(predictions)
    return keras.Model(image, _DecodeBoxes()(raw), name="detector")


def build_embedder(backbone: keras.Model) -> keras.Model:
    """``(B, 96, 96, 3)`` -> a direction ``(B, 128)`` of length 1: alike pictures point alike."""
    image = keras.Input((CLASSIFIER_SIDE, CLASSIFIER_SIDE, 3), name="image")
    _, coarse = backbone(image)
    pooled = layers.Concatenate()(
        [layers.GlobalAveragePooling2D()(coarse), layers.GlobalMaxPooling2D()(coarse)]
    )
    embedding = layers.UnitNormalization()(layers.Dense(EMBEDDING_SIZE)(pooled))
    return keras.Model(image, embedding, name="embedder")


def build_classifier(embedder: keras.Model, classes: int) -> keras.Model:
    """``(B, 96, 96, 3)`` -> probabilities ``(B, classes)``, from the embedding's direction."""
    image = keras.Input((CLASSIFIER_SIDE, CLASSIFIER_SIDE, 3), name="image")
    # Cosines lie in [-1, 1]; without the factor no softmax over them could be sure of anything.
    scores = layers.Softmax()(layers.Dense(classes)(embedder(image) * 12.0))
    return keras.Model(image, scores, name="classifier")


def detection_loss(truth: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """Generalized IoU loss for the boxes of full cells, quality focal loss for the classes of all.

    The class target of a full cell rises from 1/2 to 1 with the IoU its box reaches now (after Li
    et al., "Generalized Focal Loss", 2020), so that a score says how good the box is and
    non-maximum suppression keeps the best, and yet an object found at all passes a threshold of
    1/2.

    Args:
        truth: ``(B, N, 5)``: box (xmin, ymin, xmax, ymax) and class id, -1 for an empty cell.
        predicted: ``(B, N, 4 + classes)`` as ``build_detector`` gives it.
    """
    boxes, logits = predicted[..., :4], predicted[..., 4:]
    class_ids = tf.cast(truth[..., 4], tf.int32)
    full = tf.cast(class_ids >= 0, tf.float32)
    count = tf.maximum(tf.reduce_sum(full), 1.0)
    iou, giou = _iou_and_giou(truth[..., :4], boxes)
    box_loss = tf.reduce_sum((1.0 - giou) * full) / count

    quality = (
        tf.one_hot(class_ids, logits.shape[-1]) * (0.5 + 0.5 * tf.stop_gradient(iou))[..., None]
    )
    surprise = tf.abs(quality - tf.sigmoid(logits)) ** 2
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(quality, logits)
    return 2.0 * box_loss + tf.reduce_sum(surprise * cross_entropy) / count


def _iou_and_giou(boxes: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """IoU and generalized IoU of boxes ``(..., 4)`` in xyxy order, pair by pair."""
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (boxes, other)]
    inner = tf.maximum(
        tf.minimum(boxes[..., 2:], other[..., 2:]) - tf.maximum(boxes[..., :2], other[..., :2]), 0.0
    )
    outer = tf.maximum(boxes[..., 2:], other[..., 2:]) - tf.minimum(boxes[..., :2], other[..., :2])
    shared = inner[..., 0] * inner[..., 1]
    union = areas[0] + areas[1] - shared
    hull = outer[..., 0] * outer[..., 1]
    iou = shared / (union + 1e-9)
    return iou, iou - (hull - union) / (hull + 1e-9)


class _DecodeBoxes(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """``(B, N, 4 + classes)``: the first four from offset and log size to xyxy in [0, 1]."""

    def call(self, raw: tf.Tensor) -> tf.Tensor:
        cells = tf.constant(cell_centres())
        side = cells[:, 2:]
        centre = cells[:, :2] + raw[..., :2] * side
        # No object is larger than the picture, 20 cells at most; e^4 leaves room and never
        # overflows.
        half = 0.5 * tf.exp(tf.minimum(raw[..., 2:4], 4.0)) * side
        return tf.concat([centre - half, centre + half, raw[..., 4:]], axis=-1)


def _convolution(
    x: keras.KerasTensor, channels: int, size: int, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))


def _separable(x: keras.KerasTensor, channels: int, strides: int = 1) -> keras.KerasTensor:
    # Nothing between the two halves: a normalization there costs a third of the training time.
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
    return _convolution(x, channels, 1)
