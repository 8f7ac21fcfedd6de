"""SSD, YuNet, NanoDet and FastestDet give the numbers of their publishers' code, loop by loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.bundles.proposal.ssd_families import FAMILIES, SsdFamily
from pyspark_vision.bundles.spec import AnchorLayer, ModelFile, ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.preprocess import Placement
from pyspark_vision.executor.outputs.anchors import anchors_of, computed_anchors
from pyspark_vision.executor.outputs.boxes import iou_of_one, weighted_nms
from pyspark_vision.executor.outputs.heads import DetectOptions, detect
from pyspark_vision.executor.outputs.raw_heads import split

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)


def family(name: str) -> SsdFamily:
    return next(one for one in FAMILIES if one.name == name)


def spec_with(roles: tuple[str, ...], input_hw: tuple[int, int], **fields: Any) -> ModelSpec:
    file = ModelFile("onnx", "onnx", "m.onnx", "", "image", tuple((role, role) for role in roles))
    return spec_of("detect", files=(file,), input_hw=input_hw, **fields)


# UltraFace: fd_config.py, define_img_size; box_utils.py, generate_priors.
def ultraface_priors(width: int, height: int, maps: list[list[int]]) -> list[list[float]]:
    min_boxes = [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]]
    priors = []
    for index, (columns, rows) in enumerate(zip(*maps, strict=True)):
        for j in range(rows):
            for i in range(columns):
                for min_box in min_boxes[index]:
                    center = [(i + 0.5) / columns, (j + 0.5) / rows]
                    priors.append([*center, min_box / width, min_box / height])
    return np.clip(priors, 0, 1).tolist()


# FaceMaskDetection: anchor_generator.py, as centre and sides.
def mask_anchors(maps: list[int]) -> list[list[float]]:
    sizes = [[0.04, 0.056], [0.08, 0.11], [0.16, 0.22], [0.32, 0.45], [0.64, 0.72]]
    ratios = [1, 0.62, 0.42]
    anchors = []
    for cells, (first, second) in zip(maps, sizes, strict=True):
        for j in range(cells):
            for i in range(cells):
                center = [(i + 0.5) / cells, (j + 0.5) / cells]
                for scale, ratio in ((first, 1), (second, 1), (first, 0.62), (first, 0.42)):
                    assert ratio in ratios
                    anchors.append([*center, scale * math.sqrt(ratio), scale / math.sqrt(ratio)])
    return anchors


# MediaPipe: ssd_anchors_calculator.cc, with fixed anchors.
def mediapipe_anchors(size: int, strides: list[int], interpolated: bool) -> list[list[float]]:
    anchors, layer = [], 0
    while layer < len(strides):
        last, count = layer, 0
        while last < len(strides) and strides[last] == strides[layer]:
            last, count = last + 1, count + (2 if interpolated else 1)
        cells = math.ceil(size / strides[layer])
        for y in range(cells):
            for x in range(cells):
                anchors += [[(x + 0.5) / cells, (y + 0.5) / cells, 1.0, 1.0]] * count
        layer = last
    return anchors


# Pytorch_Retinaface: prior_box.py.
def retinaface_priors(width: int, height: int) -> list[list[float]]:
    priors = []
    for step, sizes in ((8, [16, 32]), (16, [64, 128]), (32, [256, 512])):
        for i in range(math.ceil(height / step)):
            for j in range(math.ceil(width / step)):
                for size in sizes:
                    center = [(j + 0.5) * step / width, (i + 0.5) * step / height]
                    priors.append([*center, size / width, size / height])
    return priors


@pytest.mark.parametrize(
    ("name", "input_hw", "expected", "count"),
    [
        (
            "UltraFace",
            (240, 320),
            ultraface_priors(320, 240, [[40, 20, 10, 5], [30, 15, 8, 4]]),
            4420,
        ),
        (
            "UltraFace",
            (480, 640),
            ultraface_priors(640, 480, [[80, 40, 20, 10], [60, 30, 15, 8]]),
            17640,
        ),
        ("FaceMaskDetection, 260", (260, 260), mask_anchors([33, 17, 9, 5, 3]), 5972),
        (
            "BlazeFace, short range",
            (128, 128),
            mediapipe_anchors(128, [8, 16, 16, 16], True),
            896,
        ),
        ("BlazeFace, full range", (192, 192), mediapipe_anchors(192, [4], False), 2304),
        (
            "BlazeFace, back camera",
            (256, 256),
            mediapipe_anchors(256, [16, 32, 32, 32], True),
            896,
        ),
        ("BlazePalm", (192, 192), mediapipe_anchors(192, [8, 16, 16, 16], True), 2016),
        (
            "BlazePose's detector",
            (224, 224),
            mediapipe_anchors(224, [8, 16, 32, 32, 32], True),
            2254,
        ),
        ("RetinaFace", (640, 640), retinaface_priors(640, 640), 16800),
    ],
)
def test_anchors_are_those_of_the_published_generators(
    name: str, input_hw: tuple[int, int], expected: list[list[float]], count: int
) -> None:
    anchors = family(name).anchors(input_hw)

    assert len(expected) == count
    np.testing.assert_allclose(anchors, expected, atol=1e-6)


def test_anchors_of_a_file_are_taken_as_they_are() -> None:
    numbers = (0.25, 0.5, 0.1, 0.2, 0.75, 0.5, 0.3, 0.4)

    anchors = anchors_of(spec_with(("ssd_boxes", "scores"), (64, 64), anchors=numbers))

    np.testing.assert_allclose(anchors.ravel(), numbers)


def test_ssd_offsets_are_decoded_as_ultraface_does() -> None:
    """box_utils.py: convert_locations_to_boxes with center_variance 0.1 and size_variance 0.2."""
    layers = (AnchorLayer(32, (16.0, 24.0)),)
    spec = spec_with(("ssd_boxes", "class_scores"), (64, 96), anchor_layers=layers)
    raw = RANDOM.normal(0, 2, (12, 4)).astype(np.float32)
    priors = computed_anchors(layers, (64, 96), False)

    boxes = split({"ssd_boxes": raw, "class_scores": np.ones((12, 2))}, spec)["boxes"]

    for box, location, prior in zip(boxes, raw, priors, strict=True):
        expected = [
            location[0] * 0.1 * prior[2] + prior[0],
            location[1] * 0.1 * prior[3] + prior[1],
            math.exp(location[2] * 0.2) * prior[2],
            math.exp(location[3] * 0.2) * prior[3],
        ]
        assert box.tolist() == pytest.approx(expected, rel=1e-5)


def test_ssd_offsets_and_points_are_decoded_as_mediapipe_does() -> None:
    """tensors_to_detections_calculator.cc: DecodeBoxes with x_scale = w_scale = 128."""
    blaze = family("BlazeFace, short range")
    spec = spec_with(
        ("ssd_boxes", "class_scores"), (128, 128), anchor_layers=blaze.layers, **blaze.fields
    )
    raw = RANDOM.normal(0, 30, (896, 16)).astype(np.float32)

    parts = split({"ssd_boxes": raw, "class_scores": np.zeros((896, 1))}, spec)

    for row, (x, y, w, h), box, points in zip(
        raw[::97],
        blaze.anchors((128, 128))[::97],
        parts["boxes"][::97],
        parts["keypoints"][::97],
        strict=True,
    ):
        center = [row[0] / 128 * w + x, row[1] / 128 * h + y]
        assert box.tolist() == pytest.approx(
            [*center, row[2] / 128 * w, row[3] / 128 * h], abs=1e-5
        )
        for k in range(6):
            at = 4 + 2 * k
            expected = [row[at] / 128 * w + x, row[at + 1] / 128 * h + y]
            assert points[k].tolist() == pytest.approx(expected, abs=1e-5)


def test_ssd_points_in_an_output_of_their_own_are_decoded_as_retinaface_does() -> None:
    """box_utils.py, decode_landm: the prior's centre and the point times 0.1 times its sides."""
    layers = family("RetinaFace").layers
    priors = computed_anchors(layers, (32, 32), False)
    points = RANDOM.normal(0, 2, (len(priors), 10)).astype(np.float32)
    outputs: dict[str, Array] = {
        "ssd_boxes": np.zeros((len(priors), 4)),
        "ssd_keypoints": points,
        "class_scores": np.zeros((len(priors), 2)),
    }

    parts = split(outputs, spec_with(tuple(outputs), (32, 32), anchor_layers=layers))

    expected = priors[:, None, :2] + points.reshape(-1, 5, 2) * 0.1 * priors[:, None, 2:]
    np.testing.assert_allclose(parts["keypoints"], expected, rtol=1e-5)
    assert set(parts) == {"boxes", "class_scores", "keypoints"}


