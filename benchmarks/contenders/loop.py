"""The limit: a plain loop without Spark, one process per core, same engine and decode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.contenders.library import best_class, head_of, spec_of
from benchmarks.contenders.processes import Run, contender
from benchmarks.contenders.protocol import Contender, Job, serve
from benchmarks.material import read_rows


def make(job: Job) -> Contender:
    return contender(partial(load, job), job)


def load(job: Job, share: int, shares: int) -> Run:
    """Decode, resize, run, head; no Spark, no rows, no errors."""
    from pyspark_vision.executor.decode.images import DecodeOptions, decode
    from pyspark_vision.executor.decode.preprocess import Preprocessor
    from pyspark_vision.executor.engines import load_engine
    from pyspark_vision.executor.outputs import heads

    spec, head = spec_of(job), head_of(job)
    engine = load_engine(spec, spec.path, threads=1)
    preprocessor = Preprocessor(spec, exact=job.exact)
    batch = preprocessor.empty_batch(engine.batch_size)

    def results(waiting: list[Any]) -> Iterator[tuple[int, int]]:
        outputs = engine.run(batch[: len(waiting)])
        for index, (row, placement) in enumerate(waiting):
            own = {role: values[index] for role, values in outputs.items()}
            value: Any
            if isinstance(head, heads.ClassifyOptions):
                value = heads.classify(spec, own, head)
            elif isinstance(head, heads.DetectOptions):
                value = heads.detect(spec, own, placement, head)
            else:
                assert isinstance(head, heads.EmbedOptions)
                value = heads.embed(spec, own, head)
            yield row, best_class(job.task, value)
        waiting.clear()

    def run(folder: str) -> Iterator[tuple[int, int]]:
        waiting: list[Any] = []  # (id, placement) of the pictures that stand in the batch
        for row, content in read_rows(folder, share, shares):
            image, _ = decode(content, DecodeOptions(exact=job.exact), spec.input_hw)
            waiting.append((row, preprocessor.fill(batch, len(waiting), image)))
            if len(waiting) == len(batch):
                yield from results(waiting)
        if waiting:
            yield from results(waiting)

    return run


if __name__ == "__main__":
    serve(make)
