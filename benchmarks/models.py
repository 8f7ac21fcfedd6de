"""The models of the benchmark, made once: `python -m benchmarks.models` in a process of its own.

A float MobileNetV2 of 224x224: where the quantized one of ../shared is there, its trained weights
made real numbers again, so that a top-1 class means something; else random ones, which cost the
same. Around its backbone an embedder (1,280 numbers) and a detector (980 boxes, 10 classes).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.material import VGA_WH, pictures
from benchmarks.places import QUANTIZED, ROOT, WORK

if TYPE_CHECKING:
    import keras

CLASSIFIER = WORK / "models" / "classifier"
EMBEDDER = WORK / "models" / "embedder.tflite"
DETECTOR = WORK / "models" / "detector.tflite"

_SIDE = 224
_BACKBONE_FEATURES = 1280
# Boxes of each cell of the backbone's 14x14 and 7x7 maps; together 980.
_BOXES_PER_CELL = 4
_CLASSES = 10
# Far enough below 0 that random scores rarely pass a half: a few boxes per picture, as detectors
# have them, and not hundreds for the suppression to chew on.
_SCORE_BIAS = -2.4

# From which the int8 twin learns the range of each tensor; not the whole photos, on which its
# agreement is measured.
_CALIBRATION_PICTURES = 200


def make_models() -> None:
    """Make those that are not there yet."""
    if not (CLASSIFIER / "model.json").is_file():
        print("making the models", flush=True)
        pictures(VGA_WH)
        # The converters log pages, which matter only where they fail.
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.models"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if made.returncode:
            sys.exit(f"the models could not be made:\n{made.stdout[-3000:]}")


def keras_file() -> Path:
    """The classifier as Keras saved it: what others load."""
    return CLASSIFIER / "mobilenet_v2.keras"


def litert_file() -> Path:
    """The classifier's LiteRT twin, float32, a batch of one."""
    return CLASSIFIER / "mobilenet_v2.tflite"


def has_int8() -> bool:
    """Whether the classifier's bundle holds a twin in int8."""
    return (CLASSIFIER / "mobilenet_v2-int8.tflite").is_file()


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.bundles.twin import with_int8_twin, with_twin

    keras.utils.set_random_seed(0)
    model = _classifier()
    parts = WORK / "models"
    parts.mkdir(parents=True, exist_ok=True)
    _export(model, {"embedding": _features(model)}, EMBEDDER)
    _export(model, _detections(model), DETECTOR)
    original = parts / "mobilenet_v2.keras"
    model.save(original)
    spec = ModelSpec.inspect(original, task="classify", normalization="tf", accept=True)
    calibration = [file.read_bytes() for file in pictures(VGA_WH)[:_CALIBRATION_PICTURES]]
    twinned = with_int8_twin(with_twin(spec, parts / "twins"), calibration, parts / "twins")
    twinned.with_options(precision="float32").save(CLASSIFIER)
    original.unlink()
    shutil.rmtree(parts / "twins")


def _classifier() -> keras.Model:
    import keras

    if not QUANTIZED.is_file():
        return keras.applications.MobileNetV2(weights=None)
    model = keras.applications.MobileNetV2(weights=None, classes=1001)
    convolutions = _real_weights(QUANTIZED)
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    for layer, (weights, bias) in zip(layers, convolutions, strict=True):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([weights[0][:, :, :, None]])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([weights.transpose(1, 2, 3, 0)])
        else:
            layer.set_weights([weights[:, 0, 0, :].T, bias])
    # The file's convolutions have swallowed their batch normalizations: what is left of each is
    # the bias, and a scale of one.
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer, (_, bias) in zip(norms, convolutions, strict=False):
        one = bias * 0 + 1
        layer.set_weights([one, bias, bias * 0, one - layer.epsilon])
    return model


def _real_weights(path: Path) -> list[tuple[Any, Any]]:
    """(weights, bias) of each convolution of a quantized model, in order, as real numbers."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    quantization = {
        detail["index"]: detail["quantization"] for detail in interpreter.get_tensor_details()
    }

    def real(index: int) -> Any:
        scale, zero_point = quantization[index]
        return (interpreter.get_tensor(index).astype(np.float32) - zero_point) * np.float32(scale)

    return [
        (real(operator["inputs"][1]), real(operator["inputs"][2]))
        for operator in interpreter._get_ops_details()
        if "CONV" in operator["op_name"]
    ]


def _features(model: keras.Model) -> Any:
    [pooled] = [
        layer.output
        for layer in model.layers
        if "pool" in layer.name and layer.output.shape[1:] == (_BACKBONE_FEATURES,)
    ]
    return pooled


def _detections(model: keras.Model) -> dict[str, Any]:
    """Heads as SSD has them on two maps; random weights, boxes and scores by a sigmoid."""
    import keras

    boxes, scores = list[Any](), list[Any]()
    for name in ("block_13_expand_relu", "out_relu"):
        features = model.get_layer(name).output
        # Normalized, so that random weights give scores that differ from cell to cell.
        features = keras.layers.UnitNormalization(axis=-1)(features)
        for values, width, bias in ((boxes, 4, 0.0), (scores, _CLASSES, _SCORE_BIAS)):
            head = keras.layers.Conv2D(
                _BOXES_PER_CELL * width,
                1,
                activation="sigmoid",
                kernel_initializer=keras.initializers.RandomNormal(0, 2, seed=width),
                bias_initializer=keras.initializers.Constant(bias),
            )
            values.append(keras.layers.Reshape((-1, width))(head(features)))
    outputs = {"boxes": boxes, "class_scores": scores}
    return {name: keras.layers.Concatenate(axis=1)(maps) for name, maps in outputs.items()}


def _export(model: keras.Model, outputs: dict[str, Any], target: Path) -> None:
    """These outputs of the model as .tflite; see scripts/demo_detector/export.py for the batch."""
    import keras
    import tensorflow as tf

    image = keras.Input((_SIDE, _SIDE, 3), batch_size=1, name="image")
    part = keras.Model(model.inputs, outputs)
    whole = keras.Model({"image": image}, part(image, training=False))
    target.write_bytes(tf.lite.TFLiteConverter.from_keras_model(whole).convert())


if __name__ == "__main__":
    main()