def test_ssd_rows_that_are_not_as_many_as_anchors_are_refused_with_both_counts() -> None:
    spec = spec_with(("ssd_boxes", "scores"), (64, 64), anchor_layers=(AnchorLayer(32, (16.0,)),))

    with pytest.raises(ValueError, match=r"gives 5 boxes, and the spec has 4 anchors"):
        split({"ssd_boxes": np.zeros((5, 4)), "scores": np.zeros(5)}, spec)


def test_yunet_gives_opencvs_faces() -> None:
    """face_detect.cpp, postProcess, for a 64x96 input."""
    outputs: dict[str, Array] = {}
    expected = []
    for stride in (8, 16, 32):
        rows, columns = 64 // stride, 96 // stride
        cls = RANDOM.uniform(-0.2, 1.2, (rows * columns, 1)).astype(np.float32)
        obj = RANDOM.uniform(-0.2, 1.2, (rows * columns, 1)).astype(np.float32)
        bbox = RANDOM.normal(0, 1, (rows * columns, 4)).astype(np.float32)
        kps = RANDOM.normal(0, 1, (rows * columns, 10)).astype(np.float32)
        for kind, values in (("cls", cls), ("obj", obj), ("bbox", bbox), ("kps", kps)):
            outputs[f"{kind}_{stride}"] = values
        for r in range(rows):
            for c in range(columns):
                i = r * columns + c
                score = math.sqrt(min(max(cls[i, 0], 0), 1) * min(max(obj[i, 0], 0), 1))
                box = [
                    (c + bbox[i, 0]) * stride,
                    (r + bbox[i, 1]) * stride,
                    math.exp(bbox[i, 2]) * stride,
                    math.exp(bbox[i, 3]) * stride,
                ]
                points = [
                    ((kps[i, 2 * n] + c) * stride, (kps[i, 2 * n + 1] + r) * stride)
                    for n in range(5)
                ]
                expected.append((score, box, points))

    parts = split(outputs, spec_with(tuple(outputs), (64, 96)))

    scores, boxes, points = zip(*expected, strict=True)
    np.testing.assert_allclose(parts["class_scores"][:, 0], scores, atol=1e-6)
    np.testing.assert_allclose(parts["boxes"], boxes, rtol=1e-5)
    np.testing.assert_allclose(parts["keypoints"], points, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("strides", "middle"), [((8, 16, 32, 64), 0.0), ((8, 16, 32), 0.5)], ids=["Plus", "first"]
)
def test_nanodet_gives_its_boxes(strides: tuple[int, ...], middle: float) -> None:
    """Integral and distance2bbox of nanodet, for a 72x96 input and three classes."""
    grids = [(stride, math.ceil(72 / stride), math.ceil(96 / stride)) for stride in strides]
    count = sum(rows * columns for _, rows, columns in grids)
    raw = RANDOM.normal(0, 2, (count, 3 + 32)).astype(np.float32)
    expected, index = [], 0
    for stride, rows, columns in grids:
        for r in range(rows):
            for c in range(columns):
                sides = []
                for side in range(4):
                    logits = raw[index, 3 + 8 * side : 11 + 8 * side].astype(float)
                    exponents = np.exp(logits)
                    mean = sum(k * e for k, e in enumerate(exponents)) / exponents.sum()
                    sides.append(mean * stride)
                x, y = (c + middle) * stride, (r + middle) * stride
                expected.append([x - sides[0], y - sides[1], x + sides[2], y + sides[3]])
                index += 1

    parts = split({"nanodet": raw}, spec_with(("nanodet",), (72, 96)))

    np.testing.assert_allclose(parts["boxes"], expected, atol=1e-3)
    np.testing.assert_array_equal(parts["class_scores"], raw[:, :3])


