"""What others do around a Keras model: a decoded picture as its input, as their examples write it.

The same pixels as ours: Pillow at full scale, bilinear to 224x224, -1..1.
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

SIDE = 224

Array = np.ndarray[Any, Any]

_idle: queue.LifoQueue[Classifier] = queue.LifoQueue()
_loading = threading.Lock()


def pixels_of(content: bytes) -> Array:
    """``(224, 224, 3)`` float32 of an encoded picture."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return normalized(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))


def normalized(pixels: Array) -> Array:
    """0..255 -> float32 -1..1, as MobileNetV2 wants them."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def load_keras(path: str) -> Any:
    """The model, for inference."""
    import keras

    return keras.models.load_model(path, compile=False)


@contextmanager
def borrowed_classifier(path: str) -> Iterator[Classifier]:
    """A classifier that no other thread works with meanwhile; loaded if all are in use."""
    try:
        classifier = _idle.get_nowait()
    except queue.Empty:
        # TensorFlow crashes when two threads are the first to import it.
        with _loading:
            classifier = Classifier(path)
    try:
        yield classifier
    finally:
        _idle.put(classifier)


class Classifier:
    """Batches ``(N, 224, 224, 3)`` -> best classes ``(N,)``; .keras by TensorFlow, or .tflite."""

    def __init__(self, path: str) -> None:
        if path.endswith(".tflite"):
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(path, num_threads=1)
            self._interpreter.allocate_tensors()
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
            self.best_classes = self._by_litert
        else:
            self._model = load_keras(path)
            self.best_classes = self._by_keras

    def _by_keras(self, batch: Array) -> Array:
        return self._model.predict_on_batch(batch).argmax(axis=1)

    def _by_litert(self, batch: Array) -> Array:
        best = np.empty(len(batch), np.int64)
        for index in range(len(batch)):
            self._interpreter.set_tensor(self._input, batch[index : index + 1])
            self._interpreter.invoke()
            best[index] = self._interpreter.get_tensor(self._output)[0].argmax()
        return best
