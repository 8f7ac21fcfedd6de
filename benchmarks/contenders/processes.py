"""One process per core, each with its share of the rows, waiting for a round."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.contenders.protocol import Contender, Job, Outcome

# What a worker makes once it has loaded its model: a folder -> (id, best class) of its rows.
Run = Callable[[str], Iterable[tuple[int, int]]]
# (share, shares) -> that.
Load = Callable[[int, int], Run]


def contender(load: Load, job: Job) -> Contender:
    """``load`` is called in each process; a round is over when the slowest is done."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    requests = []
    for share in range(job.cores):
        queue = context.Queue()
        arguments = (load, share, job.cores, queue, answers)
        context.Process(target=_work, args=arguments, daemon=True).start()
        requests.append(queue)

    def ask(folder: str, keep: bool) -> list[tuple[int, int, dict[int, int]]]:
        for queue in requests:
            queue.put((folder, keep))
        return [answers.get() for _ in requests]

    def check() -> dict[int, int]:
        return {row: best for _, _, kept in ask(job.check, True) for row, best in kept.items()}

    def run() -> Outcome:
        done = ask(job.dataset, False)
        return Outcome(sum(images for images, _, _ in done), sum(total for _, total, _ in done))

    return Contender(check, run)


def _work(load: Load, share: int, shares: int, requests: Any, answers: Any) -> None:
    run = load(share, shares)
    while True:
        folder, keep = requests.get()
        images, total, kept = 0, 0, {}
        for row, best in run(folder):
            images += 1
            total += best
            if keep:
                kept[row] = best
        answers.put((images, total, kept))
