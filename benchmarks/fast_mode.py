"""What the fast mode changes, part by part: `python -m benchmarks.fast_mode`.

Against exact answers (JPEG at full scale, Pillow's resize), over the real photos and parts of
them: the reduced decode alone, the SIMD resize alone, and both, which is the default. Beside each,
how far top-1, scores and boxes move. Ends with 1 where the resize moves more than the decode does.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.places import EXIF_PHOTO, PHOTOS, SHARED
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.heads import ClassifyOptions, DetectOptions, HeadOptions
from pyspark_vision.executor.images import DecodeOptions, decode
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.results import Row

MODELS = SHARED / "models"

# Parts of the photos that are large enough for a reduced decode before an input of 300x300.
_PARTS, _PART_PX = 12, 1280
_SAME_BOX_IOU = 0.5

# (JPEG at a reduced scale, resize with SIMD)
WAYS = {"reduced decode": (True, False), "SIMD resize": (False, True), "both": (True, True)}
_EXACT = (False, False)


@dataclass(frozen=True)
class Moves:
    """How far answers are from the exact ones: counts, and the largest and mean difference."""

    changed: int
    scores: tuple[float, float]
    boxes: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"| {self.changed} | {self.scores[0]:.4f} | {self.scores[1]:.5f} "
            f"| {self.boxes[0]:.4f} | {self.boxes[1]:.5f} |"
        )


def photos() -> list[bytes]:
    """The photos as they are, and parts of the large ones, as JPEG."""
    files = [*sorted(PHOTOS.iterdir()), EXIF_PHOTO]
    found = [file.read_bytes() for file in files]
    chance = random.Random(7)
    for file in files:
        with Image.open(file) as opened:
            photo = opened.convert("RGB")
        scale = max(1.0, (_PART_PX + 1) / min(photo.size))
        if scale > 2:  # nothing of it would be sharp
            continue
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        for _ in range(_PARTS):
            left = chance.randrange(photo.width - _PART_PX + 1)
            top = chance.randrange(photo.height - _PART_PX + 1)
            part = photo.crop((left, top, left + _PART_PX, top + _PART_PX))
            buffer = io.BytesIO()
            part.save(buffer, "JPEG", quality=92)
            found.append(buffer.getvalue())
    return found


def answers(spec: ModelSpec, head: HeadOptions, data: Sequence[bytes], way: Any) -> list[Row]:
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


def classify_moves(exact: Sequence[Row], rows: Sequence[Row]) -> Moves:
    """``changed``: how many have another best class."""
    scores, changed = [], 0
    for one, other in zip(exact, rows, strict=True):
        changed += int(one.value.class_ids[0] != other.value.class_ids[0])
        by_class = dict(zip(other.value.class_ids.tolist(), other.value.scores, strict=True))
        best = int(one.value.class_ids[0])
        scores.append(abs(float(one.value.scores[0]) - float(by_class[best])))
    return Moves(changed, (max(scores), float(np.mean(scores))), (0.0, 0.0))


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


def measured(data: Sequence[bytes]) -> dict[str, dict[str, Moves]]:
    """By task, by way."""
    classifier = ModelSpec.inspect(MODELS / "mobilenet_v2_1.0_224_quant.tflite", accept=True)
    detector = ModelSpec.inspect(
        MODELS / "coco_ssd_mobilenet_v1_1.0_quant.tflite",
        labels=MODELS / "coco_labels.txt",
        accept=True,
    )
    found: dict[str, dict[str, Moves]] = {}
    for task, spec, head, moves in (
        ("classify", classifier, ClassifyOptions(1001, 0.0), classify_moves),
        ("detect", detector, DetectOptions(0.5, 100, None), detect_moves),
    ):
        exact = answers(spec, head, data, _EXACT)
        found[task] = {
            name: moves(exact, answers(spec, head, data, way)) for name, way in WAYS.items()
        }
    return found


def main() -> int:
    if not Path(PHOTOS).is_dir():
        print(f"there are no photos at {PHOTOS}", file=sys.stderr)
        return 2
    data = photos()
    print(f"{len(data)} pictures; largest and mean difference of scores and of boxes' edges\n")
    print("| task | what | changed | score, largest | mean | box, largest | mean |")
    print("|---|---|---|---|---|---|---|")
    is_worse = False
    for task, by_way in measured(data).items():
        for name, moves in by_way.items():
            print(f"| {task} | {name} {moves}", flush=True)
        decode_moves, resize_moves = by_way["reduced decode"], by_way["SIMD resize"]
        is_worse |= resize_moves.changed > decode_moves.changed
        is_worse |= resize_moves.scores[1] > decode_moves.scores[1]
        is_worse |= resize_moves.boxes[1] > decode_moves.boxes[1]
    print("\nthe resize moves " + ("MORE" if is_worse else "less") + " than the reduced decode")
    return int(is_worse)


if __name__ == "__main__":
    sys.exit(main())
