"""Raw outputs of one image -> segments, held against what the models' own programs do."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from resized_maps import resized
from specs import spec_of

from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.executor.decode.preprocess import Placement
from pyspark_vision.executor.outputs.heads import SegmentOptions
from pyspark_vision.executor.outputs.masks import decoded
from pyspark_vision.executor.outputs.segments import Segments, channel_axis, segment

Array = np.ndarray[Any, Any]

DRAWN = np.random.default_rng(3)


def segmented(
    outputs: dict[str, Any],
    size_wh: tuple[int, int] = (8, 8),
    *,
    score_threshold: float = 0.0,
    max_segments: int = 100,
    iou_threshold: float | None = None,
    mask_threshold: float = 0.5,
    placement: Placement | None = None,
    **fields: Any,
) -> Segments:
    roles = tuple((role, role) for role in outputs)
    file = ModelFile("litert", "tflite", "m.tflite", "", "image", roles)
    spec = spec_of("segment", **({"files": (file,), "input_layout": "NCHW"} | fields))
    options = SegmentOptions(score_threshold, max_segments, iou_threshold, mask_threshold)
    return segment(spec, outputs, placement or Placement(), size_wh, options)


def masks(found: Segments) -> dict[int, Array]:
    """Class -> its mask, of segments of different classes."""
    return {
        class_id: decoded(found.hw, counts)
        for class_id, counts in zip(found.class_ids.tolist(), found.counts, strict=True)
    }


# Class maps


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("score_kind", ["logit", "probability"])
def test_each_pixel_has_the_class_that_hugging_faces_processor_gives_it(
    layout: str, score_kind: str
) -> None:
    """``SegformerImageProcessor.post_process_semantic_segmentation`` with ``target_sizes``."""
    raw = DRAWN.standard_normal((5, 16, 16)).astype(np.float32)
    if score_kind == "probability":
        raw = np.exp(raw) / np.exp(raw).sum(axis=0)
    expected = np.stack([resized(one, (90, 120)) for one in raw]).argmax(axis=0)

    outputs = {"pixel_scores": raw if layout == "NCHW" else raw.transpose(1, 2, 0)}
    found = segmented(outputs, (120, 90), input_layout=layout, score_kind=score_kind)

    assert found.hw == (90, 120)
    assert found.areas.sum() == 90 * 120
    for class_id, mask in masks(found).items():
        assert (mask == (expected == class_id)).all()


def test_the_score_is_the_mean_of_the_class_where_it_is_the_best() -> None:
    raw = np.array([[[0.9, 0.8], [0.3, 0.6]], [[0.1, 0.2], [0.7, 0.4]]], np.float32)

    found = segmented({"pixel_scores": raw})

    by_class = dict(zip(found.class_ids.tolist(), found.scores.tolist(), strict=True))
    assert by_class == pytest.approx({0: (0.9 + 0.8 + 0.6) / 3, 1: 0.7})


def test_segments_come_best_first_and_the_background_not_at_all() -> None:
    raw = np.zeros((3, 2, 2), np.float32)
    raw[0, 0], raw[1, 1, 0], raw[2, 1, 1] = 1, 0.6, 0.7

    found = segmented({"pixel_scores": raw}, background_class=0, label_offset=10)

    assert found.class_ids.tolist() == [12, 11]
    assert segmented({"pixel_scores": raw}, max_segments=1).class_ids.tolist() == [0]
    assert segmented({"pixel_scores": raw}, score_threshold=0.65).class_ids.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("score_kind", "to_raw"),
    [("binary", lambda p: p), ("binary_logit", lambda p: np.log(p / (1 - p)))],
)
@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4, 1), (4, 4)])
def test_one_channel_is_the_probability_of_class_1_as_mediapipes_calculator_resizes_it(
    score_kind: str, to_raw: Any, shape: tuple[int, ...]
) -> None:
    """``TensorsToSegmentationCalculator``: the activation, then a bilinear resize."""
    share = DRAWN.uniform(0.05, 0.95, (4, 4)).astype(np.float32)

    outputs = {"pixel_scores": to_raw(share).reshape(shape)}
    found = segmented(outputs, (30, 20), score_kind=score_kind, mask_threshold=0.4)

    assert found.class_ids.tolist() == [1]
    expected = resized(share, (20, 30))
    differ = masks(found)[1] != (expected > 0.4)
    assert (np.abs(expected[differ] - 0.4) < 1e-6).all()  # float32's rounding, of a sigmoid
    assert found.areas.tolist() == [masks(found)[1].sum()]


def test_of_classes_that_do_not_exclude_one_another_a_pixel_may_have_several() -> None:
    raw = np.stack([np.full((4, 4), 2.0), np.full((4, 4), 1.0), np.full((4, 4), -1.0)])

    found = segmented({"pixel_scores": raw.astype(np.float32)}, score_kind="sigmoid")

    assert found.class_ids.tolist() == [0, 1]
    assert found.areas.tolist() == [64, 64]


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (2, 2, 1)])
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_a_map_of_classes_gives_each_class_without_a_score(
    shape: tuple[int, ...], dtype: Any
) -> None:
    raw = np.array([7, 7, 0, 3], dtype).reshape(shape)

    found = segmented({"pixel_classes": raw}, (4, 2))

    assert found.class_ids.tolist() == [7, 0, 3]  # the largest first
    assert found.areas.tolist() == [4, 2, 2]
    assert np.isnan(found.scores).all()
    assert found.xyxy.tolist() == [[0, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]


@pytest.mark.parametrize(
    ("outputs", "fields", "said"),
    [
        ({"pixel_scores": np.full((2, 4, 4), np.nan)}, {}, "not finite"),
        ({"pixel_classes": np.full((4, 4), -1)}, {}, "-1 to -1, which are no class ids"),
        ({"pixel_scores": np.zeros((2, 4, 4))}, {"score_kind": "binary"}, "one channel"),
        ({"pixel_scores": np.zeros((2, 4, 4, 3))}, {}, "two or three axes"),
    ],
    ids=["NaN", "no class", "two channels", "four axes"],
)
def test_an_output_that_is_no_map_is_refused(
    outputs: dict[str, Any], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        segmented(outputs, **fields)


def test_a_letterboxed_picture_gets_the_part_of_the_map_that_shows_it() -> None:
    # Twice as wide as high, in the middle of a square: rows 2 to 5 of 8.
    raw = np.zeros((2, 8, 8), np.float32)
    raw[1, 2:6], raw[0] = 2, 1
    placement = Placement(1.0, 0.0, 2.0, -0.5)

    found = segmented({"pixel_scores": raw}, (40, 20), placement=placement)

    assert (found.class_ids.tolist(), found.areas.tolist()) == ([1], [800])


@pytest.mark.parametrize(
    ("shape", "input_hw", "layout", "axis"),
    [
        ((21, 65, 65), (513, 513), "NHWC", 0),
        ((65, 65, 21), (513, 513), "NCHW", 2),
        ((144, 256, 1), (144, 256), "NCHW", 2),
        ((1, 144, 256), (144, 256), "NHWC", 0),
        ((150, 47, 63), (375, 500), "NHWC", 0),
        ((8, 8, 8), (64, 64), "NCHW", 0),
        ((8, 8, 8), (64, 64), "NHWC", 2),
    ],
)
def test_channels_stand_where_the_inputs_proportions_are_not(
    shape: tuple[int, ...], input_hw: tuple[int, int], layout: str, axis: int
) -> None:
    assert channel_axis(shape, input_hw, layout) == axis


# Objects


def native_masks(
    prototypes: Array, coefficients: Array, boxes_px: Array, hw: tuple[int, int], pad: int
) -> Array:
    """Ultralytics, ``utils/ops.py``, ``process_mask_native``: ``retina_masks=True``.

    ``pad``: rows of prototypes above and below that show the letterbox (``scale_masks``).
    """
    weighed = np.tensordot(coefficients, prototypes, axes=1)
    rows = np.arange(hw[0])[:, None]
    columns = np.arange(hw[1])[None]
    found = []
    for values, (x1, y1, x2, y2) in zip(weighed, boxes_px, strict=True):
        whole = resized(values[pad : len(values) - pad], hw)
        is_in_box = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
        found.append((whole > 0) & is_in_box)
    return np.stack(found)


BOXES = np.array([[10, 12, 40, 36], [0, 0, 64, 64], [30.5, 20.25, 50, 50.5]], np.float32)


def yolo_outputs(boxes: Array, role: str) -> dict[str, Array]:
    """Three boxes of three classes, with four coefficients each, in a 64x64 input."""
    boxes = np.asarray(boxes, np.float32)
    cxcywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    scores = np.diag([0.9, 0.8, 0.7]).astype(np.float32)
    coefficients = np.random.default_rng(4).standard_normal((3, 4)).astype(np.float32)
    prototypes = np.random.default_rng(5).standard_normal((4, 16, 16)).astype(np.float32)
    if role == "end_to_end":
        own = [boxes, scores.max(axis=1, keepdims=True), np.arange(3, dtype=np.float32)[:, None]]
    elif role == "yolov5":
        own = [cxcywh, np.ones((3, 1), np.float32), scores]
    else:
        own = [cxcywh, scores]
    table = np.concatenate([*own, coefficients], axis=1)
    return {role: table.T if role == "yolov8" else table, "prototypes": prototypes}


@pytest.mark.parametrize("role", ["yolov8", "yolov8_rows", "yolov5", "end_to_end"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_masks_of_objects_are_those_of_ultralytics(role: str, layout: str) -> None:
    outputs = yolo_outputs(BOXES, role)
    coefficients = (outputs[role].T if role == "yolov8" else outputs[role])[:, -4:]
    hw = (96, 160)
    boxes_px = BOXES / 64 * [hw[1], hw[0], hw[1], hw[0]]
    expected = native_masks(outputs["prototypes"], coefficients, boxes_px, hw, pad=0)
    if layout == "NHWC":
        outputs["prototypes"] = outputs["prototypes"].transpose(1, 2, 0)

    found = segmented(
        outputs,
        (160, 96),
        input_hw=(64, 64),
        input_layout=layout,
        box_format="xyxy" if role == "end_to_end" else "cxcywh",
        coordinates="pixel",
    )

    assert found.class_ids.tolist() == [0, 1, 2]
    assert found.scores == pytest.approx([0.9, 0.8, 0.7])
    assert found.xyxy == pytest.approx(BOXES / 64, abs=1e-6)
    for number, mask in masks(found).items():
        assert (mask == expected[number]).all()
    assert found.areas.tolist() == expected.sum(axis=(1, 2)).tolist()


def test_a_letterboxs_padding_is_cut_off_prototypes_as_ultralytics_does() -> None:
    """A picture of 64x32 in a 64x64 input: four of sixteen rows of prototypes above and below."""
    boxes = np.array([[10, 20, 40, 36], [0, 16, 64, 48], [30, 20, 50, 47]], np.float32)
    outputs = yolo_outputs(boxes, "yolov8_rows")
    hw = (48, 96)
    in_picture = (boxes - [0, 16, 0, 16]) / [64, 32, 64, 32]
    coefficients = outputs["yolov8_rows"][:, -4:]
    scaled = in_picture * [hw[1], hw[0], hw[1], hw[0]]
    expected = native_masks(outputs["prototypes"], coefficients, scaled, hw, pad=4)

    found = segmented(
        outputs,
        (96, 48),
        input_hw=(64, 64),
        box_format="cxcywh",
        coordinates="pixel",
        placement=Placement(1.0, 0.0, 2.0, -0.5),
    )

    for number, mask in masks(found).items():
        assert (mask == expected[number]).all()


def test_an_object_whose_mask_is_empty_stays_with_an_area_of_nothing() -> None:
    outputs = yolo_outputs(BOXES, "yolov8_rows")
    outputs["prototypes"][...] = 0

    found = segmented(
        outputs, (10, 10), input_hw=(64, 64), box_format="cxcywh", coordinates="pixel"
    )

    assert found.areas.tolist() == [0, 0, 0]
    assert not masks(found)[0].any()


@pytest.mark.parametrize("shape", [(1, 14, 14), (14, 14)])
def test_masks_within_boxes_fill_their_boxes(shape: tuple[int, ...]) -> None:
    """TensorFlow's Object Detection API: ``detection_masks`` of ``detection_boxes``."""
    left_half = np.zeros((14, 14), np.float32)
    left_half[:, :7] = 1
    outputs = {
        "boxes": np.array([[0.25, 0.5, 0.75, 1.0]], np.float32),
        "scores": np.array([0.9], np.float32),
        "classes": np.array([3.0], np.float32),
        "box_masks": left_half.reshape(1, *shape),
    }

    found = segmented(outputs, (80, 40), box_format="yxyx")

    expected = np.zeros((40, 80), bool)
    expected[10:30, 40:60] = True
    assert (masks(found)[3] == expected).all()


