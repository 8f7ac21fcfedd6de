"""Where the benchmark lies, and where it keeps what it makes."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
SHARED = ROOT.parent / "shared" / "data"
PHOTOS = SHARED / "photos"
EXIF_PHOTO = SHARED / "exif" / "Landscape_1.jpg"
QUANTIZED = SHARED / "models" / "mobilenet_v2_1.0_224_quant.tflite"
