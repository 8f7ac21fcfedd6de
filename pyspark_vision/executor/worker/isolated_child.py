"""The program of a child process that works on one row at a time (:mod:`isolation`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark_vision.executor.worker.isolation import serve
from pyspark_vision.executor.worker.loaded import load_model, predictor_of

if TYPE_CHECKING:
    from pyspark_vision.executor.models.shared_weights import SharedFolder
    from pyspark_vision.executor.pipeline import Inference
    from pyspark_vision.executor.results import Row
    from pyspark_vision.executor.source_rows import Source


def predictor(
    arguments: tuple[Inference, str, int, SharedFolder | None],
) -> Callable[[Source], list[Row]]:
    """``(inference, the model's local path, threads, what workers share)`` -> a source's rows."""
    inference, path, threads, shared = arguments
    model = load_model(inference.spec, path, threads, shared)
    rows = predictor_of(inference.spec, model, inference.decode, inference.head)
    return lambda source: next(rows.stream([source]))


if __name__ == "__main__":
    serve(predictor)
