"""Write frames of drawn moving scenes as JPEG files, as a few cameras would leave them in a folder.

python scripts/draw_frames.py --output /tmp/frames --count 60 --seed 7
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a bare checkout

from pyspark_vision.clients.scenes import draw_frame


def size_wh(text: str) -> tuple[int, int]:
    """``640x480`` -> ``(640, 480)``."""
    width, height = text.lower().split("x")
    return int(width), int(height)


def write_frame(
    folder: Path, index: int, seed: int, cameras: int, picture_wh: tuple[int, int]
) -> Path:
    """Draw frame ``index`` of the round over the cameras and put it into ``folder`` in one step."""
    image, _ = draw_frame(seed + index % cameras, index // cameras, picture_wh)
    target = folder / f"frame-{index:06d}.jpg"
    # Spark does not read names that begin with "_", so that a stream never sees half a picture.
    unfinished = folder / f"_{target.name}"
    image.save(unfinished, format="JPEG", quality=90)
    os.replace(unfinished, target)
    return target


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``--count`` frames."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the frames; made if missing"
    )
    parser.add_argument(
        "--count", type=int, default=60, help="number of frames (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=7, help="seed of the first camera (default: %(default)s)"
    )
    parser.add_argument(
        "--cameras", type=int, default=4, help="cameras in turn (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=size_wh, default=(640, 480), metavar="WxH", help="default: 640x480"
    )
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    for index in range(options.count):
        write_frame(options.output, index, options.seed, options.cameras, options.size)
    print(f"{options.count} frames in {options.output}")


if __name__ == "__main__":
    main()
