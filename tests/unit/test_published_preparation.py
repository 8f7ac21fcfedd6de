"""The model's input equals what each family publishes, to 1e-5, on odd sizes too.

The formulas are written anew here from the sources named beside them; where they resize, it is by
Pillow, as torchvision and Hugging Face do for pictures of Pillow's.
"""

from __future__ import annotations

from typing import Any

import guides
import numpy as np
import pytest
from PIL import Image
from published import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    cropped,
    normalized,
    picture,
    short_side,
)
from specs import spec_of

from pyspark_vision.executor.decode.preprocess import Preprocessor

Array = np.ndarray[Any, Any]
SIZES_WH = [(1, 1), (640, 480), (641, 479), (479, 641), (300, 300), (20_000, 1), (33, 50)]


def prepared(image: Image.Image, **fields: Any) -> Array:
    preprocessor = Preprocessor(spec_of(**fields))
    batch = preprocessor.empty_batch(1)
    preprocessor.fill(batch, 0, image)
    return batch[0]


@pytest.mark.parametrize("size_wh", [size for size in SIZES_WH if size != (20_000, 1)])
def test_torchvision_resize_256_center_crop_224(size_wh: tuple[int, int]) -> None:
    """``ImageClassification`` of torchvision/transforms/_presets.py, with ``F.center_crop``."""
    image = picture(size_wh)
    resized = short_side(image, 256, Image.Resampling.BILINEAR)
    top, left = round((resized.height - 224) / 2.0), round((resized.width - 224) / 2.0)
    crop = np.asarray(resized)[top : top + 224, left : left + 224]
    expected = normalized(crop, IMAGENET_MEAN, IMAGENET_STD).transpose(2, 0, 1)

    got = prepared(
        image,
        input_hw=(224, 224),
        input_layout="NCHW",
        normalization="torch",
        resize="shortest_edge",
        resize_edge=256,
    )

    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("size_wh", [size for size in SIZES_WH if size != (20_000, 1)])
def test_hugging_face_clip_image_processor(size_wh: tuple[int, int]) -> None:
    """``CLIPImageProcessor``: shortest_edge 224, bicubic, image_transforms' ``center_crop``."""
    image = picture(size_wh)
    crop = cropped(short_side(image, 224, Image.Resampling.BICUBIC), 224)
    expected = normalized(crop, CLIP_MEAN, CLIP_STD).transpose(2, 0, 1)

    got = prepared(
        image,
        input_hw=(224, 224),
        input_layout="NCHW",
        normalization="values",
        pixel_scale=1 / 255,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        resize="shortest_edge",
        resize_edge=224,
        resize_filter="bicubic",
        crop_rounding="floor",
    )

    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_middle_of_a_very_long_picture_without_its_gigabytes() -> None:
    """20,000x1 to a short side of 256 would be 5,120,000 x 256 pixels."""
    row = np.zeros((1, 20_000, 3), np.uint8)
    row[:, 10_000:] = 255

    got = prepared(
        Image.fromarray(row), input_hw=(224, 224), resize="shortest_edge", resize_edge=256
    )

    # The two pixels at the step lie 256 pixels apart, and the crop shows the 224 in their middle.
    ramp = (np.arange(224) + 16.5) / 256 * 255
    np.testing.assert_allclose(got, np.broadcast_to(ramp[None, :, None], got.shape), atol=1)


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_hugging_face_vit_image_processor(size_wh: tuple[int, int]) -> None:
    """``ViTImageProcessor``: stretched to 224x224, rescaled by 1/255, mean and deviation 0.5."""
    image = picture(size_wh)
    pixels = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR))
    expected = normalized(pixels, (0.5,) * 3, (0.5,) * 3)

    got = prepared(
        image,
        input_hw=(224, 224),
        normalization="values",
        pixel_scale=1 / 255,
        mean=(0.5,),
        std=(0.5,),
    )

    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize(
    ("normalization", "color_order", "formula"),
    [
        ("tf", "rgb", lambda rgb: rgb / 127.5 - 1),
        ("torch", "rgb", lambda rgb: normalized(rgb, IMAGENET_MEAN, IMAGENET_STD)),
        ("caffe", "bgr", lambda rgb: rgb[..., ::-1] - np.array([103.939, 116.779, 123.68])),
    ],
)
def test_keras_applications_preprocess_input(
    size_wh: tuple[int, int], normalization: str, color_order: str, formula: Any
) -> None:
    """keras/src/applications/imagenet_utils.py, ``_preprocess_numpy_input``."""
    image = picture(size_wh)
    pixels = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR)).astype(np.float64)

    got = prepared(image, input_hw=(64, 96), normalization=normalization, color_order=color_order)

    # caffe's values reach 151: float32 has 1e-5 of that.
    np.testing.assert_allclose(got, formula(pixels), rtol=1e-6, atol=1e-5)


def opencv_linear(pixels: Array, size_wh: tuple[int, int]) -> Array:
    """``cv2.resize`` by INTER_LINEAR, pixel by pixel (modules/imgproc/src/resize.cpp)."""
    (height, width), (new_width, new_height) = pixels.shape[:2], size_wh
    out = np.empty((new_height, new_width, 3), np.uint8)
    for y in range(new_height):
        fy = np.float32((y + 0.5) * (height / new_height) - 0.5)
        sy = int(np.floor(fy))
        b0, b1 = (int(np.rint(np.float32(v) * 2048)) for v in (1 - (fy - sy), fy - sy))
        rows = [min(max(sy + k, 0), height - 1) for k in (0, 1)]
        for x in range(new_width):
            fx = np.float32((x + 0.5) * (width / new_width) - 0.5)
            sx = int(np.floor(fx))
            a0, a1 = (int(np.rint(np.float32(v) * 2048)) for v in (1 - (fx - sx), fx - sx))
            columns = [min(max(sx + k, 0), width - 1) for k in (0, 1)]
            above, below = (
                pixels[row, columns[0]].astype(int) * a0 + pixels[row, columns[1]].astype(int) * a1
                for row in rows
            )
            out[y, x] = (((b0 * (above >> 4)) >> 16) + ((b1 * (below >> 4)) >> 16) + 2) >> 2
    return out


