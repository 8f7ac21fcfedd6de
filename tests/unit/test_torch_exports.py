"""What ``torch.onnx.export`` writes as its documentation calls it: names, axes, weights beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import save_constant, save_dense
from proposals import answer

from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.outputs.heads import DetectOptions

DETECT = DetectOptions(0.3, 10, 0.5)
# Of a 64x64 input, in pixels: corners, and centre with sides.
XYXY, CXCYWH = (16.0, 16.0, 48.0, 32.0), (32.0, 24.0, 32.0, 16.0)
UNIT_XYXY = [0.25, 0.25, 0.75, 0.5]
ULTRALYTICS = {
    "task": "detect",
    "stride": "32",
    "imgsz": "[64, 64]",
    "names": "{0: 'cat', 1: 'dog'}",
}


def torchvision_outputs(*, numbered: bool, masks: bool = False) -> dict[str, Any]:
    named = {"boxes": [XYXY], "labels": np.array([2]), "scores": [0.9]}
    if masks:
        named["masks"] = np.ones((1, 1, 64, 64))
    return {str(2000 + place) if numbered else key: named[key] for place, key in enumerate(named)}


def open_sides(path: Path) -> Path:
    """The file with all sides of inputs and outputs left open, as ``dynamic=True`` writes them."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for place, side in enumerate(value.type.tensor_type.shape.dim):
            if not (value.name == "image" and place == 1):
                side.dim_param = f"{value.name}_{place}"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("input_shape", [(1, 3, 64, 64), (3, 64, 64)], ids=["batch", "picture"])
@pytest.mark.parametrize("numbered", [False, True], ids=["named", "numbered"])
def test_a_detector_of_torchvision_is_known_without_batch_axis_and_names(
    input_shape: tuple[int, ...], numbered: bool, tmp_path: Path
) -> None:
    outputs = torchvision_outputs(numbered=numbered)
    path = save_constant(tmp_path / "m.onnx", outputs, input_shape)

    proposal = propose_model(path)

    assert proposal.open_fields == []
    spec = proposal.spec
    assert (spec.input_hw, spec.fixed_batch, spec.normalization) == ((64, 64), 1, "unit")
    found = answer(spec, DETECT)
    assert found.class_ids.tolist() == [2]
    assert found.xyxy.round(4).tolist() == [UNIT_XYXY]


def test_masks_of_torchvision_are_known_by_their_shapes(tmp_path: Path) -> None:
    outputs = torchvision_outputs(numbered=True, masks=True)
    path = save_constant(tmp_path / "m.onnx", outputs, (3, 64, 64))

    spec = inspect_model(path, task="segment")

    assert dict(spec.file.outputs) == {
        "boxes": "2000",
        "classes": "2001",
        "scores": "2002",
        "masks": "2003",
    }


@pytest.mark.parametrize(
    "more", [{"2003": np.array([1])}, {"2003": [0.5]}], ids=["two of labels", "two of scores"]
)
def test_numbered_outputs_of_which_two_are_alike_are_not_taken_for_a_detector(
    more: dict[str, Any], tmp_path: Path
) -> None:
    outputs = torchvision_outputs(numbered=True) | more
    path = save_constant(tmp_path / "m.onnx", outputs, (3, 64, 64))

    with pytest.raises(InvalidModelError, match="outputs that no known reading has"):
        propose_model(path)


def test_weights_beside_the_graph_are_read_with_it(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", torchvision_outputs(numbered=False))
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)

    spec = inspect_model(path)

    assert spec.name == "m"
    assert spec.save(tmp_path / "bundle").joinpath("m.onnx").is_file()
    assert answer(spec, DETECT).xyxy.round(4).tolist() == [UNIT_XYXY]


def test_weights_that_were_left_behind_are_named(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", torchvision_outputs(numbered=False))
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    (tmp_path / "m.onnx.data").unlink()

    with pytest.raises(InvalidModelError, match=r"cannot be made one file: .*m\.onnx\.data"):
        propose_model(path)


def test_a_table_whose_sides_are_open_is_told_by_a_run(tmp_path: Path) -> None:
    table = np.zeros((1, 6, 84), np.float32)
    table[0, :, 3] = (*CXCYWH, 0.1, 0.9)
    path = open_sides(save_constant(tmp_path / "m.onnx", {"output0": table}, metadata=ULTRALYTICS))

    proposal = propose_model(path)

    assert proposal.open_fields == []
    found = answer(proposal.spec, DETECT)
    assert found.class_ids.tolist() == [1]
    assert found.xyxy.round(4).tolist() == [UNIT_XYXY]


def test_a_map_as_large_as_the_picture_is_neither_a_table_nor_a_vector(tmp_path: Path) -> None:
    outputs = {"predicted_depth": np.random.default_rng(0).random((1, 64, 64))}

    with pytest.raises(InvalidModelError, match="outputs that no known reading has"):
        propose_model(save_constant(tmp_path / "m.onnx", outputs))


@pytest.mark.parametrize(
    ("name", "scores", "is_asked"),
    [
        ("y", [[0.2, 0.3, 0.9]], True),
        ("probs", [[0.2, 0.3, 0.9]], False),
        ("y", [[0.2, 0.3, 0.5]], False),
        ("y", [[0.2, 0.3, 1.9]], True),
    ],
    ids=["one by one, or small logits", "its name says it", "a softmax", "logits"],
)
def test_scores_within_0_and_1_that_are_no_softmax_are_asked_for(
    name: str, scores: list[list[float]], is_asked: bool, tmp_path: Path
) -> None:
    path = save_constant(tmp_path / "m.onnx", {name: scores})

    proposal = propose_model(path, task="classify", normalization="unit")

    assert ("score_kind" in proposal.open_fields) is is_asked


@pytest.mark.parametrize(("classes", "expected"), [(1, "binary_logit"), (16, "logit")])
def test_scores_of_a_last_linear_layer_are_logits_whatever_their_values(
    classes: int, expected: str, tmp_path: Path
) -> None:
    path = save_dense(tmp_path / "m.onnx", classes, scale=1e-4)

    proposal = propose_model(path, task="classify", normalization="unit")

    assert proposal.spec.score_kind == expected
