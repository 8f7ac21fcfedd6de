"""The sections that are no races: each a key of ``results.json``, with what is printed of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.default_arrow import try_once
from benchmarks.figures import table
from benchmarks.material import SMALL_WH, TWELVE_MPX_WH, dataset
from benchmarks.race import Entry, ask
from benchmarks.races import BEST_PRECISION, job_of

MIN_TOP1_AGREEMENT = 0.99
_COLD_TARGET_S = 2.0
_WORKER_TARGET_MB = 700.0
_GROWTH_IMAGES = (100, 300, 1000, 3000, 10_000, 50_000)
# A full run, of 2,000 images, goes up to the largest.
_GROWTH_IMAGES_PER_IMAGE = 25
_COST_IMAGES = 500
_TWELVE_MPX_ROWS = 200
# From a whole Arrow batch (64 MB at most) on, more rows are to cost nothing.
_FEW_ROWS, _MANY_ROWS = 5000, 20_000


@dataclass(frozen=True)
class Sizes:
    """How much a run does: smaller ones only try whether everything works."""

    images: int
    rounds: int
    growth_max: int

    def at_most(self, rows: int) -> int:
        """``rows``, but no more than a trial run of few images is meant to do."""
        return min(rows, self.images * 10)


@dataclass(frozen=True)
class Measurement:
    """``run`` measures, ``show`` puts it in words (Markdown)."""

    name: str
    seconds: float
    run: Callable[[Sizes], dict[str, Any]]
    show: Callable[[dict[str, Any]], str]


def _agreement(sizes: Sizes) -> dict[str, Any]:
    return ask("agreement", Entry("sections.agreement", job_of(sizes.images)))


def _show_agreement(found: dict[str, Any]) -> str:
    sets = found["pictures"]
    rows = [
        [precision, *(f"{found[precision][name]:.1%}" for name in sets)]
        for precision in found
        if precision != "pictures"
    ]
    header = ["precision", *(f"{count} {name}" for name, count in sets.items())]
    return (
        f"Same top-1 as float32 at full scale (the best configuration, {BEST_PRECISION}, counts "
        f"from {MIN_TOP1_AGREEMENT:.0%} of photos):\n\n" + table(header, rows)
    )


def _default_arrow(sizes: Sizes) -> dict[str, Any]:
    job = job_of(sizes.images)
    return try_once(Entry("contenders.predict_batch_udf", job, sizes.images))


def _show_default_arrow(found: dict[str, Any]) -> str:
    what = f"peak of all processes {found['peak_mb']:.0f} MB"
    if "failure" in found:
        return (
            f"predict_batch_udf with Spark's default Arrow batch fails ({what}): "
            + (found["failure"].strip().splitlines()[-1])
        )
    rate = found["images_per_s"]
    return f"predict_batch_udf with Spark's default Arrow batch: {rate:.1f} images/s, {what}"


def _growth(sizes: Sizes) -> dict[str, Any]:
    largest = min(sizes.growth_max, sizes.images * _GROWTH_IMAGES_PER_IMAGE)
    counts = [count for count in _GROWTH_IMAGES if count <= largest]
    datasets = [[count, str(dataset(SMALL_WH, count))] for count in counts]
    job = replace(job_of(sizes.images), options={"datasets": datasets})
    return ask("growth", Entry("sections.growth", job))


def _show_growth(found: dict[str, Any]) -> str:
    rows = [
        [str(images), f"{seconds:.2f}", f"{miss:+.2f}"]
        for images, seconds, miss in zip(
            found["images"], found["seconds"], found["residuals_s"], strict=True
        )
    ]
    return (
        f"time = {found['start_s']:.2f} s + n x {found['cost_ms']:.2f} ms "
        f"(R² {found['r_squared']:.5f}, largest relative deviation "
        f"{found['largest_relative_deviation']:.1%})\n\n"
        + table(["n", "seconds", "off the line"], rows)
    )


def _cold(sizes: Sizes) -> dict[str, Any]:
    usual = job_of(sizes.images)
    seconds: dict[str, list[float]] = {"identity": [], "classify": []}
    for _ in range(sizes.rounds):
        for udf, taken in seconds.items():
            job = replace(usual, dataset=usual.check, options={"udf": udf})
            taken.append(ask(f"cold-{udf}", Entry("sections.cold", job))["seconds"])
    differences = [
        mine - empty for mine, empty in zip(seconds["classify"], seconds["identity"], strict=True)
    ]
    median = statistics.median(differences)
    return {
        "seconds": seconds,
        "difference_s": median,
        "target_s": _COLD_TARGET_S,
        "met": median <= _COLD_TARGET_S,
    }


def _show_cold(found: dict[str, Any]) -> str:
    medians = {udf: statistics.median(taken) for udf, taken in found["seconds"].items()}
    return (
        f"First row of a cold job: {medians['classify']:.2f} s; of Spark's own empty Python UDF: "
        f"{medians['identity']:.2f} s; difference {found['difference_s']:.2f} s "
        f"(target {found['target_s']:g} s)"
    )


def _memory(sizes: Sizes) -> dict[str, Any]:
    def peak(name: str, folder: str, rows: int) -> dict[str, Any]:
        job = replace(job_of(sizes.images), dataset=folder, options={"rows": rows})
        return ask(f"memory-{name}", Entry("sections.memory", job))

    large = sizes.at_most(_TWELVE_MPX_ROWS)
    found = {"12mpx": peak("12mpx", str(dataset(TWELVE_MPX_WH, large)), large)}
    for name, rows in (("few", _FEW_ROWS), ("many", _MANY_ROWS)):
        count = sizes.at_most(rows)
        found[name] = peak(name, str(dataset(SMALL_WH, count)), count)
    return {
        **found,
        "target_mb": _WORKER_TARGET_MB,
        "met": found["12mpx"]["peak_mb"] < _WORKER_TARGET_MB,
    }


def _show_memory(found: dict[str, Any]) -> str:
    shown = [
        [f"{found[key]['rows']} x {what}", f"{found[key]['peak_mb']:.0f}"]
        for key, what in (("12mpx", "12 megapixels"), ("few", "320x240"), ("many", "320x240"))
    ]
    return (
        f"Peak of the Python worker, one partition (target {found['target_mb']:.0f} MB):\n\n"
        + table(["pictures", "MB"], shown)
    )


def _cost(sizes: Sizes) -> dict[str, Any]:
    rows = sizes.at_most(_COST_IMAGES)
    job = replace(job_of(rows), cores=1, options={"rows": rows})
    return ask("cost", Entry("sections.cost", job))


def _show_cost(found: dict[str, Any]) -> str:
    whole = found["whole_ms"]
    rows = [
        [step, f"{ms:.3f}", f"{ms / whole:.0%}"]
        for step, ms in [*found["steps_ms"].items(), ("whole", whole)]
    ]
    return "What a 640x480 row costs, one core:\n\n" + table(
        ["step", "ms per image", "share"], rows
    )


MEASUREMENTS = (
    Measurement("agreement", 60, _agreement, _show_agreement),
    Measurement("cost", 60, _cost, _show_cost),
    Measurement("cold", 120, _cold, _show_cold),
    Measurement("memory", 180, _memory, _show_memory),
    Measurement("growth", 400, _growth, _show_growth),
    Measurement("default_arrow", 120, _default_arrow, _show_default_arrow),
)
