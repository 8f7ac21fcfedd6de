"""Raw outputs of one image -> poses; numbers worked out by hand, formats as their sources say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.executor.decode.preprocess import Placement
from pyspark_vision.executor.outputs.heads import PoseOptions
from pyspark_vision.executor.outputs.poses import Poses, detect_poses

Array = np.ndarray[Any, Any]

DRAWN = np.random.default_rng(3)


def posed(
    outputs: dict[str, Any],
    *,
    score_threshold: float = 0.0,
    max_poses: int = 100,
    iou_threshold: float | None = None,
    placement: Placement | None = None,
    **fields: Any,
) -> Poses:
    roles = tuple((role, role) for role in outputs)
    file = ModelFile("litert", "tflite", "m.tflite", "", "image", roles)
    spec = spec_of("keypoints", **({"files": (file,), "input_hw": (64, 64)} | fields))
    options = PoseOptions(score_threshold, max_poses, iou_threshold)
    arrays = {role: np.array(values, np.float32) for role, values in outputs.items()}
    return detect_poses(spec, arrays, placement or Placement(), options)


# MoveNet


def test_movenets_points_are_y_x_and_score_in_parts_of_the_input() -> None:
    """TensorFlow Hub, "MoveNet.SinglePose": ``[1, 1, 17, 3]``."""
    raw = DRAWN.uniform(0, 1, (1, 17, 3)).astype(np.float32)

    found = posed({"keypoints": raw}, keypoint_format="yxs")

    assert (found.points[0] == raw[0][:, [1, 0, 2]]).all()
    assert found.scores == pytest.approx([raw[0, :, 2].mean()])
    assert np.isnan(found.xyxy).all()
    assert found.class_ids.tolist() == [0]


def test_points_in_a_letterbox_are_brought_back_to_the_picture() -> None:
    # Twice as wide as high, in the middle of a square; the last point lies below the picture.
    raw = [[[0.25, 0.0, 1], [0.5, 0.5, 1], [0.75, 1.0, 1], [0.9, 0.5, 1]]]

    found = posed(
        {"keypoints": raw}, keypoint_format="yxs", placement=Placement(1.0, 0.0, 2.0, -0.5)
    )

    assert found.points[0, :, :2].ravel() == pytest.approx([0, 0, 0.5, 0.5, 1, 1, 0.5, 1.3])


@pytest.mark.parametrize(("score_threshold", "count"), [(0.4, 1), (0.5, 0), (0.6, 0)])
def test_a_pose_counts_above_the_threshold(score_threshold: float, count: int) -> None:
    raw = [[[0.5, 0.5, 0.25], [0.5, 0.5, 0.75]]]

    found = posed({"keypoints": raw}, keypoint_format="yxs", score_threshold=score_threshold)

    assert found.points.shape == (count, 2, 3)


def test_movenets_persons_have_points_a_box_and_a_score() -> None:
    """TensorFlow Hub, "MoveNet.MultiPose": 17 times y, x, score; ymin, xmin, ymax, xmax, score."""
    raw = np.zeros((6, 56), np.float32)
    raw[:, :51] = DRAWN.uniform(0, 1, (6, 51))
    raw[2, 51:] = [0.1, 0.2, 0.9, 0.8, 0.7]
    raw[5, 51:] = [0.3, 0.2, 0.5, 0.4, 0.9]

    found = posed({"multipose": raw}, keypoint_format="yxs", box_format="yxyx", score_threshold=0.5)

    assert found.scores == pytest.approx([0.9, 0.7])
    assert found.xyxy == pytest.approx(np.array([[0.2, 0.3, 0.4, 0.5], [0.2, 0.1, 0.8, 0.9]]))
    assert (found.points[1] == raw[2, :51].reshape(17, 3)[:, [1, 0, 2]]).all()


# MediaPipe


def test_mediapipes_landmarks_are_pixels_with_visibility_as_a_logit() -> None:
    """``TensorsToLandmarksCalculator``: x, y by the input's size; visibility through a sigmoid."""
    raw = DRAWN.uniform(0, 64, (39, 5)).astype(np.float32)
    raw[:, 3:] = DRAWN.standard_normal((39, 2))
    names = tuple(f"point {n}" for n in range(33))

    found = posed(
        {"keypoints": raw.reshape(-1), "presence": [[0.75]]},
        keypoint_format="xyzvp",
        keypoint_names=names,
        coordinates="pixel",
        input_hw=(64, 32),
    )

    assert found.points.shape == (1, 33, 3)
    assert found.points[0, :, 0] == pytest.approx(raw[:33, 0] / 32)
    assert found.points[0, :, 1] == pytest.approx(raw[:33, 1] / 64)
    assert found.points[0, :, 2] == pytest.approx(1 / (1 + np.exp(-raw[:33, 3])))
    assert found.scores.tolist() == [0.75]


