"""`make bench`: the library beside others in one run, on the same pictures and the same model.

Races have their rounds interleaved A B A B; a ratio is the median of the rounds' ratios. Prints as
it goes, and writes build/bench/results.json, table.md and chart.svg; with --only, a part of it,
below build/bench/only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.chart import Bar, bar_chart
from benchmarks.figures import ratio, ratio_table
from benchmarks.machine import machine
from benchmarks.measurements import MEASUREMENTS, MIN_TOP1_AGREEMENT, Measurement, Sizes
from benchmarks.places import WORK
from benchmarks.race import ContenderError, race
from benchmarks.races import BEST_PRECISION, PlannedRace, planned_races

_PACKAGES = ("pyspark", "tensorflow", "ai-edge-litert", "openvino", "ray", "daft", "pillow")

# Bars of the chart: what `ours` is compared with on the same pictures, and its name there.
_CHART = {
    "best/loop": f"best configuration ({BEST_PRECISION})",
    "ours/loop:classify": "plain loop, LiteRT",
    "ours/daft:litert": "Daft, LiteRT",
    "ours/ray:litert": "Ray Data, LiteRT",
    "ours/daft:tensorflow": "Daft, TensorFlow",
    "ours/ray:tensorflow": "Ray Data, TensorFlow",
    "ours/predict_batch_udf": "predict_batch_udf, TensorFlow",
    "ours/seeds_shape": "row UDF with predict",
}


@dataclass
class Report:
    """What was measured so far; written after each part, so that a stopped run leaves it."""

    folder: Path
    results: dict[str, Any]
    sections: list[str] = field(default_factory=list)

    def write(self) -> None:
        """results.json, table.md and, where there is something to draw, chart.svg."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.results, indent=2) + "\n"
        self.folder.joinpath("results.json").write_text(text, encoding="utf-8")
        self.folder.joinpath("table.md").write_text(self.table(), encoding="utf-8")
        bars = _bars(self.results["ratios"])
        if bars:
            chart = bar_chart("images/s on two cores, MobileNetV2, 640x480 JPEGs", bars)
            self.folder.joinpath("chart.svg").write_text(chart, encoding="utf-8")

    def table(self) -> str:
        """Everything in words."""
        ratios = self.results["ratios"]
        parts = [ratio_table(ratios)] if ratios else []
        failures = [f"{name} failed: {why}" for name, why in self.results["failures"].items()]
        return "\n\n".join([*parts, *self.sections, *failures]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is asked for; 1 where something could not be run."""
    options = _parse(argv)
    sizes = Sizes(options.images, options.rounds, options.growth_max)
    measurements = [one for one in MEASUREMENTS if _wanted(options.only, [one.name])]
    races = [
        one
        for one in planned_races(sizes.images)
        if _wanted(options.only, [one.name, *(ratio.name for ratio in one.ratios)])
    ]
    seconds = sum(one.seconds for one in measurements) + sum(
        one.estimated_s(sizes.images, sizes.rounds) for one in races
    )
    print(
        f"{len(measurements)} measurements and {len(races)} races of {sizes.rounds} rounds, "
        f"{sizes.images} images: about {seconds / 60:.0f} minutes on two cores",
        flush=True,
    )
    models.make_models()
    folder = WORK / "only" if options.only else WORK
    report = Report(
        folder, {"machine": machine(_PACKAGES), "sizes": vars(sizes), "ratios": {}, "failures": {}}
    )
    for measurement in measurements:
        _attempt(report, measurement.name, partial(_measure, report, measurement, sizes))
    for planned in races:
        _attempt(report, planned.name, partial(_race, report, planned, sizes.rounds))
    print(f"\n{report.table()}\nwritten: {folder}/results.json, table.md, chart.svg", flush=True)
    return 1 if report.results["failures"] else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=2000, help="of a round (default: 2000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each race (default: 5)")
    parser.add_argument(
        "--growth-max", type=int, default=50_000, help="images of the largest growth step"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAMES",
        help="comma-separated parts of the names of ratios or sections: loop,ray,growth",
    )
    return parser.parse_args(argv)


def _wanted(only: str, names: Sequence[str]) -> bool:
    return not only or any(part in name for part in only.split(",") for name in names)


def _attempt(report: Report, name: str, part: Callable[[], None]) -> None:
    print(f"== {name}", flush=True)
    started = time.monotonic()
    try:
        part()
    except ContenderError as error:
        # The others are worth having all the same.
        report.results["failures"][name] = str(error)
        print(f"  failed: {error}", flush=True)
    report.write()
    print(f"  {time.monotonic() - started:.0f} s", flush=True)


def _measure(report: Report, measurement: Measurement, sizes: Sizes) -> None:
    found = measurement.run(sizes)
    report.results[measurement.name] = found
    report.sections.append(measurement.show(found))
    print(report.sections[-1], flush=True)


def _race(report: Report, planned: PlannedRace, rounds: int) -> None:
    with planned.entries() as entries:
        result = race(planned.name, entries, rounds)
    report.results.setdefault("races", {})[planned.name] = vars(result)
    for wanted in planned.ratios:
        if wanted.top not in entries:
            continue
        found = ratio(result.images_per_s, wanted.top, wanted.bottom, wanted.target)
        as_json = found.as_json()
        if wanted.top == "best" and as_json["met"]:
            as_json["met"] = _best_agrees(report.results)
        report.results["ratios"][wanted.name] = as_json
        low, high = as_json["low"], as_json["high"]
        print(f"  {wanted.name}: {found.median:.3f} ({low:.3f} to {high:.3f})", flush=True)


def _best_agrees(results: dict[str, Any]) -> bool | None:
    """Whether the best configuration names the same classes of real photos; None if not known."""
    share = results.get("agreement", {}).get(BEST_PRECISION, {}).get("photos")
    return None if share is None else share >= MIN_TOP1_AGREEMENT


def _bars(ratios: dict[str, Any]) -> list[Bar]:
    """Each beside the rate of ours in the classify race, by its own ratio: machines drift."""
    base = ratios.get("ours/loop:classify")
    if base is None:
        return []
    ours = base["images_per_s"]["ours"]
    bars = [Bar("pyspark_vision, LiteRT float32", ours, ours=True)]
    for name, label in _CHART.items():
        if name not in ratios:
            continue
        if name.startswith("best/"):
            bars.append(Bar(label, ratios[name]["images_per_s"]["best"], ours=True))
        else:
            bars.append(Bar(label, ours / ratios[name]["median"]))
    return sorted(bars, key=lambda bar: -bar.value)


if __name__ == "__main__":
    raise SystemExit(main())
