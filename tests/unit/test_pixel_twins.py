"""Two forms of a model of pixels or points: how far they agree, and that a difference is seen."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import save_colors, save_constant, save_poser, save_yolo_masks, save_yolo_points
from PIL import Image

from pyspark_vision.bundles.agreement import compare
from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.cli import bundle
from pyspark_vision.errors import InvalidModelError


def picture() -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (64, 64), "red")
    image.paste((0, 0, 255), (32, 0, 64, 64))
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("save", [save_colors, save_poser, save_yolo_masks, save_yolo_points])
def test_a_model_agrees_with_itself(save: Any, tmp_path: Path) -> None:
    spec = inspect_model(save(tmp_path / "m.onnx"), accept=True)

    agreement = compare(spec, spec, [picture()])

    assert (agreement.top1_agreement, agreement.max_score_difference) == (1.0, 0.0)
    assert agreement.min_box_iou == 1.0
    agreement.check(1e-3, "m")


def class_map(first_column: int) -> Any:
    """Class 1 from a column of eight on, class 0 before it."""
    scores = np.zeros((1, 2, 8, 8), np.float32)
    scores[0, 1, :, first_column:] = 1
    scores[0, 0] = 1 - scores[0, 1]
    return scores


def points(x: float) -> Any:
    place = np.zeros((1, 1, 17, 3), np.float32)
    place[..., 0] = np.linspace(0, 1, 17)
    place[..., 1] = np.linspace(0, x, 17)
    place[..., 2] = 1
    return place


@pytest.mark.parametrize(
    ("outputs", "others"),
    [
        ({"scores": class_map(4)}, {"scores": class_map(5)}),
        ({"points": points(0.5)}, {"points": points(0.4)}),
    ],
    ids=["masks", "points"],
)
def test_another_answer_is_seen(outputs: Any, others: Any, tmp_path: Path) -> None:
    task = "segment" if "scores" in outputs else "keypoints"
    one, other = (
        inspect_model(save_constant(tmp_path / name, values), task, accept=True)
        for name, values in (("one.onnx", outputs), ("other.onnx", others))
    )

    agreement = compare(one, other, [picture()])

    assert agreement.min_box_iou is not None
    assert agreement.min_box_iou < 0.95
    with pytest.raises(InvalidModelError, match="the twin disagrees"):
        agreement.check(1e-3, "m")


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    return bundle.run(parser.parse_args([str(argument) for argument in arguments]))


def test_bundle_inspect_shows_what_a_pose_model_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", save_poser(tmp_path / "m.onnx")) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "output points [1, 1, 17, 3] float32 -> keypoints",
        "known: points [1, 1, 17, 3]: 17 points as y, x and score, as MoveNet",
        "task keypoints",
        "keypoint_format yxs",
        "keypoint_names 17 (nose, left_eye, right_eye, …)",
    ):
        assert line in lines


def test_bundle_build_takes_the_names_of_points_and_keeps_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_constant(tmp_path / "m.onnx", {"out": [[0.1, 0.2, 0.9, 0.3, 0.4, 0.8]]})

    code = run(
        *("build", path, "--output", tmp_path / "bundle", "--set", "outputs.keypoints=out"),
        *("--set", "keypoint_names=nose, tail", "--set", "normalization=unit"),
    )

    assert code == 0, capsys.readouterr().err
    assert ModelSpec.load(tmp_path / "bundle").keypoint_names == ("nose", "tail")


def test_bundle_inspect_says_how_a_map_of_classes_is_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", save_colors(tmp_path / "m.onnx")) == 0

    out = capsys.readouterr().out
    assert "task: a map of places may also be of depths, or a picture; --task segment" in out
    assert "score_kind: the scores are logits" in out
