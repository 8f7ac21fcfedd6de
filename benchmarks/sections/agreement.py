"""How often the faster precisions name the class that float32 at full scale names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.contenders.library import best_class, head_of, spec_of
from benchmarks.contenders.protocol import Job, serve_section
from benchmarks.figures import agreement
from benchmarks.material import VGA_WH, pictures
from benchmarks.places import EXIF_PHOTO, PHOTOS


def measure(job: Job) -> dict[str, Any]:
    """``{precision: {"photos": share, "crops": share}}``, and how many of each there are."""
    from pyspark_vision.executor.decode.images import DecodeOptions

    spec = spec_of(job)
    photos = [*sorted(PHOTOS.iterdir()), EXIF_PHOTO] if PHOTOS.is_dir() else []
    sets = {
        name: [file.read_bytes() for file in files]
        for name, files in (("photos", photos), ("crops", pictures(VGA_WH)))
        if files
    }
    exact = {name: _top1(job, spec, data, DecodeOptions(exact=True)) for name, data in sets.items()}
    held = {file.precision for file in spec.files}
    found: dict[str, Any] = {"pictures": {name: len(data) for name, data in sets.items()}}
    for precision in ("float32", "bf16", "int8"):
        if precision == "int8" and "int8" not in held:
            continue
        faster = spec.with_options(precision=precision)
        found[precision] = {
            name: agreement(exact[name], _top1(job, faster, data, DecodeOptions()))
            for name, data in sets.items()
        }
    return found


def _top1(job: Job, spec: Any, contents: Sequence[bytes], decode: Any) -> dict[str, int]:
    from pyspark_vision.executor.engines import load_engine
    from pyspark_vision.executor.predictor import Predictor

    predictor = Predictor(spec, load_engine(spec, spec.path, threads=1), decode, head_of(job))
    rows = predictor.predict(contents)
    return {str(index): best_class(job.task, row.value) for index, row in enumerate(rows)}


if __name__ == "__main__":
    serve_section(measure)
