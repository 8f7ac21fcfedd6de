"""Check what `make demo` wrote, with another reader than the job's: python check_demo.py FOLDER."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

FRAMES, DAMAGED = 60, {"truncated": 1, "unsupported_format": 1}


def main(folder: Path) -> None:
    """Every frame once, the damaged ones with their codes, objects in most others, a page."""
    rows = pq.read_table(folder / "detections").to_pylist()
    origins = {row["origin"] for row in rows}
    failed = Counter(row["error"]["code"] for row in rows if row["error"])
    detected = sum(bool(row["detections"]) for row in rows)
    page = (folder / "contact_sheet.html").read_text(encoding="utf-8")
    assert len(rows) == len(origins) == FRAMES, (len(rows), len(origins))
    assert failed == DAMAGED, failed
    assert detected > FRAMES / 2, detected
    assert page.count("data:image/jpeg;base64,") >= detected, "pictures are missing on the page"
    print(f"demo: {FRAMES} frames, {detected} with objects, failed {dict(failed)}, page complete")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
