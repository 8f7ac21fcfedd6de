"""Two small towers, trained together so that a picture and a text that is true of it point alike.

The loss is CLIP's (Radford et al., 2021): a softmax over the texts of a batch for each picture, and
the other way round. Where several texts of a batch are true of a picture, they share its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from demo_dual_encoder.captions import SIDE, Truth, told
from demo_dual_encoder.tokens import MAX_TOKENS, token_ids

EMBEDDING_SIZE = 64

_CHANNELS = (16, 32, 48, 64, 96)
_BATCH = 128
_LEARNING_RATE = 3e-3
# CLIP's: the logarithm of 1/0.07 at the start, of 100 at most.
_LOG_SCALE, _MAX_LOG_SCALE = float(np.log(1 / 0.07)), float(np.log(100.0))


@dataclass(frozen=True)
class Towers:
    """The trained towers, and the logarithm of the scale of their cosines."""

    image: keras.Model
    text: keras.Model
    log_scale: float


def build_image_tower() -> keras.Model:
    """``(B, 64, 64, 3)`` float32 in -1..1 -> ``(B, 64)``."""
    image = keras.Input((SIDE, SIDE, 3), name="pixel_values")
    x = image
    for channels in _CHANNELS:
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))
    pooled = layers.Concatenate()(
        [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    )
    return keras.Model(image, layers.Dense(EMBEDDING_SIZE)(pooled), name="image")


def build_text_tower(words: int) -> keras.Model:
    """``(B, T)`` token ids, 0 for none -> ``(B, 64)``: the mean of the words, and two layers."""
    ids = keras.Input((MAX_TOKENS,), dtype="int32", name="input_ids")
    vectors = layers.Embedding(words, EMBEDDING_SIZE)(ids)
    mask = keras.ops.cast(ids > 0, "float32")[..., None]
    mean = keras.ops.sum(vectors * mask, axis=1) / keras.ops.sum(mask, axis=1)
    hidden = layers.Dense(EMBEDDING_SIZE, activation="relu")(mean)
    return keras.Model(ids, layers.Dense(EMBEDDING_SIZE)(hidden), name="text")


def train(
    pictures: np.ndarray, truths: Sequence[Truth], words: int, epochs: int, seed: int
) -> Towers:
    """Train on ``(S, 64, 64, 3)`` uint8 pictures; prints the loss of each epoch."""
    image, text = build_image_tower(), build_text_tower(words)
    log_scale = tf.Variable(_LOG_SCALE)
    steps = len(pictures) // _BATCH
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * steps)
    )
    variables = [*image.trainable_variables, *text.trainable_variables, log_scale]

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(pixels: tf.Tensor, ids: tf.Tensor, is_true: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            of_pictures = tf.math.l2_normalize(image(pixels, training=True), axis=1)
            of_texts = tf.math.l2_normalize(text(ids, training=True), axis=1)
            logits = tf.exp(log_scale) * of_pictures @ tf.transpose(of_texts)
            loss = _contrast(logits, is_true) + _contrast(
                tf.transpose(logits), tf.transpose(is_true)
            )
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        log_scale.assign(tf.minimum(log_scale, _MAX_LOG_SCALE))
        return loss

    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(len(pictures))
        losses = []
        for start in range(0, steps * _BATCH, _BATCH):
            chosen = order[start : start + _BATCH]
            said = [told(truths[index], rng) for index in chosen]
            is_true = np.array(
                [[truths[index].says(what) for what, _ in said] for index in chosen], np.float32
            )
            pixels = pictures[chosen].astype(np.float32) / 127.5 - 1
            mirrored = rng.uniform(size=len(chosen)) < 0.5
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            ids = np.stack([token_ids(words_) for _, words_ in said])
            losses.append(float(step(pixels, ids, is_true)))
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}", flush=True)
    return Towers(image, text, float(log_scale.numpy()))


def _contrast(logits: tf.Tensor, is_true: tf.Tensor) -> tf.Tensor:
    target = is_true / tf.reduce_sum(is_true, axis=1, keepdims=True)
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
