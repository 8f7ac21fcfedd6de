"""The folders of the demo models: what makes a bundle of each, and its card."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from demo_detector.evaluation import (
    DEFAULT_THRESHOLD,
    NMS_IOU,
    ClassifierReport,
    DetectorReport,
    EmbedderReport,
)
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients.scenes import LABELS

_COMMON = """
## Data

Drawn pictures only (`pyspark_vision.clients.scenes`): {labels},
before landscapes, rooms, soft patches or clutter, with uneven light, colour casts, shadows, blur
and noise, and with bare circles, rectangles, triangles, rings and lines as look-alikes that are no
object. No photograph and nobody's data is in it. The pictures measured come from seeds that were
never trained on, drawn at 640x480 and stretched to the model's size with Pillow's BILINEAR, as the
library does it; the exported file was run through LiteRT on one thread.

## Limits

It knows these drawings and nothing else; it says nothing of use about photographs. It is here so
that a first run, a demonstration and a test have a real model with known answers.

## Licence

The same as the project's: weights, labels and pictures were all made by its own code.
"""


def write_bundle(folder: Path, task: str, card: str) -> None:
    """Make a bundle of ``model.tflite``: ``model.json``, labels where it has classes, the card."""
    spec = ModelSpec.inspect(
        folder / "model.tflite",
        task=task,
        labels=None if task == "embed" else LABELS,
        name=folder.name,
        licence="the project's own",
        source="scripts/train_demo_detector.py",
        accept=True,
    )
    spec.save(folder)
    (folder / "CARD.md").write_text(card, encoding="utf-8")


def detector_card(report: DetectorReport, side: int, provenance: str) -> str:
    """The card of the detector, with what was measured."""
    rows = zip(LABELS, report.average_precisions, report.precisions, report.recalls, strict=True)
    return _card(
        "demo-detector",
        "Finds eight kinds of drawn objects.\n\n"
        f"- input `image` [1, {side}, {side}, 3]: float32 RGB 0..255, stretched to the size\n"
        "- output `boxes` [1, N, 4]: ymin, xmin, ymax, xmax in [0, 1]\n"
        "- output `class_scores` [1, N, 8]: independent scores in [0, 1]; class ids are the line\n"
        "  numbers of `labels.txt`, from 0\n\n"
        f"There is no NMS in the model: apply it for each class (IoU {NMS_IOU}).",
        provenance,
        f"{report.scenes} scenes, {report.objects} objects; "
        f"{report.milliseconds:.1f} ms a picture.\n\n"
        f"- mAP at IoU 0.5: **{report.mean_average_precision:.3f}** (all-point interpolation)\n"
        f"- mAP at IoU 0.75: {report.mean_average_precision_75:.3f}\n"
        f"- at the threshold {DEFAULT_THRESHOLD}: precision {report.precision:.3f}, "
        f"recall {report.recall:.3f}\n\n"
        + _table(
            (
                "class",
                "AP at 0.5",
                f"precision at {DEFAULT_THRESHOLD}",
                f"recall at {DEFAULT_THRESHOLD}",
            ),
            rows,
        ),
    )


def classifier_card(report: ClassifierReport, side: int, provenance: str) -> str:
    """The card of the classifier, with what was measured."""
    return _card(
        "demo-classifier",
        "Names the one drawn object of a picture.\n\n"
        f"- input `image` [1, {side}, {side}, 3]: float32 RGB 0..255, stretched to the size\n"
        "- output `scores` [1, 8]: probabilities that sum to 1; class ids are the line numbers of\n"
        "  `labels.txt`, from 0",
        provenance,
        f"{report.pictures} pictures of one object each; "
        f"{report.milliseconds:.1f} ms a picture.\n\n"
        f"- accuracy: **{report.accuracy:.3f}**\n\n"
        + _table(("class", "recall"), zip(LABELS, report.recalls, strict=True)),
    )


def embedder_card(report: EmbedderReport, side: int, provenance: str) -> str:
    """The card of the embedder, with what was measured."""
    return _card(
        "demo-embedder",
        "Turns a picture of an object into a direction; pictures of alike things point alike.\n\n"
        f"- input `image` [1, {side}, {side}, 3]: float32 RGB 0..255, stretched to the size\n"
        f"- output `embedding` [1, {report.size}]: of length 1, to be compared by the dot product",
        provenance,
        f"{report.pictures} pictures of one object each; "
        f"{report.milliseconds:.1f} ms a picture.\n\n"
        f"- the nearest other picture shows the same class: **{report.nearest_same_class:.3f}**\n"
        f"- of the nearest ten, show the same class: {report.nearest_ten_same_class:.3f}\n"
        f"- mean cosine within a class {report.cosine_within:.3f}, "
        f"between classes {report.cosine_between:.3f}",
    )


def _card(name: str, what: str, provenance: str, measured: str) -> str:
    common = _COMMON.format(labels=", ".join(LABELS))
    how = f"## How it was made\n\n{provenance}"
    return f"# {name}\n\n{what}\n\n{how}\n\n## Measured\n\n{measured}\n{common}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for label, *values in rows:
        lines.append(f"| {label} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return "\n".join(lines)
