"""Small TensorFlow models with known outputs, one maker for each format; used by several tests.

All but the detectors compute the same, so that one expectation serves for every format: the mean
of each colour channel, times ``WEIGHTS``: ``(N, 8, 8, 3) -> (N, 4)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

HW = (8, 8)
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4) / 10 - 0.3

# What the detector makes of every picture: two boxes (yxyx) of which one grows with the light.
DETECTION_CLASSES = (3.0, 1.0)


def pictures(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """``(count, 8, 8, 3)`` float32 in 0..1."""
    return np.random.default_rng(seed).random((count, *HW, 3), np.float32)


def expected(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What every classifier here returns for ``batch``, computed by numpy."""
    return batch.mean(axis=(1, 2)) @ WEIGHTS


def keras_model(name: str = "small", batch: int | None = None) -> Any:
    """Input -> pool -> dense, with the weights set."""
    image = keras.Input((*HW, 3), batch_size=batch, name="image")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(image)
    scores = keras.layers.Dense(4, use_bias=False, name="scores")(pooled)
    model = keras.Model(image, scores, name=name)
    model.set_weights([WEIGHTS])
    return model


def save_keras(path: Path) -> Path:
    """As ``.keras`` or ``.h5``, by the path's suffix."""
    keras_model().save(path)
    return path


def save_h5_with_optimizer(path: Path) -> Path:
    """As training scripts leave it: compiled, trained a step, optimizer state in the file."""
    model = keras_model()
    model.compile("adam", "mse")
    model.fit(pictures(2), np.zeros((2, 4)), verbose=0)
    model.set_weights([WEIGHTS])
    model.save(path)
    return path


def export_keras_3(path: Path) -> Path:
    """A SavedModel by Keras 3's ``model.export``."""
    keras_model().export(path, verbose=False)
    return path


class Small(tf.Module):
    """The same model without Keras, for SavedModels of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[tf.TensorSpec((None, *HW, 3), tf.float32, name="image")])
    def __call__(self, image: Any) -> Any:
        return tf.linalg.matmul(tf.reduce_mean(image, [1, 2]), self.weights)


class Called(tf.Module):
    """Traced twice, as Keras 2 layers are: a saver finds no single default signature in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)

    @tf.function
    def __call__(self, image: Any, training: bool = False) -> Any:
        return tf.linalg.matmul(tf.reduce_mean(image, [1, 2]), self.weights) - 9.0 * training


def save_without_signature(path: Path) -> Path:
    """A SavedModel that can only be called, in training or (by default) not."""
    module = Called()
    for training in (True, False):
        image = tf.TensorSpec((None, *HW, 3), tf.float32, name="image")
        module.__call__.get_concrete_function(image, training=training)
    tf.saved_model.save(module, str(path))
    return path


def save_with_optimizer_slots(path: Path) -> Path:
    """A SavedModel that tf.saved_model.load refuses, as Keras 2 wrote them ("add_slot")."""
    module = Small()
    module.optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
    module.optimizer.minimize(lambda: tf.reduce_sum(module.weights**2), var_list=[module.weights])
    module.weights.assign(WEIGHTS)
    serve = tf.function(
        lambda image: {"scores": module(image)},
        input_signature=[tf.TensorSpec((None, *HW, 3), tf.float32, name="image")],
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def save_two_signatures(path: Path) -> Path:
    """``serving_default`` takes encoded strings, ``pixels`` takes images."""
    module = Small()

    def encoded(image_bytes: Any) -> Any:
        one = tf.image.resize(tf.io.decode_jpeg(image_bytes[0], channels=3), HW)
        return {"scores": module(one[tf.newaxis] / 255)}

    tf.saved_model.save(
        module,
        str(path),
        signatures={
            "serving_default": tf.function(
                encoded, input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")]
            ),
            "pixels": tf.function(
                lambda image: {"scores": module(image), "doubled": 2 * module(image)},
                input_signature=[tf.TensorSpec((None, *HW, 3), tf.float32, name="image")],
            ),
        },
    )
    return path


def save_encoded(path: Path, rank: int, with_key: bool) -> Path:
    """Takes one encoded picture (and AutoML's ``key``); gives its height, width and mean."""
    shape = () if rank == 0 else (None,)

    def serve(image_bytes: Any, key: Any = None) -> dict[str, Any]:
        one = tf.io.decode_image(tf.reshape(image_bytes, (-1,))[0], 3, expand_animations=False)
        sides = tf.cast(tf.shape(one)[:2], tf.float32)
        mean = tf.reduce_mean(tf.cast(one, tf.float32))
        outputs = {"shape_and_mean": tf.concat([sides, mean[tf.newaxis]], 0)[tf.newaxis]}
        return outputs if key is None else {**outputs, "key": tf.identity(key)}

    names = ("image_bytes", "key") if with_key else ("image_bytes",)
    specs = [tf.TensorSpec(shape, tf.string, name=name) for name in names]
    signatures = {"serving_default": tf.function(serve, input_signature=specs)}
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)
    return path


