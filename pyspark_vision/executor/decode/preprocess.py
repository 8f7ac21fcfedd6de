"""Upright RGB picture -> the model's input, and the way back for boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pyspark_vision.executor.decode.resize import resizer

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
# Of how many pixels beside the crop, those left of it or above: torchvision's `center_crop` rounds
# to the even one, Hugging Face's takes the whole half.
_CROP_RESTS: dict[str, Callable[[int], int]] = {
    "round": lambda rest: round(rest / 2),
    "floor": lambda rest: rest // 2,
}
# How many times the crop the resized picture may be where it is made whole: sides up to 1:6.
_LARGEST_WHOLE = 8
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class Placement:
    """Where the picture lies in the model's input: ``source = scale * model + shift``, per axis.

    Both sides are normalized to [0,1], of the model's input and of the upright picture.
    ``filled_hw``: the input's own height and width, where it takes the picture's shape; else it is
    the spec's.
    """

    x_scale: float = 1.0
    x_shift: float = 0.0
    y_scale: float = 1.0
    y_shift: float = 0.0
    filled_hw: tuple[int, int] | None = None


class Preprocessor:
    """Fills one image at a time into a batch, as the spec says. Holds no image."""

    def __init__(self, spec: ModelSpec, *, exact: bool = True) -> None:
        """Without ``exact`` the picture is resized the fastest way there is.

        But for quantized inputs: a level is a step of theirs, and the best of nearly equal classes
        changes with it (of the nine orientations of one photo, one did).
        """
        self.hw = spec.input_hw
        self._placed = {
            "stretch": self._stretched,
            "center_crop": self._center_cropped,
            "letterbox": self._letterboxed,
            "shortest_edge": self._edge_cropped,
            "keep_aspect": self._kept_aspect,
        }[spec.resize]
        self._exact = exact
        self._edge = spec.resize_edge or 0
        self._stride = spec.stride or 1
        self._crop_rest = _CROP_RESTS[spec.crop_rounding]
        self._is_centered = spec.letterbox_anchor == "center"
        self._is_cut = spec.letterbox_rounding == "floor"
        self._dtype = np.dtype(spec.input_dtype)
        is_quantized = self._dtype.kind in "ui"
        simd = not exact and (spec.precision != "float32" or not is_quantized)
        self._resample = resizer(spec.resize_filter, simd=simd)
        self._pad_rgb = (spec.pad_value,) * 3
        self._color_order = spec.color_order
        self._channels_first = spec.input_layout == "NCHW"
        mean, std = mean_std(spec)
        # Quantized inputs without a scale take pixels, not normalized values: uint8 as they are,
        # int8 shifted by its usual zero point (LiteRT's converter folds the normalization into the
        # quantization).
        self._as_is = spec.input_scale is None and (is_quantized or spec.normalization == "none")
        self._rounds = is_quantized and not self._as_is
        if spec.input_scale is not None:  # normalized / scale + zero point, in one step
            mean = mean - std * spec.input_scale * spec.input_zero_point
            std = std * spec.input_scale
        # A whole row of the picture, not one pixel, and no memory of its own for each picture:
        # 224x224 pixels took numpy 0.8 ms so, and take it 0.05 ms.
        self._mean_row = np.tile(mean.astype(np.float32), spec.input_hw[1])
        self._inverse_std_row = 1 / np.tile(std.astype(np.float32), spec.input_hw[1])
        self.shape = spec.input_shape(1)[1:]
        self._scaled = np.empty((spec.input_hw[0], spec.input_hw[1] * spec.channels), np.float32)

    @property
    def decode_hw(self) -> tuple[int, int]:
        """What a picture that is decoded at a reduced scale must still have, in pixels."""
        return (self._edge, self._edge) if self._edge else self.hw

    def empty_batch(self, images: int) -> Array:
        """An uninitialized ``(images, …)`` batch in the model's layout and dtype."""
        return np.empty((images, *self.shape), self._dtype)

    def fill(self, batch: Array, index: int, image: Image.Image) -> Placement:
        """Write an upright RGB picture into ``batch[index]``; returns where it lies in it."""
        if self._color_order == "gray":
            # Grey first, as Keras' `load_img` and OpenCV's users: the filters' rounding differs.
            image = image.convert("L").convert("RGB")
        resized, placement = self._placed(image)
        if self._color_order == "gray":
            pixels = np.asarray(resized)[:, :, :1]
        else:
            pixels = np.asarray(resized)
            if self._color_order == "bgr":
                pixels = pixels[:, :, ::-1]
        out = batch[index].transpose(1, 2, 0) if self._channels_first else batch[index]
        height, width, channels = pixels.shape  # the input's, or less: see `filled`
        out = out[:height, :width]
        if self._as_is:
            out[...] = pixels if self._dtype != np.int8 else pixels.astype(np.int16) - 128
        else:
            row = width * channels
            scaled = self._scaled[:height, :row]
            np.subtract(pixels.reshape(height, row), self._mean_row[:row], out=scaled)
            np.multiply(scaled, self._inverse_std_row[:row], out=scaled)
            if self._rounds:
                limits = np.iinfo(self._dtype)
                np.rint(scaled, out=scaled)
                np.clip(scaled, limits.min, limits.max, out=scaled)
            out[...] = scaled.reshape(pixels.shape)
        return placement

    def filled(self, batch: Array, placement: Placement) -> Array:
        """What of a batch of one the model takes: all, or as much as its picture fills."""
        if placement.filled_hw is None:
            return batch
        height, width = placement.filled_hw
        part = batch[:, :, :height, :width] if self._channels_first else batch[:, :height, :width]
        return np.ascontiguousarray(part)

    def _stretched(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        height, width = self.hw
        if not self._edge:
            return self._to(image, (width, height)), Placement()
        edge = self._edge
        left, top = self._crop_rest(edge - width), self._crop_rest(edge - height)
        crop = self._to(image, (edge, edge)).crop((left, top, left + width, top + height))
        return crop, Placement(width / edge, left / edge, height / edge, top / edge)

    def _kept_aspect(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        # Without an edge only what is too large is made smaller.
        edge = self._edge or min(image.size)
        size_wh = kept_aspect_wh(image.size, edge, max(self.hw), self._stride)
        return self._to(image, size_wh), Placement(filled_hw=size_wh[::-1])

    def _center_cropped(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        height, width = self.hw
        source_width, source_height = image.size
        scale = max(width / source_width, height / source_height)
        crop_width, crop_height = width / scale, height / scale
        left, top = (source_width - crop_width) / 2, (source_height - crop_height) / 2
        return self._cropped(image, (left, top), (crop_width, crop_height))

    def _edge_cropped(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        """The short side to ``edge``, the long one to ``int(edge * long / short)``, then the crop.

        As torchvision's ``Resize(int)`` and ``CenterCrop``, and Hugging Face's
        ``get_resize_output_image_size`` and ``center_crop``. Only what the crop shows is computed,
        for 20,000x1 pixels would become gigabytes; but Pillow takes the place of a part in float32,
        which is one of 255 levels in one of 20,000 values: with ``exact``, the whole where it is
        not much more than the crop.
        """
        height, width = self.hw
        source_width, source_height = image.size
        short, long = min(image.size), max(image.size)
        whole = self._edge, int(self._edge * long / short)
        whole_width, whole_height = whole if source_width <= source_height else whole[::-1]
        x_scale, y_scale = source_width / whole_width, source_height / whole_height
        left, top = self._crop_rest(whole_width - width), self._crop_rest(whole_height - height)
        if self._exact and whole_width * whole_height <= _LARGEST_WHOLE * width * height:
            whole_image = self._to(image, (whole_width, whole_height))
            crop = whole_image.crop((left, top, left + width, top + height))
            return crop, Placement(
                width / whole_width, left / whole_width, height / whole_height, top / whole_height
            )
        return self._cropped(
            image, (left * x_scale, top * y_scale), (width * x_scale, height * y_scale)
        )

    def _cropped(
        self, image: Image.Image, left_top: tuple[float, float], size_wh: tuple[float, float]
    ) -> tuple[Image.Image, Placement]:
        """A part of the picture, in its pixels, as the whole input."""
        height, width = self.hw
        source_width, source_height = image.size
        crop_width, crop_height = size_wh
        # One side can be the whole picture's; its division can end a hair outside of it.
        left, top = max(0.0, left_top[0]), max(0.0, left_top[1])
        right, bottom = min(left + crop_width, source_width), min(top + crop_height, source_height)
        whole = (0, 0, source_width, source_height)
        part = None if (left, top, right, bottom) == whole else (left, top, right, bottom)
        if part is None and whole[2:] == (width, height):
            return image, Placement()
        return self._resample(image, (width, height), part), Placement(
            crop_width / source_width,
            left / source_width,
            crop_height / source_height,
            top / source_height,
        )

    def _letterboxed(self, image: Image.Image) -> tuple[Image.Image, Placement]:
        """As Ultralytics' ``LetterBox``: sides by ``round``, an odd rest below and on the right.

        Or as YOLOX' and InsightFace's, who cut the sides to whole pixels, and place boxes by the
        ratio before that.
        """
        height, width = self.hw
        source_width, source_height = image.size
        scale = min(width / source_width, height / source_height)
        to_pixels = int if self._is_cut else round
        inner_width = max(1, to_pixels(source_width * scale))
        inner_height = max(1, to_pixels(source_height * scale))
        left_px = top_px = 0
        if self._is_centered:
            left_px, top_px = (width - inner_width) // 2, (height - inner_height) // 2
        canvas = Image.new("RGB", (width, height), self._pad_rgb)
        canvas.paste(self._to(image, (inner_width, inner_height)), (left_px, top_px))
        placed_width, placed_height = (
            (source_width * scale, source_height * scale)
            if self._is_cut
            else (inner_width, inner_height)
        )
        return canvas, Placement(
            width / placed_width,
            -left_px / placed_width,
            height / placed_height,
            -top_px / placed_height,
        )

    def _to(self, image: Image.Image, size_wh: tuple[int, int]) -> Image.Image:
        return image if image.size == size_wh else self._resample(image, size_wh, None)


def kept_aspect_wh(
    size_wh: tuple[int, int], edge: int, longest: int, stride: int = 1
) -> tuple[int, int]:
    """The short side to ``edge``, the long one to at most ``longest``; multiples of ``stride``.

    As Hugging Face's ``get_size_with_aspect_ratio`` (image_transforms.py), and with ``stride`` that
    of ``YolosImageProcessor``; but no side is 0.

    >>> kept_aspect_wh((640, 480), 800, 1333), kept_aspect_wh((640, 480), 512, 1333, 16)
    ((1066, 800), (672, 512))
    >>> kept_aspect_wh((20_000, 1), 800, 1333)
    (1333, 1)
    """
    width, height = size_wh
    short, long = min(size_wh), max(size_wh)
    exact = float(edge)
    if long / short * edge > longest:
        exact = longest * short / long
    side = round(exact)
    other = int(exact * long / short)
    sides = size_wh
    if side != short:
        sides = (side, other) if width < height else (other, side)
    new_width, new_height = (max(length - length % stride, stride) for length in sides)
    return new_width, new_height


def mean_std(spec: ModelSpec) -> tuple[Array, Array]:
    """Mean and deviation of 0..255 pixels, for each of the model's colours."""
    if spec.normalization == "values":
        mean, std = spec.mean, spec.std
        mean = tuple(value / spec.pixel_scale for value in mean)
        std = tuple(value / spec.pixel_scale for value in std)
    elif spec.normalization == "caffe":
        mean, std = _CAFFE_MEAN_RGB, (1.0,)
        if spec.color_order == "bgr":
            mean = mean[::-1]
    else:
        mean, std = _MEAN_STD[spec.normalization]
    colors = np.ones(spec.channels)
    return np.array(mean[: spec.channels]) * colors, np.array(std[: spec.channels]) * colors
