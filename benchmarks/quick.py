"""`make bench-quick`: classify_image in Spark beside a plain two-process loop, in one run.

Same pictures, same engine, same decode, one thread each, two processes; rounds are interleaved
A B A B, so that a machine whose speed drifts does not favour one side. Prints the median images/s
of each, and the ratio pair by pair. Then, with a small model on small pictures, our Arrow-native
UDF beside the same function as a pandas UDF.

``python -m benchmarks.quick --before FOLDER``: only ``classify_image`` of this checkout beside that
of another one (``git worktree add FOLDER COMMIT``), with its own ``.venv`` if it has one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import models
from benchmarks.figures import ratio
from benchmarks.material import TINY_WH, dataset
from benchmarks.places import ROOT
from benchmarks.race import Entry, race
from benchmarks.races import job_of

IMAGES, TINY_IMAGES, ROUNDS = 600, 6000, 9


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="the other checkout")
    before = parser.parse_args(argv).before
    models.make_models()
    usual = job_of(IMAGES)
    if before is not None:
        now = Entry("contenders.ours", usual, IMAGES)
        print_ratio("before", {"now": now, "before": replace(now, checkout=before.resolve())})
        return
    print_ratio(
        "classify",
        {
            "classify_image": Entry("contenders.ours", usual, IMAGES),
            "plain loop": Entry("contenders.loop", usual, IMAGES),
        },
    )
    tiny = replace(
        usual,
        dataset=str(dataset(TINY_WH, TINY_IMAGES)),
        model=str(ROOT / "models" / "demo-embedder"),
        task="embed",
    )
    print_ratio(
        "udf",
        {
            name: Entry(
                "contenders.embed_small",
                replace(tiny, options={"arrow_native": arrow_native}),
                TINY_IMAGES,
            )
            for name, arrow_native in (("Arrow-native UDF", True), ("pandas UDF", False))
        },
    )


def print_ratio(name: str, entries: Mapping[str, Entry]) -> None:
    """Medians, and the ratio round by round: its median and spread."""
    rates = race(f"quick-{name}", entries, ROUNDS).images_per_s
    top, bottom = entries
    found = ratio(rates, top, bottom, None)
    medians = ", ".join(f"{one} {rate:.1f}" for one, rate in found.images_per_s.items())
    print(
        f"{medians} images/s (medians); {top} / {bottom}: median {found.median:.3f}, from "
        f"{min(found.rounds):.3f} to {max(found.rounds):.3f} ({ROUNDS} rounds)",
        flush=True,
    )


if __name__ == "__main__":
    main()
