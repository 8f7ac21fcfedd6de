"""Draw pictures, train the three demo models, measure the exported files, write models/demo-*.

python scripts/train_demo_detector.py                  # minutes: see the models' cards
python scripts/train_demo_detector.py --evaluate-only  # measures the models that are there
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # from a bare checkout, PYTHONSAFEPATH or not
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from demo_detector import bundle, evaluation  # noqa: E402
from demo_detector.input_sides import CLASSIFIER_SIDE, DETECTOR_SIDE  # noqa: E402

DETECTOR, CLASSIFIER, EMBEDDER = "demo-detector", "demo-classifier", "demo-embedder"
TASKS = {DETECTOR: "detect", CLASSIFIER: "classify", EMBEDDER: "embed"}


def train(options: argparse.Namespace) -> None:
    """Train and write the three ``model.tflite`` below ``options.output``."""
    import keras  # here, because a measurement alone needs no TensorFlow
    from demo_detector import export, training

    keras.utils.set_random_seed(options.seed)
    backbone, detector = training.train_detector(options.scenes, options.epochs, options.seed)
    embedder, classifier = training.train_classifier(backbone, options.singles, options.epochs)
    # What took minutes to train must outlive a mistake in the seconds that follow.
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    for model in (detector, classifier):  # the classifier holds the embedder
        model.save_weights(options.checkpoints / f"{model.name}.weights.h5")
    export.export_detector(detector, options.output / DETECTOR / "model.tflite")
    export.export_classifier(classifier, options.output / CLASSIFIER / "model.tflite")
    export.export_embedder(embedder, options.output / EMBEDDER / "model.tflite")


def measure(models: Path, pictures: int, provenance: str) -> dict[str, str]:
    """The card of each model by its name, with what was measured on ``pictures`` pictures each."""
    detector = evaluation.evaluate_detector(
        models / DETECTOR / "model.tflite", DETECTOR_SIDE, pictures
    )
    classifier = evaluation.evaluate_classifier(
        models / CLASSIFIER / "model.tflite", CLASSIFIER_SIDE, pictures
    )
    embedder = evaluation.evaluate_embedder(
        models / EMBEDDER / "model.tflite", CLASSIFIER_SIDE, pictures
    )
    return {
        DETECTOR: bundle.detector_card(detector, DETECTOR_SIDE, provenance),
        CLASSIFIER: bundle.classifier_card(classifier, CLASSIFIER_SIDE, provenance),
        EMBEDDER: bundle.embedder_card(embedder, CLASSIFIER_SIDE, provenance),
    }


def how_made(options: argparse.Namespace, wall_s: float, cpu_s: float) -> str:
    """Command, time and environment of this training, for the cards."""
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")
    )
    return (
        f"`python scripts/train_demo_detector.py --seed {options.seed} --scenes {options.scenes} "
        f"--singles {options.singles} --epochs {options.epochs}`\n\n"
        f"Drawing, training and export took {wall_s / 60:.1f} minutes "
        f"on {os.cpu_count()} CPU cores "
        f"({cpu_s / 60:.1f} CPU-minutes), without a GPU:\n"
        f"Python {platform.python_version()}, {packages}.\n"
        "The three models share one backbone, trained with the detector; classifier and embedder\n"
        "train a layer or two on top of it. The seed fixes pictures and first weights, but not\n"
        "the order in which threads add numbers: another run comes out close, not equal."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train unless told not to, measure, print, and write the cards of what was trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "models", help="default: %(default)s")
    parser.add_argument(
        "--seed", type=int, default=1, help="of weights and order (default: %(default)s)"
    )
    parser.add_argument(
        "--scenes", type=int, default=16_000, help="for the detector (default: %(default)s)"
    )
    parser.add_argument(
        "--singles", type=int, default=6_000, help="for the classifier (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=3, help="over both (default: %(default)s)")
    parser.add_argument(
        "--pictures", type=int, default=1_000, help="to measure on (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=ROOT / "build" / "demo_detector",
        help="for the trained weights (default: %(default)s)",
    )
    parser.add_argument(
        "--evaluate-only", action="store_true", help="measure and print, train and write nothing"
    )
    options = parser.parse_args(argv)

    provenance = "Measured again; see the card in the model's folder."
    if not options.evaluate_only:
        started, started_cpu = time.perf_counter(), cpu_seconds()
        train(options)
        provenance = how_made(options, time.perf_counter() - started, cpu_seconds() - started_cpu)
    for name, card in measure(options.output, options.pictures, provenance).items():
        print(card)
        if not options.evaluate_only:
            bundle.write_bundle(options.output / name, TASKS[name], card)


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
