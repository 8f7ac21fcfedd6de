"""MediaPipe's own files, as its package ships them, held against a plain interpreter."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from resized_maps import resized

from benchmarks.packaged_models import package
from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.proposal.guesses import Proposal
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import HeadOptions, PoseOptions, SegmentOptions
from pyspark_vision.executor.outputs.masks import decoded
from pyspark_vision.executor.predictor import Predictor

pytest.importorskip("ai_edge_litert")

# 45 MB are fetched by the first run on a machine; heads are held against formulas elsewhere.
pytestmark = pytest.mark.slow

Array = np.ndarray[Any, Any]


def model(path: str) -> Path:
    return package("mediapipe") / "mediapipe" / "modules" / path


def astronaut() -> Image.Image:
    """NASA's portrait of Eileen Collins, 512x512."""
    path = package("scikit-image") / "skimage" / "data" / "astronaut.png"
    return Image.open(path).convert("RGB")


def drawn_hand() -> Image.Image:
    """An open hand, fingers up, on a plain ground."""
    image = Image.new("RGB", (448, 448), (90, 110, 130))
    draw = ImageDraw.Draw(image)
    skin = (224, 172, 140)
    draw.rounded_rectangle((150, 210, 300, 390), 50, fill=skin)
    for line, width in (
        (((224, 440), (224, 330)), 110),
        *(((tip, base), 35) for tip, base in FINGERS),
    ):
        draw.line(line, fill=skin, width=width)
        for x, y in line:
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=skin)
    return image


FINGERS = [
    ((70, 250), (165, 340)),
    ((140, 100), (170, 240)),
    ((200, 60), (208, 225)),
    ((258, 72), (248, 228)),
    ((315, 130), (285, 250)),
]
TIPS = ("thumb_tip", "index_finger_tip", "middle_finger_tip", "ring_finger_tip", "pinky_tip")


def plain_run(spec: ModelSpec, image: Image.Image) -> dict[str, Array]:
    """Output name -> values, of the whole picture stretched to the input, in 0..1."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=spec.path, num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    _, height, width, _ = detail["shape"]
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    interpreter.set_tensor(detail["index"], pixels[None] / 255)
    interpreter.invoke()
    return {
        one["name"]: interpreter.get_tensor(one["index"])[0]
        for one in interpreter.get_output_details()
    }


def answer(spec: ModelSpec, head: HeadOptions, image: Image.Image) -> Any:
    file = io.BytesIO()
    image.save(file, "PNG")
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(exact=True), head)
    (row,) = predictor.predict([file.getvalue()])
    assert row.error is None, row.error
    return row.value


@pytest.mark.parametrize(
    ("path", "width_height"),
    [
        ("selfie_segmentation/selfie_segmentation.tflite", (512, 512)),
        ("selfie_segmentation/selfie_segmentation_landscape.tflite", (640, 360)),
    ],
)
def test_the_selfies_mask_is_the_plain_models(path: str, width_height: tuple[int, int]) -> None:
    image = astronaut().resize(width_height)
    # Its metadata says how pixels are scaled.
    assert propose_model(model(path)).open_fields == []
    spec = inspect_model(model(path), labels=["person"])

    found = answer(spec, SegmentOptions(0.0, 10, None, 0.5), image)

    (raw,) = plain_run(spec, image).values()
    share = resized(raw.reshape(raw.shape[:2]), (width_height[1], width_height[0]))
    mask = decoded(found.hw, found.counts[0])
    assert (np.abs(share[mask != (share > 0.5)] - 0.5) < 1e-4).all()
    # She fills more than a third of the picture, and the upper corners are background.
    assert found.areas[0] > mask.size / 3
    assert not mask[: mask.shape[0] // 8, -8:].any()
    assert mask[mask.shape[0] // 4, int(0.44 * mask.shape[1])]


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("pose_landmark/pose_landmark_full.tflite", 5),
        ("hand_landmark/hand_landmark_full.tflite", 3),
        ("hand_landmark/hand_landmark_lite.tflite", 3),
        ("face_landmark/face_landmark.tflite", 3),
    ],
)
def test_landmarks_are_known_and_the_plain_models(path: str, columns: int) -> None:
    image = drawn_hand() if "hand" in path else astronaut()
    image = image.crop((150, 20, 350, 220)) if "face" in path else image
    proposal: Proposal = propose_model(model(path))
    assert (proposal.spec.task, proposal.open_fields) == ("keypoints", [])

    # As MediaPipe resizes; Pillow's filter is what the plain run takes.
    assert proposal.spec.resize_filter == "opencv_bilinear"
    spec = proposal.spec.with_options(resize_filter="bilinear")

    # Pictures as high as wide: what MediaPipe cuts out, too.
    found = answer(spec, PoseOptions(0.0, 10, None), image)

    outputs = plain_run(spec, image)
    roles = dict(spec.file.outputs)
    raw = outputs[roles["keypoints"]].reshape(-1, columns)[: found.points.shape[1]]
    expected = raw[:, :2] / spec.input_hw[0]
    assert found.points[0, :, :2] == pytest.approx(expected, abs=1e-4)
    presence = float(outputs[roles["presence"]].reshape(-1)[0])
    share = 1 / (1 + np.exp(-presence)) if "face" in path else presence
    assert found.scores[0] == pytest.approx(share, abs=1e-4)


def test_fingers_are_found_where_they_are_drawn() -> None:
    spec = inspect_model(model("hand_landmark/hand_landmark_full.tflite"))

    found = answer(spec, PoseOptions(0.5, 1, None), drawn_hand())

    named = dict(zip(spec.keypoint_names, found.points[0, :, :2] * 448, strict=True))
    for name, (tip, _) in zip(TIPS, FINGERS, strict=True):
        assert np.hypot(*(named[name] - tip)) < 30, name
