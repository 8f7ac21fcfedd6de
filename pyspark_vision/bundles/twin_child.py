"""The program of a child process that makes a large model's LiteRT twin (:mod:`twin`).

`python -m pyspark_vision.bundles.twin_child REASON` with the arguments of :func:`twin.convert`,
pickled by the process that started it, on stdin; why there is no twin goes to the file REASON.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from pyspark_vision.bundles.twin import convert
from pyspark_vision.executor.worker.parent import end_with_parent


def main() -> None:
    end_with_parent()
    reason = convert(*pickle.load(sys.stdin.buffer))
    if reason is not None:
        Path(sys.argv[1]).write_text(reason, encoding="utf-8")


if __name__ == "__main__":
    main()