@pytest.mark.parametrize("size_wh", [(1, 1), (64, 48), (67, 41), (41, 67), (2000, 1), (20, 30)])
def test_ultralytics_letterbox(size_wh: tuple[int, int]) -> None:
    """``LetterBox`` of ultralytics/data/augment.py: ratio, rounds, padding 114, then /255."""
    image, side = picture(size_wh), 64
    width, height = image.size
    ratio = min(side / height, side / width)
    new_wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    left, top = (round((side - new) / 2 - 0.1) for new in new_wh)
    expected = np.full((side, side, 3), 114, np.uint8)
    pixels = np.asarray(image)
    resized = pixels if new_wh == image.size else opencv_linear(pixels, new_wh)
    expected[top : top + new_wh[1], left : left + new_wh[0]] = resized

    got = prepared(
        image,
        input_hw=(side, side),
        normalization="unit",
        resize="letterbox",
        pad_value=114,
        resize_filter="opencv_bilinear",
    )

    np.testing.assert_allclose(got, expected.astype(np.float32) / 255, atol=1e-5)


def test_yolox_pads_below_and_on_the_right() -> None:
    """``preproc`` of YOLOX/yolox/data/data_augment.py: 114, top left, BGR in 0..255."""
    image = Image.new("RGB", (8, 4), (10, 20, 30))

    got = prepared(
        image,
        input_hw=(8, 8),
        color_order="bgr",
        resize="letterbox",
        letterbox_anchor="top_left",
        pad_value=114,
    )

    assert (got[:4] == (30, 20, 10)).all()
    assert (got[4:] == 114).all()


@pytest.mark.parametrize("size_wh", [(67, 41), (41, 67), (100, 33), (2000, 1), (64, 64), (20, 30)])
def test_yolox_cuts_the_sides_and_places_boxes_by_the_ratio(size_wh: tuple[int, int]) -> None:
    """``preproc`` and ``demo``: ``int(side * r)``, and boxes divided by ``r``."""
    image, side = picture(size_wh), 64
    width, height = image.size
    ratio = min(side / height, side / width)
    new_wh = max(1, int(width * ratio)), max(1, int(height * ratio))
    expected = np.full((side, side, 3), 114, np.uint8)
    pixels = np.asarray(image)
    resized = pixels if new_wh == image.size else opencv_linear(pixels, new_wh)
    expected[: new_wh[1], : new_wh[0]] = resized
    spec = spec_of(
        input_hw=(side, side),
        color_order="bgr",
        resize="letterbox",
        letterbox_anchor="top_left",
        letterbox_rounding="floor",
        pad_value=114,
        resize_filter="opencv_bilinear",
    )
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(1)

    placement = preprocessor.fill(batch, 0, image)

    np.testing.assert_array_equal(batch[0], expected[:, :, ::-1])
    in_picture = 32 / ratio / np.array([width, height])
    assert [
        0.5 * placement.x_scale + placement.x_shift,
        0.5 * placement.y_scale + placement.y_shift,
    ] == pytest.approx(in_picture.tolist())


@pytest.mark.parametrize("size_wh", [(67, 41), (1, 1), (20, 30)])
def test_keras_makes_a_picture_grey_before_it_is_resized(size_wh: tuple[int, int]) -> None:
    """``keras.utils.load_img(color_mode="grayscale")``: ``convert("L")``, then ``resize``."""
    image = picture(size_wh)
    expected = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BILINEAR))

    got = prepared(image, input_hw=(16, 16), color_order="gray")

    np.testing.assert_array_equal(got[:, :, 0], expected)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        ("uint8", 1 / 127.5, 128, [0, 128, 255]),  # the usual of x/127.5-1: the pixel itself
        ("int8", 1 / 127.5, 0, [-128, 0, 127]),
        # Calibrated on a part of the range: what lies outside is cut.
        ("int8", 0.0039, 0, [-128, 1, 127]),
        ("int8", 0.012, 48, [-35, 48, 127]),
    ],
)
def test_quantized_input_takes_the_scale_of_its_file_with_the_normalization(
    dtype: str, scale: float, zero_point: int, expected: list[int]
) -> None:
    image = Image.fromarray(np.array([[0, 128, 255]], np.uint8)).convert("RGB")

    got = prepared(
        image,
        input_hw=(1, 3),
        input_dtype=dtype,
        normalization="tf",
        input_scale=scale,
        input_zero_point=zero_point,
    )

    assert got[0, :, 0].tolist() == expected


def test_the_guides_preparation_is_that_of_clip() -> None:
    names = {"spec": spec_of(input_hw=(224, 224))}
    exec(guides.block("models.md", "spec = spec.with_options(").text, names)
    preprocessor = Preprocessor(names["spec"])
    batch = preprocessor.empty_batch(1)

    preprocessor.fill(batch, 0, Image.new("RGB", (300, 200)))

    black = normalized(np.zeros(3), CLIP_MEAN, CLIP_STD)
    np.testing.assert_allclose(batch[0].reshape(-1, 3)[[0, -1]], [black, black], atol=5e-3)