@pytest.mark.parametrize("channels_first", [True, False])
def test_fastestdet_gives_its_boxes(channels_first: bool) -> None:
    """runtime.py of FastestDet, for a 48x64 input and two classes."""
    grid = RANDOM.normal(0, 1, (3, 4, 7)).astype(np.float32)
    grid[..., 0] = RANDOM.uniform(0, 1, (3, 4))
    grid[..., 5:] = RANDOM.dirichlet([1, 1], (3, 4))
    expected = []
    for h in range(3):
        for w in range(4):
            data = grid[h, w]
            score = data[0] ** 0.6 * data[5:].max() ** 0.4
            center = [(w + math.tanh(data[1])) / 4, (h + math.tanh(data[2])) / 3]
            sides = [1 / (1 + math.exp(-data[3])), 1 / (1 + math.exp(-data[4]))]
            expected.append((score, int(data[5:].argmax()), [*center, *sides]))

    values = np.moveaxis(grid, -1, 0) if channels_first else grid
    parts = split({"fastestdet": values}, spec_with(("fastestdet",), (48, 64)))

    scores, classes, boxes = zip(*expected, strict=True)
    np.testing.assert_allclose(parts["scores"], scores, rtol=1e-5)
    assert parts["classes"].tolist() == list(classes)
    np.testing.assert_allclose(parts["boxes"], boxes, atol=1e-5)


