"""`bundle verify` of masks, points, texts and two towers: what a reference may give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_dual_encoder
import tiny_text_reader
from onnx_models import save_colors, save_poser, save_yolo_masks
from pictures import encoded
from PIL import Image

from pyspark_vision.bundles.agreement import compare_values
from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.verification import verify
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.outputs.poses import Poses

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 128, 64
# Left red, right blue: an edge on which a class map's cells meet.
HALVES = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
HALVES[:, : WIDTH // 2, 0] = 200
HALVES[:, WIDTH // 2 :, 2] = 200
CLASS_MAP = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 2) * np.ones((HEIGHT, 1), int)

# What each model's published post-processing says, written down.
SCRIPT_OF_MAPS = """
import numpy as np
from PIL import Image

def reference(image):
    # DeepLab, SegFormer: the best class between the cells of the map.
    small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
    means = small.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    size = image.shape[1], image.shape[0]
    maps = [Image.fromarray(means[..., c].astype(np.float32)).resize(size, 2) for c in range(3)]
    return {"class_map": np.argmax([np.asarray(one) for one in maps], axis=0)}
"""


def png(pixels: Array = HALVES) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def answers(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **{f"a.png/{name}": value for name, value in arrays.items()})
    return path


@pytest.fixture
def colors(tmp_path: Path) -> ModelSpec:
    path = save_colors(tmp_path / "colors.onnx")
    return inspect_model(path, "segment", normalization="none", score_kind="logit")


@pytest.fixture
def objects(tmp_path: Path) -> ModelSpec:
    return inspect_model(save_yolo_masks(tmp_path / "m.onnx"))


@pytest.fixture
def poser(tmp_path: Path) -> ModelSpec:
    return inspect_model(save_poser(tmp_path / "m.onnx"), resize="stretch")


def test_a_class_map_is_compared_class_by_class(colors: ModelSpec, tmp_path: Path) -> None:
    proof = verify(colors, answers(tmp_path / "e.npz", {"class_map": CLASS_MAP}), {"a.png": png()})

    assert proof.min_box_iou == 1.0
    assert proof.top1_agreement == 1.0


def test_the_published_formula_as_a_script_proves_a_model_of_classes(
    colors: ModelSpec, tmp_path: Path
) -> None:
    script = tmp_path / "reference.py"
    script.write_text(SCRIPT_OF_MAPS)

    proof = verify(colors, script, {"a.png": png()})

    assert proof.min_box_iou is not None
    assert proof.min_box_iou > 0.99


def test_masks_of_objects_are_compared_with_their_scores(
    objects: ModelSpec, tmp_path: Path
) -> None:
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 24:40, 16:32] = True
    arrays = {"masks": mask, "classes": [1], "scores": [0.9]}
    picture = {"a.png": png(HALVES[:, :64])}

    proof = verify(objects, answers(tmp_path / "e.npz", arrays), picture)

    assert proof.min_box_iou == 1.0
    assert proof.max_score_difference < 1e-6
    mask[0, 24:28] = False
    with pytest.raises(InvalidModelError, match=r"disagrees with .*IoU at least 0\.75"):
        verify(objects, answers(tmp_path / "e.npz", arrays), picture)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"keypoints": "moved"}, r"IoU at least 0\.0000"),
        ({"scores": [0.5]}, "largest score difference 0.28"),
        ({"keypoints": "of none"}, r"IoU at least 0\.0000"),
    ],
    ids=["same", "a point elsewhere", "another score", "nobody"],
)
def test_points_are_in_pixels_of_the_picture(
    changed: dict[str, Any], said: str | None, poser: ModelSpec, tmp_path: Path
) -> None:
    score = 200 / 255
    points = np.full((1, 17, 3), (0.25 * WIDTH, 0.5 * HEIGHT, score), np.float32)
    arrays: dict[str, Any] = {"keypoints": points, "scores": [score]} | changed
    if changed.get("keypoints") == "moved":
        points[0, 5, 1] += 3
        arrays["keypoints"] = points
    elif "keypoints" in changed:
        arrays = {"keypoints": np.empty((0, 17, 3)), "scores": []}
    reference = answers(tmp_path / "e.npz", arrays)

    if said is None:
        proof = verify(poser, reference, {"a.png": png()})
        assert proof.min_box_iou == pytest.approx(1, abs=1e-5)
        assert proof.max_score_difference < 1e-6
    else:
        with pytest.raises(InvalidModelError, match=said):
            verify(poser, reference, {"a.png": png()})


def poses(points: Any) -> Poses:
    of_one = np.array([points], np.float32)
    return Poses(np.array([0]), np.array([0.9], np.float32), np.full((1, 4), np.nan), of_one)


def test_a_pose_is_as_near_as_its_farthest_point_that_is_seen() -> None:
    one = poses([(0, 0, 0.9), (0.6, 0.8, 0.9), (0.5, 0.5, 0.1)])
    other = poses([(0, 0, 0.9), (0.6, 0.75, 0.9), (0.9, 0.9, 0.05)])

    found = compare_values("keypoints", [(one, other)])

    # By 0.05, of diagonals of 1 and 0.96; where the third is nobody knows.
    assert found.min_box_iou == pytest.approx(1 - 0.05 / np.hypot(0.6, 0.75))
    assert found.max_score_difference == 0
    assert found.top1_agreement == 0


def test_scores_of_points_count_where_both_have_them() -> None:
    one, other = poses([(0.1, 0.2, 0.9)] * 3), poses([(0.1, 0.2, 0.6)] * 3)
    without = poses([(0.1, 0.2, np.nan)] * 3)

    assert compare_values("keypoints", [(one, other)]).max_score_difference == pytest.approx(0.3)
    assert compare_values("keypoints", [(without, other)]).max_score_difference == 0


def test_lines_of_text_are_compared_by_what_they_say_and_where(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    spec = ModelSpec.inspect(tiny_text_reader.save_text_reader(tmp_path / "reader"))
    picture = {"a.png": encoded(tiny_text_reader.picture(("aж", (40, 60), 0)), "PNG")}
    # A strip of 84x30, grown by the unclip ratio.
    arrays: dict[str, Any] = {
        "texts": ["aж"],
        "scores": [0.88],
        "corners": [[(22, 42), (142, 42), (142, 108), (22, 108)]],
    }

    wrong = {**arrays, "texts": ["ab"]}
    with pytest.raises(InvalidModelError, match=r"top-1 0\.0% of 1 images"):
        verify(spec, answers(tmp_path / "w.npz", wrong), picture, 0.01)
    two = {**arrays, "corners": arrays["corners"] * 2}
    with pytest.raises(InvalidOptionError, match="has 1 texts, 1 scores, 2 corners"):
        verify(spec, answers(tmp_path / "t.npz", two), picture)
    proof = verify(spec, answers(tmp_path / "e.npz", arrays), picture, 0.01)
    assert proof.top1_agreement == 1.0


def test_a_dual_encoder_is_compared_by_its_pictures_vectors(tmp_path: Path) -> None:
    folder = tiny_dual_encoder.save_dual_encoder(tmp_path / "clip")
    spec = ModelSpec.inspect(folder, logit_scale=4.0)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0], red[..., 1] = 250, 50

    reference = answers(tmp_path / "e.npz", {"embedding": [5, 1, 0]})
    proof = verify(spec, reference, {"a.png": png(red)}, 1e-6)

    assert proof.max_score_difference < 1e-6


@pytest.mark.parametrize(
    ("model", "arrays", "said"),
    [
        ("colors", {"scores": [1]}, "needs class_map or masks, classes, scores"),
        (
            "colors",
            {"class_map": CLASS_MAP.T},
            "class_map of 128 x 64, and the upright picture",
        ),
        (
            "colors",
            {"masks": np.zeros((2, 64, 128)), "classes": [0], "scores": [1]},
            "has 2 masks, 1 scores, 1 classes: they must be as many",
        ),
        ("poser", {"keypoints": np.zeros((17, 3)), "scores": [1]}, "keypoints of 17 x 3; they are"),
        (
            "poser",
            {"keypoints": np.zeros((1, 5, 2)), "scores": [0.7]},
            "has 5 keypoints, and the model gives 17",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_picture_s_name(
    model: str, arrays: dict[str, Any], said: str, tmp_path: Path, request: Any
) -> None:
    spec = request.getfixturevalue(model)

    with pytest.raises(InvalidOptionError, match=rf"^the reference's answer to a\.png .*{said}"):
        verify(spec, answers(tmp_path / "e.npz", arrays), {"a.png": png()})
