"""An upright picture becomes the model's input, and boxes of the input find their way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pictures import asymmetric
from PIL import Image
from specs import spec_of

from pyspark_vision.executor.decode.preprocess import Placement, Preprocessor
from pyspark_vision.executor.outputs.boxes import to_source_xyxy

Array = np.ndarray[Any, Any]


def filled(image: Image.Image, **fields: Any) -> tuple[Array, Placement]:
    """What the model gets for one picture, and where the picture lies in it."""
    preprocessor = Preprocessor(spec_of(**{"input_hw": (4, 6), **fields}))
    batch = preprocessor.empty_batch(2)
    batch[0] = 99
    placement = preprocessor.fill(batch, 1, image)
    assert (batch[0] == 99).all()  # another image's place
    return batch[1], placement


def same_size(pixel: tuple[int, int, int] = (10, 20, 30)) -> Image.Image:
    return Image.new("RGB", (6, 4), pixel)


# Where the picture lies


@pytest.mark.parametrize(
    ("resize", "size_wh", "placement"),
    [
        ("stretch", (6, 4), Placement()),
        ("stretch", (60, 10), Placement()),
        ("center_crop", (12, 8), Placement(1, 0, 1, 0)),
        # 24x8 -> the middle 12x8: half of the width from a quarter on.
        ("center_crop", (24, 8), Placement(0.5, 0.25, 1, 0)),
        # 12x16 -> the middle 12x8.
        ("center_crop", (12, 16), Placement(1, 0, 0.5, 0.25)),
        # Enlarged as well: 3x4 -> the middle 3x2.
        ("center_crop", (3, 4), Placement(1, 0, 0.5, 0.25)),
        ("letterbox", (12, 8), Placement(1, 0, 1, 0)),
        # 12x4 -> 6x2 within 6x4, one row above and below.
        ("letterbox", (12, 4), Placement(1, 0, 2, -0.5)),
        # 8x16 -> 2x4 within 6x4, two columns left and right.
        ("letterbox", (8, 16), Placement(3, -1, 1, 0)),
        # 8x8 -> 4x4, one column left and right.
        ("letterbox", (8, 8), Placement(1.5, -0.25, 1, 0)),
        # 6x3 stays, the odd row of padding goes below.
        ("letterbox", (6, 3), Placement(1, 0, 4 / 3, 0)),
        # 1000x1 keeps one row.
        ("letterbox", (1000, 1), Placement(1, 0, 4, -1)),
    ],
)
def test_placement_of_the_picture_in_the_input(
    resize: str, size_wh: tuple[int, int], placement: Placement
) -> None:
    _, found = filled(Image.new("RGB", size_wh), resize=resize)
    assert vars(found) == pytest.approx(vars(placement))


@pytest.mark.parametrize(
    ("resize", "size_wh", "model_xyxy", "source_xyxy"),
    [
        ("stretch", (60, 10), (0, 0, 1, 1), (0, 0, 1, 1)),
        ("stretch", (60, 10), (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)),
        ("center_crop", (24, 8), (0, 0, 1, 1), (0.25, 0, 0.75, 1)),
        ("center_crop", (24, 8), (0.5, 0.5, 1, 1), (0.5, 0.5, 0.75, 1)),
        ("center_crop", (12, 16), (0, 0, 1, 1), (0, 0.25, 1, 0.75)),
        ("letterbox", (12, 4), (0, 0.25, 1, 0.75), (0, 0, 1, 1)),
        ("letterbox", (12, 4), (0.5, 0.25, 1, 0.5), (0.5, 0, 1, 0.5)),
        ("letterbox", (8, 16), (1 / 3, 0, 2 / 3, 1), (0, 0, 1, 1)),
        # A box over the padding ends at the picture's edge.
        ("letterbox", (12, 4), (0, 0, 1, 1), (0, 0, 1, 1)),
        ("letterbox", (12, 4), (0, 0, 1, 0.1), (0, 0, 1, 0)),
    ],
)
def test_boxes_of_the_input_map_back_to_the_picture(
    resize: str,
    size_wh: tuple[int, int],
    model_xyxy: tuple[float, ...],
    source_xyxy: tuple[float, ...],
) -> None:
    _, placement = filled(Image.new("RGB", size_wh), resize=resize)
    found = to_source_xyxy(np.array([model_xyxy], np.float32), placement)
    assert found[0].tolist() == pytest.approx(source_xyxy, abs=1e-6)


@pytest.mark.parametrize("resize", ["stretch", "center_crop", "letterbox"])
@pytest.mark.parametrize("size_wh", [(120, 80), (240, 80), (90, 160)])
def test_a_mark_seen_in_the_input_maps_back_to_where_it_is(
    resize: str, size_wh: tuple[int, int]
) -> None:
    width, height = size_wh
    source_xyxy = (0.4, 0.45, 0.6, 0.55)
    picture = Image.new("RGB", size_wh)
    left, top, right, bottom = (
        round(v * s) for v, s in zip(source_xyxy, (width, height) * 2, strict=True)
    )
    picture.paste("white", (left, top, right, bottom))
    pixels, placement = filled(picture, resize=resize, input_hw=(400, 600))
    rows, columns = np.nonzero(pixels[:, :, 0] > 127)
    model = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    found = to_source_xyxy(model / np.array([600, 400, 600, 400], np.float32), placement)
    assert found[0].tolist() == pytest.approx(source_xyxy, abs=0.006)


def test_letterbox_is_filled_with_the_pad_value() -> None:
    pixels, _ = filled(Image.new("RGB", (12, 4), "white"), resize="letterbox", pad_value=114)
    assert pixels[:, 0, 0].tolist() == [114, 255, 255, 114]
    assert (pixels[[0, 3]] == 114).all()


def test_padding_is_normalized_like_the_picture() -> None:
    pixels, _ = filled(
        Image.new("RGB", (12, 4), "white"), resize="letterbox", pad_value=51, normalization="unit"
    )
    assert pixels[:, 0, 0].tolist() == pytest.approx([0.2, 1, 1, 0.2])


def test_center_crop_shows_the_middle() -> None:
    picture = Image.new("RGB", (24, 8), "red")
    picture.paste("blue", (6, 0, 18, 8))
    # A box filter mixes no pixels from beyond the crop's edge.
    pixels, _ = filled(picture, resize="center_crop", resize_filter="box")
    assert (pixels == [0, 0, 255]).all()


# Colours, layouts, types


@pytest.mark.parametrize(
    ("color_order", "expected"),
    [("rgb", [10, 20, 30]), ("bgr", [30, 20, 10]), ("gray", [18])],
)
def test_colours_come_in_the_models_order(color_order: str, expected: list[int]) -> None:
    pixels, _ = filled(same_size(), color_order=color_order, input_dtype="uint8")
    assert pixels.shape == (4, 6, len(expected))
    assert (pixels == expected).all()


@pytest.mark.parametrize("color_order", ["rgb", "bgr", "gray"])
def test_channels_first_is_the_transposed_picture(color_order: str) -> None:
    fields = {"color_order": color_order, "normalization": "torch"}
    last, _ = filled(asymmetric(), **fields)
    first, _ = filled(asymmetric(), **fields, input_layout="NCHW")
    assert first.shape == (last.shape[2], 4, 6)
    assert (first.transpose(1, 2, 0) == last).all()


@pytest.mark.parametrize(
    ("input_dtype", "normalization", "expected"),
    [
        ("uint8", "none", [0, 128, 255]),
        ("uint8", "tf", [0, 128, 255]),  # quantized inputs take the pixel
        ("int8", "none", [-128, 0, 127]),
        ("int8", "torch", [-128, 0, 127]),
        ("float32", "none", [0, 128, 255]),
        ("float16", "none", [0, 128, 255]),
        ("float32", "unit", [0, 128 / 255, 1]),
        ("float32", "tf", [-1, 128 / 127.5 - 1, 1]),
    ],
)
def test_pixels_in_the_models_type(
    input_dtype: str, normalization: str, expected: list[float]
) -> None:
    pixels, _ = filled(
        same_size((0, 128, 255)), input_dtype=input_dtype, normalization=normalization
    )
    assert pixels.dtype == input_dtype
    assert pixels[3, 5].tolist() == pytest.approx(expected, abs=1e-6)


def test_float16_is_the_rounded_float32() -> None:
    half, _ = filled(asymmetric(), input_dtype="float16", normalization="torch")
    single, _ = filled(asymmetric(), input_dtype="float32", normalization="torch")
    assert half.dtype == np.float16
    assert (half == single.astype(np.float16)).all()


def test_gray_is_normalized_with_the_first_channels_constants() -> None:
    pixels, _ = filled(same_size((100, 100, 100)), color_order="gray", normalization="torch")
    assert pixels[0, 0, 0] == pytest.approx((100 / 255 - 0.485) / 0.229, rel=1e-5)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
@pytest.mark.filterwarnings("ignore")  # of TensorFlow's import
def test_normalization_is_that_of_keras_applications(mode: str) -> None:
    from keras.applications.imagenet_utils import preprocess_input

    picture = asymmetric(6, 4)
    # Keras turns RGB into BGR for caffe; here that is the model's own colour order.
    color_order = "bgr" if mode == "caffe" else "rgb"
    pixels, _ = filled(picture, normalization=mode, color_order=color_order)
    expected = preprocess_input(
        np.array(picture, np.float32), data_format="channels_last", mode=mode
    )
    assert abs(pixels - expected).max() <= 1e-5 * np.ptp(expected)


def test_caffe_means_follow_the_colours() -> None:
    rgb, _ = filled(asymmetric(), normalization="caffe", color_order="rgb")
    bgr, _ = filled(asymmetric(), normalization="caffe", color_order="bgr")
    assert (rgb[:, :, ::-1] == bgr).all()


# Filters


@pytest.mark.parametrize(
    "resize_filter", ["bilinear", "nearest", "box", "hamming", "bicubic", "lanczos"]
)
def test_each_filter_is_pillows(resize_filter: str) -> None:
    picture = Image.effect_noise((61, 37), 90).convert("RGB")
    pixels, _ = filled(picture, resize_filter=resize_filter, input_dtype="uint8")
    expected = picture.resize((6, 4), Image.Resampling[resize_filter.upper()])
    assert (pixels == np.asarray(expected)).all()


@pytest.mark.parametrize("resize", ["stretch", "center_crop", "letterbox"])
def test_a_picture_of_the_inputs_size_stays_as_it_is(resize: str) -> None:
    picture = asymmetric(6, 4)
    pixels, _ = filled(picture, resize=resize, resize_filter="lanczos", input_dtype="uint8")
    assert (pixels == np.asarray(picture)).all()


@pytest.mark.parametrize("resize", ["stretch", "center_crop", "letterbox"])
@pytest.mark.parametrize("size_wh", [(1, 1), (20_000, 1), (1, 20_000), (7, 5)])
def test_extreme_sizes_fill_the_whole_input(resize: str, size_wh: tuple[int, int]) -> None:
    pixels, _ = filled(Image.new("RGB", size_wh, "white"), resize=resize, pad_value=255)
    assert (pixels == 255).all()