@pytest.mark.parametrize(
    ("role", "shape", "said"),
    [
        ("nanodet", (7, 35), "7 rows do not fit the grids"),
        ("fastestdet", (7, 5, 5), r"its grid is .*, not \(4, 4\)"),
    ],
)
def test_rows_that_fit_no_grid_are_refused(role: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        split({role: np.zeros(shape)}, spec_with((role,), (64, 64)))


# MediaPipe: non_max_suppression_calculator.cc, WeightedNonMaxSuppression, of sorted boxes.
def mediapipe_weighted(boxes: Array, scores: Array, threshold: float) -> list[list[float]]:
    remained, merged = list(range(len(boxes))), []
    while remained:
        candidates = [
            i
            for i in remained
            if i == remained[0] or iou_of_one(boxes[remained[0]], boxes[[i]])[0] > threshold
        ]
        total = sum(scores[i] for i in candidates)
        merged.append(sum(boxes[i] * scores[i] for i in candidates) / total)
        remained = [i for i in remained if i not in candidates]
    return [box.tolist() for box in merged]


def test_weighted_suppression_is_mediapipes() -> None:
    corners = RANDOM.uniform(0, 0.6, (60, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(0.2, 0.4, (60, 2))], axis=1)
    scores = np.sort(RANDOM.uniform(0.5, 1, 60))[::-1]
    points = RANDOM.uniform(0, 1, (60, 3, 2))

    kept, merged, merged_points = weighted_nms(boxes, scores, np.zeros(60), 0.3, 100, points)

    np.testing.assert_allclose(merged[kept], mediapipe_weighted(boxes, scores, 0.3))
    assert merged_points is not None
    assert merged_points[kept].shape == (len(kept), 3, 2)
    # What overlaps nothing stays where it is.
    alone = weighted_nms(boxes[:1], scores[:1], np.zeros(1), 0.3, 100, points[:1])
    assert alone[2] is not None
    np.testing.assert_allclose(alone[2], points[:1])


def test_weighted_suppression_of_nothing_and_of_two_classes() -> None:
    assert weighted_nms(np.empty((0, 4)), np.empty(0), np.empty(0), 0.3, 10)[0].size == 0
    same = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9]])
    assert weighted_nms(same, np.array([0.9, 0.8]), np.array([0, 1]), 0.3, 10)[0].tolist() == [
        0,
        1,
    ]


def test_keypoints_of_kept_boxes_are_placed_in_the_picture_and_not_cut() -> None:
    spec = spec_with(
        ("boxes", "class_scores"),
        (100, 100),
        coordinates="pixel",
        box_format="xyxy",
        keypoint_names=("eye", "nose"),
    )
    outputs = {
        "boxes": np.array([[0, 0, 9, 9], [20, 30, 40, 50], [21, 31, 41, 51]], np.float32),
        "class_scores": np.array([[0.1], [0.8], [0.9]], np.float32),
        "keypoints": np.array(
            [[[0, 0], [0, 0]], [[1, 1], [2, 2]], [[30, 40], [-10, 120]]], np.float32
        ),
    }
    # The picture is the upper half of the input.
    placement = Placement(y_scale=2.0)

    found = detect(spec, outputs, placement, DetectOptions(0.5, 10, 0.5))

    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints, [[[0.3, 0.8], [-0.1, 2.4]]], atol=1e-6)
    none = detect(spec, outputs, placement, DetectOptions(0.95, 10, 0.5))
    assert none.keypoints is not None
    assert none.keypoints.shape == (0, 2, 2)


def test_keypoints_that_are_not_as_many_as_their_names_are_refused() -> None:
    spec = spec_with(("boxes", "scores"), (8, 8), keypoint_names=("eye",))
    outputs = {"boxes": np.zeros((1, 4)), "scores": np.ones(1)}

    with pytest.raises(ValueError, match=r"names keypoints, and the model's outputs have none"):
        detect(spec, outputs, Placement(), DetectOptions(0.5, 10, None))
    outputs["keypoints"] = np.zeros((1, 3, 2))
    with pytest.raises(ValueError, match=r"gives 3 keypoints, and the spec names 1"):
        detect(spec, outputs, Placement(), DetectOptions(0.5, 10, None))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs anchor_layers"),
        ({"anchors": (0.1, 0.2, 0.3)}, "needs anchor_layers"),
        ({"anchor_layers": ((0, (8.0,), (1.0,)),)}, "anchor_layers=.* is not a tuple of"),
        ({"anchor_layers": ((8, (), (1.0,)),)}, "anchor_layers=.* is not a tuple of"),
        ({"anchor_layers": 8}, "anchor_layers=8 is not a tuple of"),
        ({"anchors": (0.1,) * 4, "anchor_variances": (0.1, 0.2)}, "anchor_variances=.* is not"),
        ({"anchors": (0.1,) * 4, "anchor_sides": "log"}, "anchor_sides='log' is not one of"),
        ({"anchors": (0.1,) * 4, "iou_threshold": 2.0}, "iou_threshold=2.0 is not above 0"),
        ({"anchors": (0.1,) * 4, "keypoint_names": (1,)}, "keypoint_names=.* is not a tuple of"),
    ],
)
def test_specs_of_anchors_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidModelError, match=said):
        spec_with(("ssd_boxes", "scores"), (64, 64), **fields)
