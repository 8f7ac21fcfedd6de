"""The program of a child process that runs a reference script (:mod:`verification`).

`python -m pyspark_vision.bundles.verification_child SCRIPT FOLDER`: for each `N.npy` of the folder,
upright RGB pixels, the arrays that the script's `reference(image)` gives go to `N.npz`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.executor.worker.parent import end_with_parent


def main() -> int:
    end_with_parent()
    script, folder = sys.argv[1], Path(sys.argv[2])
    # As for a program: what lies beside the script can be imported.
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        reference = runpy.run_path(script).get("reference")
        if not callable(reference):
            print("it has no function reference(image)", file=sys.stderr)
            return 1
        for file in sorted(folder.glob("*.npy")):
            answer = reference(np.load(file))
            if not isinstance(answer, dict):
                print(
                    f"reference(image) gave a {type(answer).__name__}, not a dictionary of arrays",
                    file=sys.stderr,
                )
                return 1
            arrays: Any = {str(name): np.asarray(value) for name, value in answer.items()}
            np.savez(file.with_suffix(".npz"), **arrays)
    except Exception as error:  # the script's own: one line, as all mistakes are
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
