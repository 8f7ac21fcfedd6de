"""The physical limit: the engine on pixels that lie in memory, one process per core."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

from benchmarks.contenders.library import spec_of
from benchmarks.contenders.processes import Run, contender
from benchmarks.contenders.protocol import Contender, Job, serve
from benchmarks.material import read_rows

# Different pictures, so that no processor learns one by heart; 64 of 224x224x3 floats are 38 MB.
_PREPARED = 64


def make(job: Job) -> Contender:
    return contender(partial(load, job), job)


def load(job: Job, share: int, shares: int) -> Run:
    """The check pictures prepared; a folder's rows are counted beforehand, not read."""
    import pyarrow.parquet as pq

    from pyspark_vision.executor.decode.images import DecodeOptions, decode
    from pyspark_vision.executor.decode.preprocess import Preprocessor
    from pyspark_vision.executor.engines import load_engine

    spec = spec_of(job)
    engine = load_engine(spec, spec.path, threads=1)
    preprocessor = Preprocessor(spec)
    size = engine.batch_size
    pictures = list(itertools.islice(read_rows(job.check, share, shares), _PREPARED))
    prepared = []
    for start in range(0, len(pictures), size):
        chosen = pictures[start : start + size]
        pixels = preprocessor.empty_batch(len(chosen))
        for index, (_, content) in enumerate(chosen):
            image, _ = decode(content, DecodeOptions(), spec.input_hw)
            preprocessor.fill(pixels, index, image)
        prepared.append(([row for row, _ in chosen], pixels))
    rows = pq.read_table(job.dataset, columns=["id"]).num_rows
    counts = {job.check: len(pictures), job.dataset: len(range(share, rows, shares))}

    def run(folder: str) -> Iterator[tuple[int, int]]:
        left = counts[folder]
        for ids, pixels in itertools.cycle(prepared):
            [scores] = engine.run(pixels).values()
            best = scores.argmax(axis=1).tolist()
            yield from zip(ids[:left], best, strict=False)
            left -= min(left, len(ids))
            if not left:
                return

    return run


if __name__ == "__main__":
    serve(make)
