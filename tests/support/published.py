"""What others publish on the way from a picture to a model's input, written anew by Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def picture(size_wh: tuple[int, int]) -> Image.Image:
    """Noise, the same for each size."""
    width, height = size_wh
    rng = np.random.default_rng(width * 31 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def short_side(image: Image.Image, edge: int, resample: Image.Resampling) -> Image.Image:
    """torchvision ``_compute_resized_output_size``, HF ``get_resize_output_image_size``."""
    short, long = sorted(image.size)
    new_long = int(edge * long / short)
    size = (edge, new_long) if image.width <= image.height else (new_long, edge)
    return image.resize(size, resample)


def cropped(image: Image.Image, size: int) -> Array:
    """Hugging Face's ``center_crop`` (image_transforms.py), of a square."""
    top, left = (image.height - size) // 2, (image.width - size) // 2
    return np.asarray(image)[top : top + size, left : left + size]


def normalized(pixels: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """0..255 -> ``(x / 255 - mean) / std``."""
    unit = pixels.astype(np.float64) / 255
    values: Array = (unit - np.array(mean)) / np.array(std)
    return values.astype(np.float32)