def save_of_examples(path: Path) -> Path:
    """Takes serialized tf.Example records, which are strings as well."""

    def serve(examples: Any) -> dict[str, Any]:
        features = {"image": tf.io.FixedLenFeature((), tf.string)}
        parsed = tf.io.parse_example(examples, features)["image"]
        return {"scores": tf.strings.to_number(parsed)[:, tf.newaxis]}

    specs = [tf.TensorSpec((None,), tf.string, name="examples")]
    signatures = {"serving_default": tf.function(serve, input_signature=specs)}
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)
    return path


def save_two_inputs(path: Path) -> Path:
    """A SavedModel with an image and a mask."""
    spec = tf.TensorSpec((None, *HW, 3), tf.float32)
    serve = tf.function(lambda image, mask: {"scores": image * mask}, input_signature=[spec, spec])
    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": serve})
    return path


def save_with_table(path: Path) -> Path:
    """A SavedModel with a lookup table, which cannot be frozen to constants."""

    class WithTable(Small):
        def __init__(self) -> None:
            super().__init__()
            keys = tf.constant([0, 1], tf.int64)
            values = tf.constant([0.0, 1.0])
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, values), default_value=-1.0
            )

    module = WithTable()
    serve = tf.function(
        lambda image: {"scores": module(image) * module.table.lookup(tf.constant(1, tf.int64))},
        input_signature=[tf.TensorSpec((None, *HW, 3), tf.float32, name="image")],
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def detections(image: Any) -> dict[str, Any]:
    """What an Object Detection API model returns, for uint8 ``(N, H, W, 3)``.

    The first box is as high as the picture is bright and scores its brightness; two boxes count.
    """
    light = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) / 255
    zero, one = tf.zeros_like(light), tf.ones_like(light)
    first = tf.stack([zero, zero, light, one], 1)
    second = tf.stack([0.25 * one, 0.5 * one, 0.75 * one, one], 1)
    return {
        "detection_boxes": tf.stack([first, second], 1, name="boxes"),
        "detection_scores": tf.stack([light, 0.25 * one], 1),
        "detection_classes": tf.stack([c * one for c in DETECTION_CLASSES], 1),
        "num_detections": 2 * one,
    }


def save_detector(path: Path) -> Path:
    """A SavedModel as TF2's Object Detection API exports it: a batch of one, any size."""
    serve = tf.function(
        detections,
        input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8, name="input_tensor")],
    )
    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": serve})
    return path


def save_called_detector(path: Path) -> Path:
    """A detector as TF Hub has them: no signature, called with one image."""

    class Detector(tf.Module):
        @tf.function
        def __call__(self, image: Any, training: bool = False) -> dict[str, Any]:
            return detections(image)

    module = Detector()
    for training in (True, False):
        image = tf.TensorSpec((1, None, None, 3), tf.uint8, name="image")
        module.__call__.get_concrete_function(image, training=training)
    tf.saved_model.save(module, str(path))
    return path


def save_frozen_detector(path: Path, loop: bool = False) -> Path:
    """A frozen TF1 graph with the names of TF1's Object Detection API.

    With a ``loop`` of that time, in which its models prepared each picture by itself.
    """
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), name="image_tensor")
        pixels = tf.cast(image, tf.float32)
        if loop:
            tf.compat.v1.disable_control_flow_v2()
            try:
                pixels = tf.map_fn(lambda one: one + 0.0, pixels)
            finally:
                tf.compat.v1.enable_control_flow_v2()
        for name, tensor in detections(pixels).items():
            tf.identity(tensor, name=name)
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def save_frozen_classifier(path: Path) -> Path:
    """A frozen TF1 graph with other names, one placeholder, one result that nobody consumes."""
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, *HW, 3), name="input")
        tf.matmul(tf.reduce_mean(image, [1, 2]), tf.constant(WEIGHTS), name="logits")
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return path
