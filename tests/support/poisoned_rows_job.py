"""A job with pictures that end or hang the process that decodes them; run by test_isolation.

Prints one JSON line: the result of each row.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from poison import CRASH, HANG, KILL
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.functions import classify_image

POISONED = {5: KILL, 11: CRASH, 17: HANG, 18: KILL}
ROWS = 24


def pictures() -> list[tuple[int, bytes]]:
    """Drawn scenes, the poisoned ones with their word behind the end, and one cut short."""
    rows = []
    for seed in range(ROWS):
        encoded = io.BytesIO()
        scenes.draw_scene(seed, (160, 120))[0].save(encoded, "JPEG")
        rows.append((seed, encoded.getvalue() + POISONED.get(seed, b"")))
    rows[3] = (3, rows[3][1][:500])
    return rows


def main() -> None:
    spark = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "OFF")
        .config("spark.ui.showConsoleProgress", "false")
        # A fifth of it is what a row may take in a retry.
        .config("spark.python.worker.idleTimeoutSeconds", "15")
        .config("spark.python.worker.killOnIdleTimeout", "true")
        .getOrCreate()
    )
    spec = ModelSpec.load(Path(__file__).parents[2] / "models" / "demo-classifier")
    frame = spark.createDataFrame(pictures(), "id int, content binary").repartition(2)
    result = classify_image("content", spec, top_k=1, timings=True)
    found = frame.select("id", result.alias("r")).collect()
    outcome = {
        row.id: row.r.error.code if row.r.error else row.r.predictions[0].label for row in found
    }
    messages = {row.id: row.r.error.message for row in found if row.r.error}
    attempts = {row.id: row.r.attempts for row in found}
    spark.stop()
    print(json.dumps({"rows": outcome, "messages": messages, "attempts": attempts}), flush=True)


if __name__ == "__main__":
    main()
