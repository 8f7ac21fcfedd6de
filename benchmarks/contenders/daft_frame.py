"""Daft in the form of its documentation: its own image decode and resize, a class on batches."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.keras_model import SIDE, borrowed_classifier, normalized
from benchmarks.contenders.protocol import Contender, Job, Outcome, serve

_BATCH_SIZE = 32


def make(job: Job) -> Contender:
    # TensorFlow crashes when it is imported by one of Daft's threads.
    with borrowed_classifier(job.weights):
        pass

    import daft
    import numpy as np
    from daft import DataType, col
    from daft.functions import decode_image, resize

    daft.set_runner_native()

    @daft.cls(max_concurrency=job.cores)
    class Model:
        def __init__(self, path: str) -> None:
            self.path = path

        @daft.method.batch(return_dtype=DataType.int64(), batch_size=_BATCH_SIZE)
        def best_class(self, images: Any) -> Any:
            # Daft (0.7) does not send images to processes: it calls this one instance from several
            # threads at once, which no LiteRT interpreter bears.
            batch = normalized(np.stack(images.to_pylist()))
            with borrowed_classifier(self.path) as classifier:
                return classifier.best_classes(batch)

    model = Model(job.weights)

    def classified(folder: str) -> Any:
        frame = daft.read_parquet(f"{folder}/*.parquet")
        image = resize(decode_image(col("content"), mode="RGB"), SIDE, SIDE)
        return frame.select("id", image.alias("image")).select(
            "id", model.best_class(col("image")).alias("best")
        )

    def check() -> dict[int, int]:
        found = classified(job.check).to_pydict()
        return dict(zip(found["id"], found["best"], strict=True))

    def run(folder: str) -> Outcome:
        best = classified(folder).to_pydict()["best"]
        return Outcome(len(best), sum(best))

    return Contender(check=check, run=lambda: run(job.dataset), run_start=lambda: run(job.start))


if __name__ == "__main__":
    serve(make)
