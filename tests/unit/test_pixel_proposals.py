"""Models of pixels and points as people have them: known and right, proposed, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import save_colors, save_constant
from proposals import answer, proposed

from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.keypoint_names import (
    COCO_POINTS,
    MEDIAPIPE_HAND_POINTS,
    MEDIAPIPE_POSE_POINTS,
)
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.heads import PoseOptions, SegmentOptions

Array = np.ndarray[Any, Any]

CELLS = 8 * 8 + 4 * 4 + 2 * 2
SEGMENT = {"task": "segment", "stride": "32", "names": "{0: 'cat', 1: 'dog'}", "imgsz": "[64, 64]"}
POSE = {"task": "pose", "stride": "32", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}
# Of a 64x64 input, in pixels, as cxcywh; four coefficients, the first of which makes the mask.
OBJECT = (32.0, 32.0, 32.0, 16.0, 0.1, 0.9, 1.0, 0.0, 0.0, 0.0)
PERSON = (32.0, 32.0, 32.0, 16.0, 0.9, *(16.0, 32.0, 0.8) * 17)


def table(row: tuple[float, ...], rows: int = CELLS) -> Array:
    values = np.zeros((1, rows, len(row)), np.float32)
    values[0, 0] = row
    return values


def prototypes() -> Array:
    """The left half of the picture is inside."""
    maps = np.zeros((1, 4, 16, 16), np.float32)
    maps[0, 0] = -5
    maps[0, 0, :, :8] = 5
    return maps


def class_logits(classes: int) -> Array:
    """Class 1 in the upper half, class 0 below."""
    logits = np.full((1, classes, 16, 16), -5, np.float32)
    logits[0, 1, :8] = 5
    logits[0, 0, 8:] = 5
    return logits


def segments(spec: ModelSpec) -> list[tuple[int, int]]:
    """(class, area) of each segment."""
    value = answer(spec, SegmentOptions(0.3, 10, 0.5, 0.5))
    return list(zip(value.class_ids.tolist(), value.areas.tolist(), strict=True))


def unit(row: tuple[float, ...]) -> tuple[float, ...]:
    """The same with its box in 0..1, as TFLite exports have it."""
    return (*(side / 64 for side in row[:4]), *row[4:])


@pytest.mark.parametrize(
    ("outputs", "metadata"),
    [
        ({"output0": table(OBJECT).transpose(0, 2, 1), "output1": prototypes()}, SEGMENT),
        ({"output0": table(unit(OBJECT)).transpose(0, 2, 1), "output1": prototypes()}, SEGMENT),
        ({"output0": table(OBJECT), "output1": prototypes()}, SEGMENT),
        (
            {
                "output0": table((16, 24, 48, 40, 0.9, 1, 1, 0, 0, 0), 20),
                "output1": prototypes(),
            },
            SEGMENT,
        ),
        (
            {
                "output0": table(OBJECT).transpose(0, 2, 1),
                "output1": prototypes().transpose(0, 2, 3, 1),
            },
            SEGMENT,
        ),
        # Without metadata the grid tells, as of detectors; a detector has no prototypes.
        ({"output0": table(OBJECT).transpose(0, 2, 1), "output1": prototypes()}, None),
    ],
    ids=["pixels", "in 0..1", "rows", "suppressed", "channels last", "no metadata"],
)
def test_yolos_segmentation_is_known_and_gives_its_mask(
    outputs: Mapping[str, Any], metadata: Any, tmp_path: Path
) -> None:
    proposal = proposed(tmp_path, outputs, metadata)

    assert proposal.spec.task == "segment"
    assert proposal.open_fields == []
    # The left half of a box of 32 times 16.
    assert segments(proposal.spec) == [(1, 16 * 16)]


@pytest.mark.parametrize(
    ("outputs", "labels", "more", "is_open"),
    [
        ({"logits": class_logits(2)}, None, {}, ["task", "normalization", "score_kind"]),
        ({"logits": class_logits(2)}, None, {"task": "segment"}, ["normalization", "score_kind"]),
        ({"logits": class_logits(3)}, ["sky", "sea", "land"], {}, ["normalization", "score_kind"]),
        (
            {"out": class_logits(2), "aux": class_logits(2)},
            None,
            {"task": "segment"},
            ["normalization", "score_kind"],
        ),
        (
            {"classes": class_logits(2).argmax(axis=1)},
            None,
            {},
            ["normalization"],
        ),
    ],
    ids=["logits", "a task", "as many labels", "aux", "classes"],
)
def test_a_map_of_classes_is_read_once_the_rest_is_said(
    outputs: Mapping[str, Any],
    labels: Any,
    more: dict[str, Any],
    is_open: list[str],
    tmp_path: Path,
) -> None:
    proposal = proposed(tmp_path, outputs, labels=labels, **more)

    assert (proposal.spec.task, proposal.open_fields) == ("segment", is_open)
    said: dict[str, Any] = {} if "classes" in outputs else {"score_kind": "logit"}
    known = inspect_model(tmp_path / "m.onnx", "segment", labels, normalization="unit", **said)
    assert sorted(segments(known)) in ([(0, 2048), (1, 2048)], [(1, 2048)])


def test_a_map_of_any_size_is_known_by_a_run(tmp_path: Path) -> None:
    path = save_colors(tmp_path / "m.onnx", ("height", "width"))

    proposal = propose_model(path, "segment", input_hw=(64, 64), normalization="unit")

    assert proposal.open_fields == ["score_kind"]
    assert segments(proposal.spec) == [(0, 64 * 64)]


def test_features_of_any_size_are_no_map_of_classes(tmp_path: Path) -> None:
    path = save_colors(tmp_path / "m.onnx", ("height", "width"), step=32)

    assert propose_model(path, input_hw=(64, 64), normalization="unit").spec.task != "segment"
    with pytest.raises(InvalidModelError, match=r"its map has \[2, 2\] places only"):
        propose_model(path, "segment", input_hw=(64, 64))


def test_a_class_called_background_is_none_of_the_segments(tmp_path: Path) -> None:
    labels = ["background", "person", "cat"]

    proposal = proposed(tmp_path, {"logits": class_logits(3)}, labels=labels)

    assert proposal.spec.background_class == 0
    assert segments(proposal.spec) == [(1, 2048)]


@pytest.mark.parametrize(
    ("values", "score_kind"),
    [((0.1, 0.9), "binary"), ((-4.0, 4.0), "binary_logit")],
)
def test_one_channel_is_of_one_class(
    values: tuple[float, float], score_kind: str, tmp_path: Path
) -> None:
    maps = np.full((1, 1, 64, 64), values[0], np.float32)
    maps[0, 0, :8] = values[1]

    proposal = proposed(tmp_path, {"mask": maps}, labels=["person"])

    assert (proposal.spec.score_kind, proposal.spec.label_offset) == (score_kind, -1)
    assert proposal.open_fields == ["normalization"]
    assert segments(proposal.spec) == [(0, 512)]


def test_labels_of_another_model_are_refused_with_both_counts(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="has 3 classes.*ends at id 1"):
        proposed(tmp_path, {"logits": class_logits(3)}, labels=["sky", "sea"])


def test_a_detector_with_masks_stays_a_detector_unless_segments_are_asked_for(
    tmp_path: Path,
) -> None:
    """torchvision's Mask R-CNN."""
    outputs = {
        "boxes": [[16.0, 16.0, 48.0, 48.0]],
        "labels": np.array([1]),
        "scores": [0.9],
        "masks": np.ones((1, 1, 64, 64)),
    }

    assert proposed(tmp_path, outputs).spec.task == "detect"
    proposal = proposed(tmp_path, outputs, task="segment")
    assert proposal.open_fields == []
    assert segments(proposal.spec) == [(1, 32 * 32)]