@pytest.mark.parametrize(
    ("score_kind", "raw", "score"), [("probability", 0.3, 0.3), ("sigmoid", 0.0, 0.5)]
)
def test_presence_is_the_score_and_points_without_one_have_none(
    score_kind: str, raw: float, score: float
) -> None:
    found = posed(
        {"keypoints": np.ones(63), "presence": [raw]}, keypoint_format="xyz", score_kind=score_kind
    )

    assert found.scores == pytest.approx([score])
    assert np.isnan(found.points[0, :, 2]).all()
    assert not posed(
        {"keypoints": np.ones(63), "presence": [raw]},
        keypoint_format="xyz",
        score_kind=score_kind,
        score_threshold=0.6,
    ).scores.size


@pytest.mark.parametrize(("handedness", "class_id"), [(0.9, 0), (0.2, 1)])
def test_a_hands_side_is_the_first_class_or_the_second(handedness: float, class_id: int) -> None:
    """``TensorsToClassificationCalculator``: class 0 has the score, class 1 what is left to 1."""
    found = posed(
        {"keypoints": np.ones(63), "presence": [0.9], "handedness": [handedness]},
        keypoint_format="xyz",
    )

    assert found.class_ids.tolist() == [class_id]


# YOLO


def yolo_table(role: str, keypoint_format: str) -> tuple[dict[str, Array], Array]:
    """Three boxes with two points each: of a 64x64 input, the last two overlap."""
    xyxy = np.array([[4, 4, 12, 20], [30, 30, 50, 60], [31, 30, 50, 60]], np.float32)
    cxcywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1)
    scores = np.array([[0.7], [0.9], [0.8]], np.float32)
    points = DRAWN.uniform(0, 64, (3, 2, len(keypoint_format))).astype(np.float32)
    own = [cxcywh, scores] if role != "end_to_end" else [xyxy, scores, np.zeros((3, 1))]
    table = np.concatenate([*own, points.reshape(3, -1)], axis=1)
    return {role: table.T if role == "yolov8" else table}, points


@pytest.mark.parametrize("role", ["yolov8", "yolov8_rows", "end_to_end"])
@pytest.mark.parametrize("keypoint_format", ["xys", "xy"])
def test_yolos_persons_have_points_in_pixels_and_are_suppressed_by_their_boxes(
    role: str, keypoint_format: str
) -> None:
    """Ultralytics, ``models/yolo/pose/predict.py``: ``scale_coords`` of what NMS keeps."""
    outputs, points = yolo_table(role, keypoint_format)

    found = posed(
        outputs,
        keypoint_format=keypoint_format,
        keypoint_names=("nose", "tail"),
        box_format="xyxy" if role == "end_to_end" else "cxcywh",
        coordinates="pixel",
        iou_threshold=0.5,
    )

    assert found.scores == pytest.approx([0.9, 0.7])
    assert found.xyxy[0] == pytest.approx(np.array([30, 30, 50, 60]) / 64)
    assert found.points[0, :, :2] == pytest.approx(points[1, :, :2] / 64)
    assert found.points[1, :, :2] == pytest.approx(points[0, :, :2] / 64)
    if keypoint_format == "xys":
        assert (found.points[0, :, 2] == points[1, :, 2]).all()
    else:
        assert np.isnan(found.points[..., 2]).all()


def test_nothing_above_the_threshold_is_no_pose() -> None:
    outputs, _ = yolo_table("yolov8", "xys")

    found = posed(outputs, keypoint_names=("nose", "tail"), score_threshold=0.95)

    assert (found.points.shape, found.xyxy.shape) == ((0, 2, 3), (0, 4))


@pytest.mark.parametrize(
    ("outputs", "fields", "said"),
    [
        ({"keypoints": [[np.nan] * 3]}, {}, "not finite"),
        ({"keypoints": np.ones(10)}, {}, "10 numbers are not points of keypoint_format='xys'"),
        ({"keypoints": np.ones(3)}, {"keypoint_names": ("a", "b")}, "2 names, and the model 1"),
        ({"multipose": np.ones((6, 55))}, {}, "55 numbers are not points, a box and a score"),
        ({"yolov8_rows": np.ones((9, 7))}, {"keypoint_names": ("a",)}, "no 3 columns beside"),
    ],
)
def test_an_output_that_holds_no_such_points_is_refused(
    outputs: dict[str, Any], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        posed(outputs, **fields)
