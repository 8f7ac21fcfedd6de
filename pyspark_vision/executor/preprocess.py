"""Upright RGB picture -> the model's input, and the way back for boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pyspark_vision.executor.resize import resizer

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

Array = np.ndarray[Any, Any]

# Keras Applications' `imagenet_utils.preprocess_input`, as (mean, deviation) of 0..255 pixels, in
# the order of the model's colours: `caffe` means are those of BGR ImageNet images, and `torch` is
# torchvision's ImageNet mean and deviation.
_MEAN_STD = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "torch": (
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),
}
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class Placement:
    """Where the picture lies in the model's input: ``source = scale * model + shift``, per axis.

    Both sides are normalized to [0,1], of the model's input and of the upright picture.
    """

    x_scale: float = 1.0
    x_shift: float = 0.0
    y_scale: float = 1.0
    y_shift: float = 0.0


class Preprocessor:
    """Fills one image at a time into a batch, as the spec says. Holds no image."""

    def __init__(self, spec: ModelSpec, *, exact: bool = True) -> None:
        """Without ``exact``, a spec of a lower precision also resizes the fastest way there is."""
        self.hw = spec.input_hw
        self._resize = spec.resize
        simd = not exact and spec.precision != "float32"
        self._resample = resizer(spec.resize_filter, simd=simd)
        self._pad_rgb = (spec.pad_value,) * 3
        self._color_order = spec.color_order
        self._channels_first = spec.input_layout == "NCHW"
        self._dtype = np.dtype(spec.input_dtype)
        mean, std = self._mean_std(spec)
        # A whole row of the picture, not one pixel, and no memory of its own for each picture:
        # 224x224 pixels took numpy 0.8 ms so, and take it 0.05 ms.
        self._mean_row = np.tile(np.array(mean[: spec.channels], np.float32), spec.input_hw[1])
        std_row = np.tile(np.array(std[: spec.channels], np.float32), spec.input_hw[1])
        self._inverse_std_row = 1 / std_row
        # Quantized inputs take pixels, not normalized values: uint8 as they are, int8 shifted by
        # its usual zero point (LiteRT's converter folds the normalization into the quantization).
        self._as_is = self._dtype.kind in "ui" or spec.normalization == "none"
        self.shape = spec.input_shape(1)[1:]
        self._scaled = np.empty((spec.input_hw[0], spec.input_hw[1] * spec.channels), np.float32)

    @staticmethod
    def _mean_std(spec: ModelSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if spec.normalization != "caffe":
            return _MEAN_STD[spec.normalization]
        mean = _CAFFE_MEAN_RGB if spec.color_order == "rgb" else _CAFFE_MEAN_RGB[::-1]
        return mean, (1.0, 1.0, 1.0)

    def empty_batch(self, images: int) -> Array:
        """An uninitialized ``(images, …)`` batch in the model's layout and dtype."""
        return np.empty((images, *self.shape), self._dtype)

    def fill(self, batch: Array, index: int, image: Image.Image) -> Placement:
        """Write an upright RGB picture into ``batch[index]``; returns where it lies in it."""
        resized, placement = self._resized(image)
        if self._color_order == "gray":
            pixels = np.asarray(resized.convert("L"))[:, :, np.newaxis]
        else:
            pixels = np.asarray(resized)
            if self._color_order == "bgr":
                pixels = pixels[:, :, ::-1]
        out = batch[index].transpose(1, 2, 0) if self._channels_first else batch[index]
        if self._as_is:
            out[...] = pixels if self._dtype != np.int8 else pixels.astype(np.int16) - 128
        else:
            np.subtract(pixels.reshape(self._scaled.shape), self._mean_row, out=self._scaled)
            np.multiply(self._scaled, self._inverse_std_row, out=self._scaled)
            out[...] = self._scaled.reshape(pixels.shape)
        return placement

    def _resized(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        height, width = self.hw
        source_width, source_height = image.size
        if self._resize == "stretch":
            return self._to(image, (width, height)), Placement()
        if self._resize == "center_crop":
            scale = max(width / source_width, height / source_height)
            crop_width, crop_height = width / scale, height / scale
            # One side is the whole picture's; its division can end a hair outside of it.
            left = max(0.0, (source_width - crop_width) / 2)
            top = max(0.0, (source_height - crop_height) / 2)
            right = min(left + crop_width, source_width)
            box = (left, top, right, min(top + crop_height, source_height))
            cropped = self._resample(image, (width, height), box)
            return cropped, Placement(
                crop_width / source_width,
                left / source_width,
                crop_height / source_height,
                top / source_height,
            )
        scale = min(width / source_width, height / source_height)
        inner_width = max(1, round(source_width * scale))
        inner_height = max(1, round(source_height * scale))
        left_px, top_px = (width - inner_width) // 2, (height - inner_height) // 2
        canvas = Image.new("RGB", (width, height), self._pad_rgb)
        canvas.paste(self._to(image, (inner_width, inner_height)), (left_px, top_px))
        return canvas, Placement(
            width / inner_width,
            -left_px / inner_width,
            height / inner_height,
            -top_px / inner_height,
        )

    def _to(self, image: Image.Image, size_wh: tuple[int, int]) -> Image.Image:
        return image if image.size == size_wh else self._resample(image, size_wh, None)