def test_masks_over_the_whole_input_are_cut_at_their_boxes() -> None:
    """torchvision's Mask R-CNN: ``masks`` ``(N, 1, H, W)``."""
    outputs = {
        "boxes": np.array([[2, 2, 6, 6]], np.float32),
        "scores": np.array([0.9], np.float32),
        "classes": np.array([1], np.int64),
        "masks": np.ones((1, 1, 8, 8), np.float32),
    }

    found = segmented(outputs, (16, 16), box_format="xyxy", coordinates="pixel")

    assert found.areas.tolist() == [64]


def test_a_table_without_room_for_coefficients_is_refused() -> None:
    outputs = yolo_outputs(BOXES, "yolov8_rows")
    outputs["yolov8_rows"] = outputs["yolov8_rows"][:, :8]

    with pytest.raises(ValueError, match="no 4 columns beside those of a box"):
        segmented(outputs, input_hw=(64, 64))


def test_memory_is_that_of_the_picture_not_of_its_masks() -> None:
    """300 masks on 12 megapixels: as bytes they would be 3.6 GB."""
    count = 300
    boxes = np.tile(np.array([[0, 0, 64, 64]], np.float32), (count, 1))
    cxcywh = np.concatenate([boxes[:, 2:] / 2, boxes[:, 2:] / 8], 1)
    cxcywh[0, 2:] = 64  # one is as large as the picture
    scores = np.linspace(0.6, 0.9, count, dtype=np.float32)[:, None]
    coefficients = np.random.default_rng(6).standard_normal((count, 4)).astype(np.float32)
    outputs = {
        "yolov8_rows": np.concatenate([cxcywh, scores, coefficients], axis=1),
        "prototypes": np.random.default_rng(7).standard_normal((4, 16, 16)).astype(np.float32),
    }

    tracemalloc.start()
    found = segmented(
        outputs,
        (4000, 3000),
        max_segments=count,
        input_hw=(64, 64),
        box_format="cxcywh",
        coordinates="pixel",
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found.counts) == count
    assert peak < 60e6
