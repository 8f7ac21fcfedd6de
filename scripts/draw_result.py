"""Draw docs/detections.jpg, the README's picture: drawn frames with what the demo detector finds.

python scripts/draw_result.py
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a bare checkout

from pyspark_vision.bundles import ModelSpec  # noqa: E402
from pyspark_vision.clients.scenes import draw_frame  # noqa: E402
from pyspark_vision.executor.decode.images import DecodeOptions  # noqa: E402
from pyspark_vision.executor.drawing import draw  # noqa: E402
from pyspark_vision.executor.engines import load_engine  # noqa: E402
from pyspark_vision.executor.outputs.heads import DetectOptions  # noqa: E402
from pyspark_vision.executor.pipeline import result_array  # noqa: E402
from pyspark_vision.executor.predictor import Predictor  # noqa: E402

CAMERAS = (17, 19, 20)
TILE_WH = (480, 360)


def main() -> None:
    """One frame of each camera, side by side."""
    model = ModelSpec.load(ROOT / "models" / "demo-detector")
    engine = load_engine(model, model.path, threads=1)
    head = DetectOptions(0.5, 100, 0.5)
    predictor = Predictor(model, engine, DecodeOptions(), head)
    sheet = Image.new("RGB", (TILE_WH[0] * len(CAMERAS), TILE_WH[1]))
    for column, camera in enumerate(CAMERAS):
        image, _ = draw_frame(camera, 0, (960, 720))
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=95)
        rows = predictor.predict([encoded.getvalue()])
        [result] = result_array(model, head, rows).to_pylist()
        drawn = draw.draw_boxes(image, result["detections"])
        sheet.paste(drawn.resize(TILE_WH), (column * TILE_WH[0], 0))
    target = ROOT / "docs" / "detections.jpg"
    target.write_bytes(draw.encode_jpeg(sheet, 85))
    print(target)


if __name__ == "__main__":
    main()
