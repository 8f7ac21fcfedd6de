"""Which races there are: their contenders, pictures and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks import models
from benchmarks.contenders.protocol import Job
from benchmarks.fetch import far_and_near
from benchmarks.material import TWELVE_MPX_WH, VGA_WH, dataset
from benchmarks.race import Entry
from pyspark_vision.bundles.choice import has_bf16

# Of the best configuration: where no unit of the processor computes in bf16, it only rounds.
BEST_PRECISION = "bf16" if has_bf16() else "int8"

# On which contenders show that they do the same, before anything is timed.
_CHECK_ROWS = 64
# What Ray and Daft do once before each round, to tell their start from their work.
_START_ROWS = 16

# Spark's default of 10,000 rows is 6 GB of decoded floats; see default_arrow.py.
_SMALL_ARROW_BATCH = {"spark.sql.execution.arrow.maxRecordsPerBatch": "64"}

# How much of the images slow contenders get, so that a run ends: their rate does not depend on it.
_SHARE = {"predict_batch_udf": 0.25, "row_udf": 0.1, "daft_tf": 0.5, "ray_tf": 0.5}

# And how much more against the plain loop, which has no compiler to warm up: the JVM's takes some
# percent of a core over the first minutes. Above 3,400 pictures of 75 KB Spark makes three tasks of
# them for two cores.
_LOOP_SHARE = 1.5

# 2,000 photos of 12 megapixels are 5 GB.
_TWELVE_MPX_SHARE = 0.06

# Daft resizes with a filter of its own, and a reduced decode is not the full one.
_OTHER_PIXELS_AGREEMENT = 0.9
# bf16 and int8: section agreement says how much, and whole photos decide whether bf16 counts.
_OTHER_ARITHMETIC_AGREEMENT = 0.85

# Seconds until a contender is ready, and for the rounds of a full run on two cores: only for the
# estimate before a run.
_SECONDS_TO_START = 30
_FULL_IMAGES, _FULL_ROUNDS = 2000, 5


@dataclass(frozen=True)
class Ratio:
    """``name`` of results.json: the images/s of ``top`` by those of ``bottom``."""

    name: str
    top: str
    bottom: str
    target: float | None = None


@dataclass(frozen=True)
class PlannedRace:
    """Contenders that run side by side; ``entries`` holds what they need while they do."""

    name: str
    ratios: tuple[Ratio, ...]
    entries: Callable[[], AbstractContextManager[Mapping[str, Entry]]]
    full_s: int

    def estimated_s(self, images: int, rounds: int) -> float:
        """A guess at how long it takes."""
        return _SECONDS_TO_START + self.full_s * images * rounds / (_FULL_IMAGES * _FULL_ROUNDS)


def planned_races(images: int) -> list[PlannedRace]:
    """All of them; making one's entries makes its pictures."""

    def race(
        name: str,
        full_s: int,
        ratios: list[Ratio],
        contenders: Callable[[], dict[str, Entry]],
        **options: Any,
    ) -> PlannedRace:
        entries = partial(_as_context, contenders)
        return PlannedRace(name, tuple(ratios), entries, full_s, **options)

    def entry(module: str, share: float = 1.0, pinned_to: int | None = None, **job: Any) -> Entry:
        rows = max(4 * _START_ROWS, round(images * share))
        return Entry(f"contenders.{module}", job_of(rows, **job), rows, pinned_to)

    ours = partial(entry, "ours")

    def lowered(made: Entry) -> Entry:
        return replace(made, min_agreement=_OTHER_ARITHMETIC_AGREEMENT)

    def other_pixels(made: Entry) -> Entry:
        return replace(made, min_agreement=_OTHER_PIXELS_AGREEMENT)

    def best(share: float = 1.0) -> Entry:
        return lowered(ours(share, precision=BEST_PRECISION))

    def task_race(task: str, model: str) -> PlannedRace:
        return race(
            task,
            160,
            [Ratio(f"ours/loop:{task}", "ours", "loop", 0.95)],
            lambda: {
                "ours": ours(_LOOP_SHARE, task=task, model=model),
                "loop": entry("loop", _LOOP_SHARE, task=task, model=model),
            },
        )

    def classify() -> dict[str, Entry]:
        int8 = lowered(ours(_LOOP_SHARE, precision="int8"))
        return {
            "ours": ours(_LOOP_SHARE),
            "loop": entry("loop", _LOOP_SHARE),
            "best": best(_LOOP_SHARE),
            "best_loop": lowered(entry("loop", _LOOP_SHARE, precision=BEST_PRECISION)),
            **({"int8": int8} if models.has_int8() else {}),
        }

    def other(
        system: str, module: str, adapted: Callable[[Entry], Entry] = lambda made: made
    ) -> Iterator[PlannedRace]:
        yield race(
            f"{system}:tensorflow",
            220,
            [
                Ratio(f"ours/{system}:tensorflow", "ours", system, 2),
                Ratio(f"best/{system}:tensorflow", "best", system, 4),
            ],
            lambda: {
                "ours": ours(),
                "best": best(),
                system: adapted(entry(module, _SHARE[f"{system}_tf"])),
            },
        )
        yield race(
            f"{system}:litert",
            170,
            [Ratio(f"ours/{system}:litert", "ours", system, 1.15)],
            lambda: {
                "ours": ours(),
                system: adapted(entry(module, weights=str(models.litert_file()))),
            },
        )

    def raw() -> dict[str, Entry]:
        return {
            "ours": ours(),
            "best": best(),
            "best_loop": lowered(entry("loop", precision=BEST_PRECISION)),
            "raw_engine": lowered(entry("raw_engine", precision=BEST_PRECISION)),
            "raw_litert": entry("raw_engine"),
        }

    def twelve_mpx() -> dict[str, Entry]:
        rows = max(8, round(images * _TWELVE_MPX_SHARE))
        folder = str(dataset(TWELVE_MPX_WH, rows))
        job = replace(job_of(rows), dataset=folder, check=str(dataset(TWELVE_MPX_WH, 60)))
        return {
            "ours": Entry("contenders.ours", job, rows),
            "pillow_full": other_pixels(Entry("contenders.loop", replace(job, exact=True), rows)),
        }

    def predict_batch_udf() -> dict[str, Entry]:
        share = _SHARE["predict_batch_udf"]
        return {
            "ours": ours(),
            "best": best(),
            "predict_batch_udf": entry("predict_batch_udf", share, spark_conf=_SMALL_ARROW_BATCH),
        }

    return [
        race(
            "classify",
            180,
            [
                Ratio("ours/loop:classify", "ours", "loop", 0.95),
                Ratio("best/loop", "best", "loop", 1.7),
                # What the same precision gives without Spark: no configuration of ours beats it.
                Ratio("best_loop/loop", "best_loop", "loop"),
                Ratio("int8/loop", "int8", "loop"),
            ],
            classify,
        ),
        task_race("detect", str(models.DETECTOR)),
        task_race("embed", str(models.EMBEDDER)),
        race(
            "tensorflow",
            160,
            [
                Ratio(
                    "ours_tensorflow/loop_tensorflow:classify",
                    "ours_tensorflow",
                    "loop_tensorflow",
                    0.93,
                )
            ],
            lambda: {
                "ours_tensorflow": ours(engine="tensorflow"),
                "loop_tensorflow": entry("loop", engine="tensorflow"),
            },
        ),
        race(
            "predict_batch_udf",
            190,
            [
                Ratio("ours/predict_batch_udf", "ours", "predict_batch_udf", 4),
                Ratio("best/predict_batch_udf", "best", "predict_batch_udf", 8),
            ],
            predict_batch_udf,
        ),
        race(
            "seeds_shape",
            160,
            [Ratio("ours/seeds_shape", "ours", "seeds_shape", 8)],
            lambda: {"ours": ours(), "seeds_shape": entry("row_udf", _SHARE["row_udf"])},
        ),
        *other("daft", "daft_frame", other_pixels),
        *other("ray", "ray_data"),
        race(
            "raw_engine",
            140,
            [
                Ratio("best/raw_engine", "best", "raw_engine", 0.6),
                # What decoding alone leaves of it, without Spark; and what Spark does of that.
                Ratio("best_loop/raw_engine", "best_loop", "raw_engine"),
                Ratio("best/best_loop", "best", "best_loop"),
                Ratio("ours/raw_engine", "ours", "raw_litert"),
            ],
            raw,
        ),
        race(
            "cores",
            160,
            [Ratio("two_cores/one_core", "two_cores", "one_core", 1.9)],
            lambda: {
                "two_cores": ours(_LOOP_SHARE),
                "one_core": ours(_LOOP_SHARE / 2, cores=1, pinned_to=0),
            },
        ),
        PlannedRace(
            "s3",
            (Ratio("s3_50ms/local", "s3_50ms", "local", 0.9),),
            lambda: far_and_near(job_of(images), images),
            full_s=110,
        ),
        race(
            "12mpx",
            100,
            [Ratio("ours/pillow_full:12mpx", "ours", "pillow_full", 2)],
            twelve_mpx,
        ),
    ]


def _as_context(
    contenders: Callable[[], dict[str, Entry]],
) -> AbstractContextManager[Mapping[str, Entry]]:
    return nullcontext(contenders())


def job_of(rows: int, **changes: Any) -> Job:
    """The usual job, classify with LiteRT on two cores over 640x480 pictures, with changes."""
    usual = Job(
        dataset=str(dataset(VGA_WH, rows)),
        check=str(dataset(VGA_WH, _CHECK_ROWS)),
        start=str(dataset(VGA_WH, _START_ROWS)),
        model=str(models.CLASSIFIER),
        weights=str(models.keras_file()),
    )
    return replace(usual, **changes)
