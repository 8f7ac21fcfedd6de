"""Ray Data in the form of its documentation: read, map to pixels, an actor class on batches."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.contenders.keras_model import Array, Classifier, pixels_of
from benchmarks.contenders.protocol import Contender, Job, Outcome, serve

# What its examples take for a CPU.
_BATCH_SIZE = 32


def make(job: Job) -> Contender:
    import ray

    # Of its own, so that nothing stays in /tmp/ray; not below build/, where the paths of its
    # sockets would be too long.
    folder = tempfile.TemporaryDirectory(prefix="ray")
    # One logical CPU more than actors: with as many as actors, the tasks that read wait for ever.
    ray.init(
        num_cpus=job.cores + 1,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder.name,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    def classified(folder: str) -> Any:
        pixels = ray.data.read_parquet(folder).map(to_pixels)
        return pixels.map_batches(
            Model,
            fn_constructor_args=(job.weights,),
            batch_size=_BATCH_SIZE,
            compute=ray.data.ActorPoolStrategy(size=job.cores),
        )

    def check() -> dict[int, int]:
        return {row["id"]: row["best"] for row in classified(job.check).iter_rows()}

    def run(folder: str) -> Outcome:
        images, total = 0, 0
        for batch in classified(folder).iter_batches(batch_size=None):
            images += len(batch["best"])
            total += int(batch["best"].sum())
        return Outcome(images, total)

    def close() -> None:
        ray.shutdown()
        folder.cleanup()

    return Contender(
        check=check,
        run=lambda: run(job.dataset),
        close=close,
        run_start=lambda: run(job.start),
    )


def to_pixels(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the Parquet files -> what the model takes."""
    return {"id": row["id"], "pixels": pixels_of(row["content"])}


class Model:
    """An actor: the model is loaded when it starts."""

    def __init__(self, path: str) -> None:
        self._classifier = Classifier(path)

    def __call__(self, batch: dict[str, Array]) -> dict[str, Array]:
        return {"id": batch["id"], "best": self._classifier.best_classes(batch["pixels"])}


if __name__ == "__main__":
    serve(make)
