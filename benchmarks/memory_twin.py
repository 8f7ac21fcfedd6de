"""The .tflite of `benchmarks.memory`: `python -m benchmarks.memory_twin FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.bundles.twin import make_litert_twin


def main() -> None:
    folder = Path(sys.argv[1])
    output = (folder / "output").read_text(encoding="utf-8")
    file = ModelFile("tensorflow", "keras", "model.keras", "", None, (("embedding", output),))
    spec = ModelSpec("model", "embed", (file,), (224, 224), root=str(folder))
    make_litert_twin(spec, folder)


if __name__ == "__main__":
    main()
