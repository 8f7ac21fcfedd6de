"""`make bench-latency`: how old a stream's results are, beside the least that Spark can do.

Frames (640x480 JPEGs, "week 9" messages) go to a Kafka broker at a fixed rate; a plain consumer
notes when each one's result comes. Age counts from when a frame was due to be sent. One after the
other, each with a broker of its own and after a warm-up that is not counted: `floor`, an empty
Kafka -> Kafka stream of Spark's own; `source`, the same with our Kafka source; `ours`,
jobs/stream_classify.py with a MobileNetV2; `seeds`, their shape, which collects each batch on the
driver and loads the model for it. Then, against classify_image over Parquet measured just before
and after: `rate`, the highest rate at which age stays bounded; `rate_apart`, the same with one core
for the batch or the stream, and another for broker, producer and consumer; `backlog`, how fast
frames are taken that came while the job was down.

In all but `rate_apart` broker, producer, consumer and stream share the machine. Prints as it goes
and writes build/bench/latency.json; with --only, a part of it, below build/bench/only.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_services.process import ServiceError

from benchmarks import models
from benchmarks.latency_streams import parts
from benchmarks.latency_streams.children import StreamFailedError
from benchmarks.latency_streams.names import BACKLOG, PARTS, RATE, RATE_APART, SEEDS
from benchmarks.latency_streams.parts import Sizes
from benchmarks.latency_streams.report import figures_of, lost_frames, summary
from benchmarks.machine import machine
from benchmarks.places import WORK
from benchmarks.race import ContenderError

# For the estimate before a run: broker, Spark, model; and the batch rate with its warm-up.
_START_S, _BATCH_S = 30.0, 40.0
_USUAL_BATCH_RATE = 220.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is asked for; 1 where something could not be run or a frame had no result."""
    options = _parse(argv)
    # As Ctrl-C: processes are ended and folders removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sizes = Sizes(
        seconds=options.seconds,
        rate=options.rate,
        warm_up_s=options.warm_up_seconds,
        step_s=options.step_seconds,
        backlog=options.backlog,
        images=options.images,
    )
    chosen = [name for name in PARTS if name in options.only]
    minutes = sum(_estimated_s(name, sizes) for name in chosen) / 60
    print(f"{', '.join(chosen)}: about {minutes:.0f} minutes", flush=True)
    models.make_models()
    file = (WORK if chosen == list(PARTS) else WORK / "only") / "latency.json"
    found: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for name in chosen:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        try:
            found[name] = _measure(name, sizes)
        except (StreamFailedError, ServiceError, ContenderError) as error:
            # The others are worth having all the same.
            failures[name] = str(error)
        else:
            print(f"  {_shown(found[name])}", flush=True)
            if lost := lost_frames(name, found[name]):
                failures[name] = f"{lost} frames had no result"
        print(f"  {time.monotonic() - started:.0f} s {failures.get(name, '')}", flush=True)
        # After each part, so that a stopped run leaves it.
        _write(file, {"sizes": vars(sizes), "parts": found, "failures": failures})
    print(f"\n{summary(found, figures_of(found))}\n\nwritten: {file}", flush=True)
    return 1 if failures else 0


def _measure(name: str, sizes: Sizes) -> dict[str, Any]:
    if name in (RATE, RATE_APART):
        return parts.rising_rates(sizes, apart=name == RATE_APART)
    if name == BACKLOG:
        return parts.backlog(sizes)
    return parts.fixed_rate(name, sizes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag, default, what in (
        ("seconds", 600.0, "at the fixed rate, counted"),
        ("rate", 20.0, "frames per second"),
        ("warm-up-seconds", 60.0, "before, not counted"),
        ("step-seconds", 240.0, "of each rising rate"),
        ("backlog", 10_000, "frames that wait for the job"),
        ("images", 2000, "of a round that measures the batch rate"),
    ):
        text = f"{what} (default: {default:g})"
        parser.add_argument(f"--{flag}", type=type(default), default=default, help=text)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=PARTS,
        metavar="PARTS",
        help=f"comma-separated, of {','.join(PARTS)}",
    )
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.only) - set(PARTS)):
        parser.error(f"--only {','.join(unknown)}: choose from {','.join(PARTS)}")
    return options


def _estimated_s(name: str, sizes: Sizes) -> float:
    if name in (RATE, RATE_APART):
        step_s = sizes.step_s + _BATCH_S
        return _BATCH_S + _START_S + sizes.rate_warm_up_s + len(parts.SHARES) * step_s
    if name == BACKLOG:
        return 2 * _BATCH_S + _START_S + 2 * sizes.backlog / _USUAL_BATCH_RATE
    # The seeds are seldom done when the last frame is sent.
    drain_s = parts.DRAIN_S if name == SEEDS else 0.0
    return _START_S + sizes.warm_up_s + sizes.seconds + drain_s


def _shown(found: dict[str, Any]) -> str:
    """The numbers of one part on a line."""
    numbers = {key: value for key, value in found.items() if isinstance(value, float | int)}
    return ", ".join(f"{key} {value:.6g}" for key, value in numbers.items())


def _write(file: Path, measured: dict[str, Any]) -> None:
    figures = figures_of(measured["parts"])
    results = {
        "machine": machine(("pyspark", "ai-edge-litert", "tensorflow")),
        "figures": {name: figure.as_json() for name, figure in figures.items()},
        **measured,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
