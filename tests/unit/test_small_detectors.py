"""Exports of small detectors, built here: known by their anchors and grids, and right."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import save_constant
from PIL import Image

from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.proposal.ssd_families import FAMILIES, SsdFamily
from pyspark_vision.bundles.spec import AnchorLayer, ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import Detections, DetectOptions
from pyspark_vision.executor.predictor import Predictor

Array = np.ndarray[Any, Any]
# What each model says of any picture: one box, as the centre and sides in 0..1 of its input.
BOX = (0.5, 0.25, 0.4, 0.2)
EXPECTED = [0.3, 0.15, 0.7, 0.35]
# CenterFace's outputs, and how many maps each is of.
CENTERS = (("537", 1), ("538", 2), ("539", 2), ("540", 10))


def family(name: str) -> SsdFamily:
    return next(one for one in FAMILIES if one.name == name)


def offsets(name: str, input_hw: tuple[int, int]) -> tuple[Array, int]:
    """``(1, N, 4)`` offsets that put :data:`BOX` at one anchor, and its index; others are noise."""
    own = family(name)
    anchors = own.anchors(input_hw)
    index = int(np.abs(anchors[:, :2] - BOX[:2]).max(axis=1).argmin())
    x, y, w, h = anchors[index]
    raw = np.random.default_rng(0).normal(0, 1, (1, len(anchors), 4)).astype(np.float32)
    if own.fields.get("anchor_sides") == "linear":
        size = input_hw[0]
        raw[0, index] = [(BOX[0] - x) * size, (BOX[1] - y) * size, BOX[2] * size, BOX[3] * size]
    else:
        center = [(BOX[0] - x) / w / 0.1, (BOX[1] - y) / h / 0.1]
        raw[0, index] = [*center, np.log(BOX[2] / w) / 0.2, np.log(BOX[3] / h) / 0.2]
    return raw, index


def scores(rows: int, index: int, found: list[float], other: list[float]) -> Array:
    values = np.tile(np.array(other, np.float32), (1, rows, 1))
    values[0, index] = found
    return values


def ultraface(path: Path, *, decoded: bool) -> Path:
    raw, index = offsets("UltraFace", (240, 320))
    if decoded:
        anchors = family("UltraFace").anchors((240, 320))
        raw = np.concatenate([anchors[:, :2] - 0.05, anchors[:, :2] + 0.05], axis=1)[None]
        raw[0, index] = EXPECTED
    boxes = {"scores": scores(4420, index, [0.1, 0.9], [1, 0]), "boxes": raw}
    return save_constant(path, boxes, (1, 3, 240, 320))


def blazeface(path: Path) -> Path:
    raw, index = offsets("BlazeFace, short range", (128, 128))
    points = np.zeros((1, 896, 12), np.float32)
    anchors = family("BlazeFace, short range").anchors((128, 128))
    points[0, index] = np.tile((np.array([0.5, 0.2]) - anchors[index, :2]) * 128, 6)
    outputs = {
        "regressors": np.concatenate([raw, points], axis=2),
        "classificators": scores(896, index, [float(np.log(9))], [-100]),
    }
    return save_constant(path, outputs, (1, 128, 128, 3))


def mask(path: Path) -> Path:
    raw, index = offsets("FaceMaskDetection, 260", (260, 260))
    outputs = {"loc": raw, "cls": scores(5972, index, [0.0, 0.9], [0, 0.01])}
    return save_constant(path, outputs, (1, 260, 260, 3))


def retinaface(path: Path) -> Path:
    raw, index = offsets("RetinaFace", (64, 64))
    outputs = {
        "output0": raw,
        "585": scores(168, index, [0.1, 0.9], [1, 0]),
        "584": np.zeros((1, 168, 10)),
    }
    return save_constant(path, outputs, (1, 3, 64, 64))


def yunet(path: Path) -> Path:
    outputs: dict[str, Array] = {}
    for stride in (8, 16, 32):
        count = (64 // stride) ** 2
        for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.zeros((1, count, columns), np.float32)
    at = 1 * 4 + 2  # x=2, y=1 of the grid of 16 pixels
    sides = np.log([64 * 0.4 / 16, 64 * 0.2 / 16])
    outputs["cls_16"][0, at], outputs["obj_16"][0, at] = 0.9, 0.9
    outputs["bbox_16"][0, at] = [0, 0, *sides]
    outputs["kps_16"][0, at] = np.tile([0, -0.2], 5)
    return save_constant(path, outputs, (1, 3, 64, 64))


def nanodet(path: Path) -> Path:
    values = np.random.default_rng(0).normal(0, 2, (1, 64 + 16 + 4 + 1, 3 + 32))
    values[..., :3] = 0.01
    at = 64 + 1 * 4 + 2  # the point (32, 16) of the grid of 16 pixels
    values[0, at, :3] = [0, 0.9, 0]
    # A distance of d cells: all of it at k and k + 1.
    for side, cells in enumerate((0.8, 0.4, 0.8, 0.4)):
        logits = np.full(8, -60.0)
        logits[:2] = np.log([1 - cells, cells])
        values[0, at, 3 + 8 * side : 11 + 8 * side] = logits
    return save_constant(path, {"output": values}, (1, 3, 64, 64))


def fastestdet(path: Path) -> Path:
    grid = np.zeros((1, 8, 4, 4), np.float32)
    grid[0, 5:] = 1 / 3
    logits = -np.log(1 / np.array([0.4, 0.2]) - 1)
    grid[0, :, 1, 2] = [0.9, 0, 0, *logits, 0, 0.9, 0.1]
    return save_constant(path, {"output": grid}, (1, 3, 64, 64))


def scrfd(path: Path) -> Path:
    """Without an axis of pictures, in InsightFace's order: two boxes a cell."""
    outputs: dict[str, Array] = {}
    for kind, columns in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            outputs[f"{kind}{stride}"] = np.zeros((2 * (64 // stride) ** 2, columns), np.float32)
    at = 2 * (1 * 4 + 2)  # the corner (32, 16) of the grid of 16 pixels
    outputs["score16"][at] = 0.9
    outputs["bbox16"][at] = [0.8, 0.4, 0.8, 0.4]
    outputs["kps16"][at] = np.tile([0, -0.2], 5)
    return save_constant(path, outputs, (1, 3, 64, 64))


def centerface(path: Path) -> Path:
    center_map = np.zeros((1, 1, 16, 16), np.float32)
    center_map[0, 0, 3, 7] = 0.9  # its middle is (30, 14)
    sides, offsets = np.zeros((2, 1, 2, 16, 16), np.float32)
    sides[0, :, 3, 7] = np.log([64 * 0.2 / 4, 64 * 0.4 / 4])
    offsets[0, :, 3, 7] = 0.5
    points = np.full((1, 10, 16, 16), 0.25, np.float32)
    names = ("537", "538", "539", "540")
    outputs = dict(zip(names, (center_map, sides, offsets, points), strict=True))
    return save_constant(path, outputs, (1, 3, 64, 64))


def picodet(path: Path, low: float = 0.01) -> Path:
    outputs: dict[str, Array] = {}
    for kind, columns, value in (("score", 3, low), ("dist", 32, 0.0)):
        for stride in (8, 16, 32, 64):
            outputs[f"{kind}{stride}"] = np.full((1, (64 // stride) ** 2, columns), value)
    at = 1 * 8 + 4  # the middle (36, 12) of the grid of 8 pixels
    outputs["score8"][0, at, 1] = 0.9
    for side, cells in enumerate((2.1, 0.3, 1.1, 1.3)):  # to EXPECTED's four sides
        logits = np.full(8, -60.0)
        below = int(cells)
        logits[below : below + 2] = np.log([1 - (cells - below), cells - below])
        outputs["dist8"][0, at, 8 * side : 8 * side + 8] = logits
    return save_constant(path, outputs, (1, 3, 64, 64))


def answer(spec: ModelSpec, threshold: float = 0.5) -> Detections:
    file = io.BytesIO()
    height, width = spec.input_hw
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    head = DetectOptions(threshold, 10, spec.iou_threshold)
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), head)
    (row,) = predictor.predict([file.getvalue()])
    assert row.error is None, row.error
    value: Detections = row.value
    return value


@pytest.mark.parametrize(
    ("build", "labels", "preparation", "keypoints"),
    [
        (
            lambda p: ultraface(p, decoded=True),
            [(1, "face")],
            ("rgb", "values", (127.0,), (128.0,), "stretch"),
            0,
        ),
        (
            lambda p: ultraface(p, decoded=False),
            [(1, "face")],
            ("rgb", "values", (127.0,), (128.0,), "stretch"),
            0,
        ),
        (blazeface, [(0, "face")], ("rgb", "tf", (0.0,), (1.0,), "letterbox"), 6),
        (
            mask,
            [(0, "mask"), (1, "no mask")],
            ("rgb", "unit", (0.0,), (1.0,), "stretch"),
            0,
        ),
        (
            retinaface,
            [(1, "face")],
            ("bgr", "values", (104.0, 117.0, 123.0), (1.0,), "letterbox"),
            5,
        ),
        (yunet, [(0, "face")], ("bgr", "none", (0.0,), (1.0,), "letterbox"), 5),
        (
            nanodet,
            [],
            ("bgr", "values", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "stretch"),
            0,
        ),
        (fastestdet, [], ("bgr", "unit", (0.0,), (1.0,), "stretch"), 0),
        (scrfd, [(0, "face")], ("rgb", "values", (127.5,), (128.0,), "letterbox"), 5),
        (centerface, [(0, "face")], ("rgb", "none", (0.0,), (1.0,), "stretch"), 5),
    ],
    ids=[
        *("UltraFace", "UltraFace, offsets", "BlazeFace", "face mask"),
        *("RetinaFace", "YuNet", "NanoDet", "FastestDet", "SCRFD", "CenterFace"),
    ],
)
def test_small_detector_is_known_and_gives_its_box(
    build: Any, labels: Any, preparation: Any, keypoints: int, tmp_path: Path
) -> None:
    proposal = propose_model(build(tmp_path / "m.onnx"))

    spec = proposal.spec
    assert proposal.open_fields == []
    assert list(spec.labels) == labels
    prepared = (spec.color_order, spec.normalization, spec.mean, spec.std, spec.resize)
    assert prepared == preparation
    found = answer(spec)
    assert found.scores.tolist() == pytest.approx([0.9], abs=1e-4)
    assert found.class_ids.tolist() == [1 if len(labels) != 1 else labels[0][0]]
    np.testing.assert_allclose(found.xyxy, [EXPECTED], atol=1e-4)
    assert len(spec.keypoint_names) == keypoints
    if keypoints == 6:
        assert found.keypoints is not None
        np.testing.assert_allclose(found.keypoints, [[[0.5, 0.2]] * 6], atol=1e-4)


def test_offsets_of_an_unknown_head_are_not_taken_for_boxes(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).normal(0, 1, (1, 600, 4))
    path = save_constant(
        tmp_path / "m.onnx", {"boxes": raw, "scores": scores(600, 3, [0.1, 0.9], [1, 0])}
    )

    with pytest.raises(InvalidModelError, match=r"they are offsets, it seems, .*'ssd_boxes'"):
        inspect_model(path, accept=True)


def test_logits_of_a_known_head_are_refused(tmp_path: Path) -> None:
    raw, index = offsets("RetinaFace", (64, 64))
    outputs = {
        "loc": raw,
        "conf": scores(168, index, [-3, 3], [4, -4]),
        "landms": np.zeros((1, 168, 10)),
    }

    with pytest.raises(InvalidModelError, match="do not add up to one, as RetinaFace's do"):
        inspect_model(save_constant(tmp_path / "m.onnx", outputs), "detect")


def test_softmax_of_an_unknown_head_asks_for_its_background(tmp_path: Path) -> None:
    boxes = np.tile(np.array(EXPECTED), (1, 8, 1))
    outputs = {"boxes": boxes, "scores": scores(8, 3, [0.1, 0.9], [1, 0])}
    path = save_constant(tmp_path / "m.onnx", outputs)
    said: dict[str, Any] = {"normalization": "unit", "box_format": "xyxy"}

    assert propose_model(path, **said).open_fields == ["background_class"]
    spec = inspect_model(path, **said, background_class=0)
    assert answer(spec).class_ids.tolist() == [1]
    # Or all classes are objects, by the user's word.
    every = answer(inspect_model(path, **said, background_class=None))
    assert set(every.class_ids.tolist()) == {0, 1}


def test_a_head_of_no_family_is_read_by_anchors_that_are_given(tmp_path: Path) -> None:
    layers = (AnchorLayer(32, (32.0,)),)
    outputs = {
        "loc": np.zeros((1, 4, 4)),
        "conf": np.array([[[0, 0.9], [0, 0], [0, 0], [0, 0]]]),
    }
    path = save_constant(tmp_path / "m.onnx", outputs)
    roles = {"ssd_boxes": "loc", "class_scores": "conf"}
    numbers = "0.25,0.25,0.5,0.5\n0.75 0.25 0.5 0.5\n0.25,0.75,0.5,0.5\n0.75,0.75,0.5,0.5\n"
    (tmp_path / "anchors.csv").write_text(numbers)

    computed = inspect_model(path, outputs=roles, anchor_layers=layers, normalization="unit")
    of_file = inspect_model(
        path, outputs=roles, anchors=tmp_path / "anchors.csv", normalization="unit"
    )

    for spec in (computed, of_file):
        found = answer(spec)
        assert found.class_ids.tolist() == [1]
        np.testing.assert_allclose(found.xyxy, [[0, 0, 0.5, 0.5]], atol=1e-6)
    with pytest.raises(InvalidModelError, match="needs anchor_layers"):
        inspect_model(path, outputs=roles, normalization="unit")


def test_anchors_go_through_a_bundle(tmp_path: Path) -> None:
    spec = inspect_model(blazeface(tmp_path / "m.onnx"))
    spec.save(tmp_path / "bundle")

    loaded = ModelSpec.load(tmp_path / "bundle")

    assert loaded == spec
    assert loaded.digest == spec.digest
    assert loaded.anchor_layers[0] == AnchorLayer(8, (128.0, 128.0))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "1,2,3\n", r"have the shape \(1, 3\), not \(N, 4\)"),
        ("a.csv", "", "cannot be read"),
        ("a.csv", "x,y,w,h\n", "cannot be read: could not convert"),
        ("a.json", "{", "cannot be read"),
        ("a.npy", "no numpy", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_anchors_is_refused(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(InvalidModelError, match=said):
        inspect_model(tmp_path / "m.onnx", anchors=tmp_path / name)
    with pytest.raises(InvalidModelError, match="cannot be read: .*No such file"):
        inspect_model(tmp_path / "m.onnx", anchors=tmp_path / "none.csv")


def test_picodet_asks_how_pixels_are_scaled_and_is_then_right(tmp_path: Path) -> None:
    path = picodet(tmp_path / "m.onnx")

    assert propose_model(path).open_fields == ["normalization"]
    found = answer(inspect_model(path, normalization="torch", labels=["a", "b", "c"]))
    assert (found.class_ids.tolist(), found.scores.tolist()) == ([1], pytest.approx([0.9]))
    np.testing.assert_allclose(found.xyxy, [EXPECTED], atol=1e-4)


def test_logits_of_picodet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"scores are not within 0\.\.1"):
        propose_model(picodet(tmp_path / "m.onnx", low=-3))


def test_distances_of_grids_without_a_faces_points_may_be_of_anything(tmp_path: Path) -> None:
    outputs = {
        f"{kind}{stride}": np.zeros(((64 // stride) ** 2, columns), np.float32)
        for kind, columns in (("score", 1), ("bbox", 4))
        for stride in (8, 16, 32)
    }
    proposal = propose_model(save_constant(tmp_path / "m.onnx", outputs, (1, 3, 64, 64)))

    assert proposal.open_fields == ["task"]


def save_open_centerface(path: Path) -> Path:
    """Exported for 32x32 pixels and a batch of 10, as its authors'; all of it follows the input."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        *(
            helper.make_node("Conv", ["cells", f"w{name}", f"b{name}"], [f"raw{name}"])
            for name, _ in CENTERS
        ),
        helper.make_node("Sigmoid", ["raw537"], ["537"]),
        *(helper.make_node("Identity", [f"raw{name}"], [name]) for name, _ in CENTERS[1:]),
    ]
    weights = []
    for name, count in CENTERS:
        kernel = np.full((count, 3, 1, 1), 20 / 255 / 3 if name == "537" else 0, np.float32)
        bias = np.full(count, -12 if name == "537" else 0, np.float32)
        weights += [numpy_helper.from_array(kernel, f"w{name}")]
        weights += [numpy_helper.from_array(bias, f"b{name}")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (10, 3, 32, 32))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (10, count, 8, 8))
        for name, count in CENTERS
    ]
    graph = helper.make_graph(nodes, "tiny", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_model_that_was_exported_for_another_size_takes_the_one_that_is_said(
    tmp_path: Path,
) -> None:
    path = save_open_centerface(tmp_path / "faces.onnx")
    with pytest.raises(InvalidModelError, match=r"32x32 is what it was exported with.*input_hw="):
        propose_model(path)

    proposal = propose_model(path, input_hw=(64, 96))

    assert (proposal.open_fields, proposal.spec.input_hw) == ([], (64, 96))
    assert (proposal.spec.name, proposal.spec.source) == ("faces", str(path))
    # White all over: each cell is a face of four pixels.
    assert answer(proposal.spec).scores.tolist() == pytest.approx([1] * 10, abs=1e-3)
    with pytest.raises(InvalidModelError, match="not a multiple of stride=32"):
        propose_model(path, input_hw=(60, 96))