def poses(spec: ModelSpec) -> list[tuple[float, list[float]]]:
    """(score, the first point) of each pose."""
    value = answer(spec, PoseOptions(0.3, 10, 0.5))
    return [
        (round(float(score), 3), [round(float(number), 3) for number in points[0]])
        for score, points in zip(value.scores, value.points, strict=True)
    ]


MOVENET = np.tile(np.array([0.5, 0.25, 0.8], np.float32), (1, 1, 17, 1))
MULTIPOSE = np.zeros((1, 6, 56), np.float32)
MULTIPOSE[0, 0] = [*(0.5, 0.25, 0.8) * 17, 0.1, 0.1, 0.9, 0.9, 0.9]


@pytest.mark.parametrize(
    ("outputs", "metadata", "score"),
    [
        ({"output_0": MOVENET}, None, 0.8),
        ({"output_0": MULTIPOSE}, None, 0.9),
        ({"output0": table(PERSON).transpose(0, 2, 1)}, POSE, 0.9),
        ({"output0": table((16, 24, 48, 40, 0.9, 0, *PERSON[5:]), 20)}, POSE, 0.9),
    ],
    ids=["MoveNet", "MultiPose", "YOLO", "YOLO, suppressed"],
)
def test_persons_points_are_known(
    outputs: Mapping[str, Any], metadata: Any, score: float, tmp_path: Path
) -> None:
    proposal = proposed(tmp_path, outputs, metadata)

    assert proposal.spec.task == "keypoints"
    assert proposal.open_fields == []
    assert proposal.spec.keypoint_names == COCO_POINTS
    assert poses(proposal.spec) == [(score, [0.25, 0.5, 0.8])]


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"kpt_shape": "[2, 3]"}, ("0", "1")),
        ({"kpt_shape": "[2, 3]", "kpt_names": "{0: ['nose', 'tail']}"}, ("nose", "tail")),
        ({"kpt_shape": "[2, 3]", "kpt_names": "{0: ['nose']}"}, ("0", "1")),
    ],
)
def test_points_of_another_number_have_the_metadatas_names_or_numbers(
    metadata: dict[str, str], names: tuple[str, ...], tmp_path: Path
) -> None:
    outputs = {"output0": table((*PERSON[:5], *PERSON[5:11])).transpose(0, 2, 1)}

    spec = proposed(tmp_path, outputs, {**POSE, **metadata}).spec

    assert spec.keypoint_names == names
    assert poses(spec) == [(0.9, [0.25, 0.5, 0.8])]


