"""What the fast mode changes, part by part: `python -m benchmarks.fast_mode`.

Against exact answers (JPEG at full scale, Pillow's resize): the reduced decode alone, the SIMD
resize alone, and both, which is the default. How far the pixels of the model's input, top-1, scores
and boxes move, over parts of real photos (two quantized models) and drawn scenes (two in float32),
all of them large enough for a reduced decode.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.places import EXIF_PHOTO, PHOTOS, ROOT, SHARED
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.executor.decode.images import DecodeOptions, decode
from pyspark_vision.executor.decode.resize import resizer
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, HeadOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.results import Row

# Of each photo so many parts, of so many pixels a side: four times the largest input.
_PARTS, _PART_PX = 12, 1280
_SCENES, _SCENE_WH = 100, (1280, 960)
_SAME_BOX_IOU = 0.5

# (JPEG at a reduced scale, resize with SIMD)
WAYS = {"reduced decode": (True, False), "SIMD resize": (False, True), "both": (True, True)}
EXACT = (False, False)


@dataclass(frozen=True)
class Moves:
    """How far answers are from the exact ones: a count, and the largest and mean difference."""

    changed: int
    scores: tuple[float, float]
    boxes: tuple[float, float] | None


def photo_parts() -> list[bytes]:
    """JPEGs of parts of the real photos, as sharp as the photos are or nearly."""
    found = []
    chance = random.Random(7)
    for file in [*sorted(PHOTOS.iterdir()), EXIF_PHOTO]:
        with Image.open(file) as opened:
            photo = opened.convert("RGB")
        scale = max(1.0, (_PART_PX + 1) / min(photo.size))
        if scale > 2:
            continue
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        for _ in range(_PARTS):
            left = chance.randrange(photo.width - _PART_PX + 1)
            top = chance.randrange(photo.height - _PART_PX + 1)
            found.append(jpeg(photo.crop((left, top, left + _PART_PX, top + _PART_PX))))
    return found


def drawn_scenes() -> list[bytes]:
    """JPEGs of scenes that no demo model was trained with."""
    return [jpeg(scenes.draw_scene(900_000 + seed, _SCENE_WH)[0]) for seed in range(_SCENES)]


def jpeg(image: Image.Image) -> bytes:
    """A usual one."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def answers(
    spec: ModelSpec, head: HeadOptions, data: Sequence[bytes], way: tuple[bool, bool]
) -> list[Row]:
    """The rows of one way to decode and to resize."""
    reduces, uses_simd = way
    engine = load_engine(spec, spec.path, threads=1)
    predictor = Predictor(spec, engine, DecodeOptions(exact=not uses_simd), head)
    decoding = DecodeOptions(exact=not reduces)

    def pixels(picture: bytes) -> dict[str, Any]:
        image, _ = decode(picture, decoding, spec.input_hw)
        size = {"width": image.width, "height": image.height}
        return {**size, "data": image.tobytes(), "error": None}

    return predictor.predict(pixels(picture) for picture in data)


def pixel_moves(
    spec: ModelSpec, data: Sequence[bytes], way: tuple[bool, bool]
) -> tuple[int, float]:
    """The largest difference of a sample in 0..255, and the root of the mean square."""
    reduces, uses_simd = way
    uses_simd &= np.dtype(spec.input_dtype).kind == "f"  # as Preprocessor does
    exact, resize = (resizer(spec.resize_filter, simd=simd) for simd in (False, uses_simd))
    largest, squares = 0, []
    for picture in data:
        whole, _ = decode(picture, DecodeOptions(exact=True))
        image, _ = decode(picture, DecodeOptions(exact=not reduces), spec.input_hw)
        found, expected = (
            np.asarray(made, np.int16)
            for made in (
                resize(image, spec.input_hw[::-1], None),
                exact(whole, spec.input_hw[::-1], None),
            )
        )
        difference = np.abs(found - expected)
        largest = max(largest, int(difference.max()))
        squares.append(float((difference**2).mean()))
    return largest, float(np.mean(squares)) ** 0.5


