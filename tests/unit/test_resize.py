"""The SIMD resizer gives Pillow's pictures, and is taken only where a caller allows it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from pictures import scene_jpeg
from PIL import Image
from specs import spec_of

from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.decode.resize import Box, resizer

PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), "RGB"
)


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


@pytest.mark.parametrize("name", ["bilinear", "box", "bicubic", "lanczos", "hamming", "nearest"])
@pytest.mark.parametrize("size_wh", [(20, 20), (7, 31), (100, 90), (1, 1)])
@pytest.mark.parametrize("box", [None, (3.25, 0.0, 60.5, 48.0), (0.0, 0.0, 64.0, 48.0)])
def test_simd_is_within_one_level_of_pillow(
    name: str, size_wh: tuple[int, int], box: Box | None
) -> None:
    simd = resizer(name, simd=True)(PICTURE, size_wh, box)
    pillow = resizer(name, simd=False)(PICTURE, size_wh, box)
    assert largest_difference(simd, pillow) <= 1


@pytest.mark.parametrize(
    ("source_wh", "size_wh"),
    [
        ((640, 480), (224, 224)),
        ((480, 640), (224, 224)),
        ((641, 479), (300, 300)),
        ((90, 400), (96, 96)),
    ],
)
def test_simd_differs_from_pillow_in_one_of_a_hundred_samples(
    source_wh: tuple[int, int], size_wh: tuple[int, int]
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*source_wh[::-1], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    simd, pillow = (
        resizer("bilinear", simd=simd)(picture, size_wh, None) for simd in (True, False)
    )
    assert (np.asarray(simd) != np.asarray(pillow)).mean() < 0.01


def test_simd_moves_pixels_less_than_the_reduced_decode_does() -> None:
    data = scene_jpeg(1, 1280, 960)
    whole, _ = decode(data, DecodeOptions(exact=True))
    reduced, _ = decode(data, DecodeOptions(), (224, 224))
    assert reduced.size == (640, 480)
    simd, pillow = (resizer("bilinear", simd=simd) for simd in (True, False))
    exact = np.asarray(pillow(whole, (224, 224), None), np.float64)

    by_resize, by_decode = (
        ((np.asarray(picture, np.float64) - exact) ** 2).mean() ** 0.5
        for picture in (simd(whole, (224, 224), None), pillow(reduced, (224, 224), None))
    )

    assert 0 < by_resize < by_decode / 3


def test_a_picture_that_must_not_be_written_is_only_read() -> None:
    pixels = np.asarray(PICTURE).tobytes()
    read_only = Image.frombuffer("RGB", PICTURE.size, pixels, "raw", "RGB", 0, 1)
    resizer("bilinear", simd=True)(read_only, (20, 20), None)
    assert read_only.tobytes() == pixels


@pytest.mark.parametrize(
    ("precision", "dtype", "exact", "simd"),
    [
        ("float32", "float32", False, True),
        ("float32", "float32", True, False),
        ("bf16", "float32", False, True),
        ("bf16", "float32", True, False),
        ("float32", "uint8", False, False),
        ("float32", "int8", False, False),
        ("bf16", "uint8", False, True),
    ],
)
def test_exact_answers_and_quantized_inputs_are_resized_by_pillow(
    precision: str, dtype: str, exact: bool, simd: bool, monkeypatch: Any
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        "pyspark_vision.executor.decode.preprocess.resizer",
        lambda name, *, simd: asked.append(simd),
    )
    file = ModelFile("litert", "tflite", "m.tflite", "", outputs=(("scores", "scores"),))
    Preprocessor(spec_of(files=(file,), precision=precision, input_dtype=dtype), exact=exact)
    assert asked == [simd]


def test_without_the_extra_pillow_resizes(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    ours = resizer("bilinear", simd=True)(PICTURE, (20, 20), None)
    assert largest_difference(ours, resizer("bilinear", simd=False)(PICTURE, (20, 20), None)) == 0
