"""What a row costs where: each step of the hot path timed alone, in one process; Spark is the rest.

The whole is one task on one core, so that steps and whole can be subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.contenders.library import TOP_K, our_session, spec_of
from benchmarks.contenders.ours import with_results
from benchmarks.contenders.protocol import Job, serve_section
from benchmarks.material import read_rows

_WHOLE_ROUNDS = 3


def measure(job: Job) -> dict[str, Any]:
    """ms per image of each step, and of the whole; ``options["rows"]`` is the dataset's size."""
    rows = int(job.options["rows"])
    ms = {step: seconds * 1000 / rows for step, seconds in _steps(job).items()}
    whole_ms = _whole_seconds(job) * 1000 / rows
    ms["Spark, and what is between the steps"] = whole_ms - sum(ms.values())
    return {"steps_ms": ms, "whole_ms": whole_ms}


def _steps(job: Job) -> dict[str, float]:
    import pyarrow as pa
    from PIL import Image

    from pyspark_vision.executor.decode.images import DecodeOptions, decode
    from pyspark_vision.executor.decode.preprocess import Preprocessor
    from pyspark_vision.executor.engines import load_engine
    from pyspark_vision.executor.outputs import heads
    from pyspark_vision.executor.pipeline import ROWS_PER_PIECE, result_array
    from pyspark_vision.executor.results import Row

    spec, options = spec_of(job), DecodeOptions(exact=job.exact)
    head = heads.ClassifyOptions(TOP_K, 0.0)
    engine = load_engine(spec, spec.path, threads=1)
    preprocessor = Preprocessor(spec)
    filter_ = Image.Resampling[spec.resize_filter.upper()]
    size = engine.batch_size
    clock = _Clock()

    with clock("read Parquet"):
        contents = [content for _, content in read_rows(job.dataset)]
    array = pa.array(contents, pa.binary())
    done: list[Row] = []
    batch = preprocessor.empty_batch(size)
    for start in range(0, len(array), size):
        with clock("Arrow to bytes"):
            sources = [one.as_py() for one in array.slice(start, size)]
        sizes_wh = []
        for index, source in enumerate(sources):
            with clock("open and decode"):
                image, size_wh = decode(source, options, spec.input_hw)
            with clock("resize"):
                resized = image.resize(spec.input_hw[::-1], filter_)
            with clock("normalize"):
                preprocessor.fill(batch, index, resized)
            sizes_wh.append(size_wh)
        with clock("engine"):
            outputs = engine.run(batch[: len(sources)])
        for index, size_wh in enumerate(sizes_wh):
            with clock("head"):
                own = {role: values[index] for role, values in outputs.items()}
                value = heads.classify(spec, own, head)
            done.append(Row(value, *size_wh))
    for start in range(0, len(done), ROWS_PER_PIECE):
        with clock("rows to Arrow"):
            result_array(spec, head, done[start : start + ROWS_PER_PIECE])
    return clock.seconds


def _whole_seconds(job: Job) -> float:
    spark = our_session(job)
    frame = with_results(job, spark.read.parquet(job.dataset).coalesce(1))
    seconds = []
    for _ in range(1 + _WHOLE_ROUNDS):
        started = time.perf_counter()
        frame.write.format("noop").mode("overwrite").save()
        seconds.append(time.perf_counter() - started)
    spark.stop()
    return sorted(seconds[1:])[_WHOLE_ROUNDS // 2]


class _Clock:
    """Adds up the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        elapsed = time.perf_counter() - started
        self.seconds[step] = self.seconds.get(step, 0.0) + elapsed


if __name__ == "__main__":
    serve_section(measure)