def classify_moves(exact: Sequence[Row], rows: Sequence[Row]) -> Moves:
    """``changed``: how many have another best class."""
    scores, changed = [], 0
    for one, other in zip(exact, rows, strict=True):
        changed += int(one.value.class_ids[0] != other.value.class_ids[0])
        by_class = dict(zip(other.value.class_ids.tolist(), other.value.scores, strict=True))
        best = int(one.value.class_ids[0])
        scores.append(abs(float(one.value.scores[0]) - float(by_class[best])))
    return Moves(changed, (max(scores), float(np.mean(scores))), None)


def detect_moves(exact: Sequence[Row], rows: Sequence[Row]) -> Moves:
    """``changed``: objects that only one of both has (another class, or no box over half of it)."""
    scores, edges, changed = [0.0], [0.0], 0
    for one, other in zip(exact, rows, strict=True):
        left = set(range(len(other.value.scores)))
        for class_id, score, box in zip(
            one.value.class_ids, one.value.scores, one.value.xyxy, strict=True
        ):
            same = [
                (iou(box, other.value.xyxy[at]), at)
                for at in left
                if other.value.class_ids[at] == class_id
            ]
            overlap, at = max(same, default=(0.0, -1))
            if overlap < _SAME_BOX_IOU:
                changed += 1
                continue
            left.remove(at)
            scores.append(abs(float(score) - float(other.value.scores[at])))
            edges.append(float(np.abs(box - other.value.xyxy[at]).max()))
        changed += len(left)
    mean_score, mean_edge = float(np.mean(scores)), float(np.mean(edges))
    return Moves(changed, (max(scores), mean_score), (max(edges), mean_edge))


def iou(box: Any, other: Any) -> float:
    """Of two boxes xyxy."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = sum(float(np.prod(one[2:] - one[:2])) for one in (box, other))
    return common / (areas - common) if areas > common else 0.0


def main() -> None:
    """A table; without the photos, of the drawn scenes alone."""
    drawn = drawn_scenes()
    models = [(ModelSpec.load(ROOT / "models" / f"demo-{name}"), drawn) for name in _DEMO]
    if PHOTOS.is_dir():
        parts = photo_parts()
        for name, labels in _QUANTIZED.items():
            file = SHARED / "models" / name
            options = {"labels": SHARED / "models" / labels} if labels else {}
            models.append((ModelSpec.inspect(file, accept=True, **options), parts))
    else:
        print(f"there are no photos at {PHOTOS}", file=sys.stderr)
    print(
        "| model | pictures | what | pixels: largest, rms | changed | score: largest, mean "
        "| box: largest, mean |\n|---|---|---|---|---|---|---|"
    )
    for spec, data in models:
        head, moves = _HEADS[spec.task]
        exact = answers(spec, head, data, EXACT)
        for name, way in WAYS.items():
            level, rms = pixel_moves(spec, data, way)
            found = moves(exact, answers(spec, head, data, way))
            boxes = "" if found.boxes is None else "{:.4f}, {:.5f}".format(*found.boxes)
            print(
                f"| {spec.name} | {len(data)} | {name} | {level}, {rms:.2f} | {found.changed} "
                f"| {found.scores[0]:.4f}, {found.scores[1]:.5f} | {boxes} |",
                flush=True,
            )


_DEMO = ("classifier", "detector")
_QUANTIZED = {
    "mobilenet_v2_1.0_224_quant.tflite": None,
    "coco_ssd_mobilenet_v1_1.0_quant.tflite": "coco_labels.txt",
}
_HEADS: dict[str, tuple[HeadOptions, Callable[[Sequence[Row], Sequence[Row]], Moves]]] = {
    "classify": (ClassifyOptions(10_000, 0.0), classify_moves),
    "detect": (DetectOptions(0.5, 100, None), detect_moves),
}

if __name__ == "__main__":
    main()
