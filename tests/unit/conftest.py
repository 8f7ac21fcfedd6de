"""Two tiny .tflite models, made here so that what they return is known; what Spark compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from pyspark_vision.job import start

# What the tiny detector's anchors are, as (y, x, height, width) of their centres, and so its boxes.
ANCHORS = ((0.5, 0.5, 0.5, 0.5), (0.25, 0.75, 0.25, 0.25))


def _converted(function: Any, *, custom_operators: bool = False) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], module
    )
    converter.allow_custom_ops = custom_operators
    return bytes(converter.convert())


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that asks for a session fails: what is wrong is to be said before Spark starts."""
    monkeypatch.setattr(start, "job_session", lambda *_, **__: pytest.fail("a session was made"))


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, 8x8x3 float -> softmax of the mean red, green and blue over 32."""
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
    def classify(image: Any) -> dict[str, Any]:
        return {"scores": tf.nn.softmax(tf.reduce_mean(image, [1, 2]) / 32)}

    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    path.write_bytes(_converted(classify))
    return path


@pytest.fixture(scope="session")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that ends in TensorFlow Lite's detection operator.

    It finds class 0 in the first anchor with a score of the picture's brightness, and class 1 in
    the second with half of it. Its outputs have names and an order that say nothing.
    """
    tf = pytest.importorskip("tensorflow")
    # As the Object Detection API's exporter marks it; the converter makes the operator of it.
    attributes = {
        "max_detections": "i: 3",
        "max_classes_per_detection": "i: 1",
        "use_regular_nms": "b: false",
        "nms_score_threshold": "f: 0.1",
        "nms_iou_threshold": "f: 0.5",
        "y_scale": "f: 10.0",
        "x_scale": "f: 10.0",
        "h_scale": "f: 5.0",
        "w_scale": "f: 5.0",
        "num_classes": "i: 2",
    }
    implements = 'name: "TFLite_Detection_PostProcess" ' + " ".join(
        f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in attributes.items()
    )

    @tf.function(experimental_implements=implements)
    def postprocess(encodings: Any, scores: Any, anchors: Any) -> Any:
        return tf.zeros((1, 3, 4)), tf.zeros((1, 3)), tf.zeros((1, 3)), tf.zeros((1,))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, name="image")])
    def detect(image: Any) -> dict[str, Any]:
        light = tf.reduce_mean(image) / 255
        zero = tf.zeros_like(light)
        # For each anchor: background, class 0, class 1.
        rows = tf.stack([zero, light, zero, zero, zero, light / 2])
        encodings = tf.zeros((1, 2, 4))
        anchors = tf.constant(np.array(ANCHORS, np.float32))
        found = postprocess(encodings, tf.reshape(rows, (1, 2, 3)), anchors)
        return dict(zip(("third", "first", "fourth", "second"), found, strict=True))

    path = tmp_path_factory.mktemp("tiny") / "tiny_detector.tflite"
    path.write_bytes(_converted(detect, custom_operators=True))
    return path


@pytest.fixture
def compiled_classes(spark: SparkSession) -> Callable[[], int]:
    """How many classes of generated code the JVM has compiled until now."""
    metrics: Any = spark._jvm.org.apache.spark.metrics.source.CodegenMetrics  # type: ignore[union-attr]
    return lambda: int(metrics.METRIC_COMPILATION_TIME().getCount())