def test_movenet_takes_pixels_as_whole_numbers(tmp_path: Path) -> None:
    path = save_constant(
        tmp_path / "m.onnx", {"output_0": MOVENET}, (1, 64, 64, 3), dtype=TensorProto.INT32
    )

    spec = inspect_model(path)

    assert (spec.input_dtype, spec.normalization, spec.resize) == ("int32", "none", "letterbox")
    assert poses(spec) == [(0.8, [0.25, 0.5, 0.8])]


@pytest.mark.parametrize(
    ("numbers", "each", "names"),
    [
        (195, (16.0, 32.0, 1.0, 2.0, 2.0), MEDIAPIPE_POSE_POINTS),
        (63, (16.0, 32.0, 1.0), MEDIAPIPE_HAND_POINTS),
        (1404, (16.0, 32.0, 1.0), ()),
    ],
    ids=["pose", "hand", "face"],
)
def test_mediapipes_points_are_known_and_not_those_in_metres(
    numbers: int, each: tuple[float, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    points = np.tile(np.array(each, np.float32), numbers // len(each))[None]
    outputs = {"Identity": points / 100, "Identity_1": [[0.9]], "Identity_3": points}

    proposal = proposed(tmp_path, outputs)

    assert proposal.open_fields == []
    assert proposal.spec.keypoint_names == names
    assert dict(proposal.spec.file.outputs) == {
        "keypoints": "Identity_3", "presence": "Identity_1",
    }  # fmt: skip
    ((_, (x, y, _)),) = poses(proposal.spec)
    assert (x, y) == (0.25, 0.5)


def test_a_hands_second_number_is_its_side(tmp_path: Path) -> None:
    points = np.tile(np.array([16.0, 32.0, 1.0], np.float32), 21)[None]
    outputs = {"Identity": points, "Identity_1": [[0.9]], "Identity_2": [[0.1]]}

    proposal = proposed(tmp_path, outputs, labels=["Left", "Right"])

    assert dict(proposal.spec.file.outputs)["handedness"] == "Identity_2"
    assert answer(proposal.spec, PoseOptions(0.5, 1, None)).class_ids.tolist() == [1]


def test_yolos_pose_without_metadata_is_proposed(tmp_path: Path) -> None:
    proposal = proposed(tmp_path, {"output0": table(PERSON).transpose(0, 2, 1)})

    assert proposal.spec.task == "keypoints"


def test_a_table_of_52_classes_may_also_be_one_of_points(tmp_path: Path) -> None:
    outputs = {"output0": table((*OBJECT[:4], 0.9, *(0.1,) * 51)).transpose(0, 2, 1)}

    assert "task" in proposed(tmp_path, outputs).open_fields


@pytest.mark.parametrize(
    ("outputs", "task", "metadata", "said"),
    [
        ({"out": np.zeros((1, 3))}, "segment", None, "cannot tell a map of classes, or boxes"),
        ({"out": np.zeros((1, 3))}, "keypoints", None, "cannot tell points among the outputs"),
        (
            {"out": MOVENET * 100},
            "keypoints",
            None,
            "its points reach to 50, far off a 64x64",
        ),
        ({"out": np.full((1, 64, 64), -2)}, "segment", None, "its classes are from -2 to -2"),
        (
            {"output0": table(PERSON)},
            None,
            {**POSE, "kpt_shape": "[17, 4]"},
            "is .17, 4., not the number of points and 2 or 3",
        ),
        ({"output0": table(PERSON)}, None, {**POSE, "kpt_shape": "17"}, "is '17', not a Python"),
        ({"output0": table(OBJECT)}, None, {**POSE, "task": "obb"}, "Ultralytics model for 'obb'"),
    ],
    ids=["no map", "no points", "far off", "no classes", "kpt_shape", "17", "oriented boxes"],
)
def test_what_cannot_be_read_is_refused_with_what_was_seen(
    outputs: Mapping[str, Any], task: str | None, metadata: Any, said: str, tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", outputs, metadata=metadata)

    with pytest.raises(InvalidModelError, match=said):
        inspect_model(path, task, accept=True)


def test_outputs_can_be_named_by_hand(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"a": MOVENET})

    spec = inspect_model(
        path,
        outputs={"keypoints": "a"},
        keypoint_format="yxs",
        keypoint_names=COCO_POINTS,
        normalization="unit",
    )

    assert spec.task == "keypoints"
    assert poses(spec) == [(0.8, [0.25, 0.5, 0.8])]
