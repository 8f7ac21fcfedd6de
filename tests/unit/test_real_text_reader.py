"""PP-OCR's own files on drawn pictures and others' photos, held against RapidOCR itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rapidocr_lines
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("cv2")

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.decode.opencv import opencv
from pyspark_vision.executor.outputs.heads import ReadOptions
from pyspark_vision.executor.text.text_reader import TextReader

pytestmark = pytest.mark.slow

OPTIONS = ReadOptions(score_threshold=0.5, box_threshold=0.5, unclip_ratio=1.6)
WORDS = ("Spark", "reads", "42", "pictures", "in", "one", "pass;", "rows", "TOTAL", "19.90 EUR")


@pytest.fixture(scope="module")
def reader() -> TextReader:
    spec = ModelSpec.inspect(rapidocr_lines.installed() / rapidocr_lines.MODELS)
    return TextReader(spec, spec.path, threads=2)


def drawn(seed: int, size_wh: tuple[int, int]) -> Image.Image:
    """Six lines of words in several sizes and directions."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    image = Image.new("RGB", size_wh, tuple(int(level) for level in rng.integers(150, 256, 3)))
    for index in range(6):
        font = ImageFont.load_default(int(rng.integers(14, 40)))
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 5))))
        line = Image.new("L", (2 * width, 80))
        ImageDraw.Draw(line).text((4, 4), text, font=font, fill=255)
        degrees = float(rng.choice([0, 0, 0, 8, -12, 90, 180]))
        line = line.crop(line.getbbox()).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        left = int(rng.integers(0, max(1, width - min(width, line.width))))
        image.paste((20, 20, 60), (left, index * height // 6 + 2), line)
    return image


def iou(one: Any, other: Any) -> float:
    """Of two convex quadrilaterals ``(4, 2)``."""
    cv2 = opencv()
    hulls = [cv2.convexHull(np.array(quad, np.float32)) for quad in (one, other)]
    shared, _ = cv2.intersectConvexConvex(*hulls)
    areas = [cv2.contourArea(hull) for hull in hulls]
    return float(shared / (sum(areas) - shared))


def assert_same_lines(reader: TextReader, pictures: list[Path]) -> list[str]:
    """The same texts, scores and places as RapidOCR's; returns the texts."""
    texts: list[str] = []
    for path, theirs in zip(pictures, rapidocr_lines.lines_of(pictures), strict=True):
        image = Image.open(path).convert("RGB")
        ours = reader.read(np.asarray(image), OPTIONS)
        assert list(ours.texts) == [text for _, text, _ in theirs], path.name
        assert ours.scores == pytest.approx([score for _, _, score in theirs], abs=1e-3)
        for corners, (quad, _, _) in zip(ours.corners, theirs, strict=True):
            assert iou(corners * image.size, quad) > 0.99
        texts += ours.texts
    return texts


def test_drawn_pictures_are_read_as_rapidocr_reads_them(reader: TextReader, tmp_path: Path) -> None:
    paths = []
    for seed, size_wh in enumerate([(640, 480), (300, 200), (1400, 160), (2600, 1800), (640, 480)]):
        paths.append(tmp_path / f"{seed}.png")
        drawn(seed, size_wh).save(paths[-1])
    blank = tmp_path / "blank.png"
    Image.new("RGB", (200, 100), "white").save(blank)

    texts = assert_same_lines(reader, [*paths, blank])

    assert len(texts) >= 20
    assert any("TOTAL" in text for text in texts)


def test_photos_are_read_as_rapidocr_reads_them(reader: TextReader, shared_data: Path) -> None:
    photos = [
        shared_data / "photos" / name
        for name in ("hot_dog.jpg", "grace_hopper.bmp", "pets.jpg", "parrot.jpg")
    ]

    texts = assert_same_lines(reader, photos)

    assert len(texts) == 11
