"""Trains the demo network: backbone and detector on scenes, then the rest on single objects."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from demo_detector import data, network
from demo_detector.input_sides import CLASSIFIER_SIDE, DETECTOR_SIDE
from pyspark_vision.clients.scenes import LABELS

# Small batches: in a short training the number of steps counts.
_BATCH = 16
_PEAK_RATE = 2e-3


def train_detector(scenes: int, epochs: int, seed: int) -> tuple[keras.Model, keras.Model]:
    """Draw ``scenes`` scenes, train on them ``epochs`` times; the backbone and the detector."""
    pictures, truths = data.training_scenes(data.TRAINING_SEEDS[:scenes], DETECTOR_SIDE)
    print(
        f"{scenes} scenes with {sum(len(truth.class_ids) for truth in truths)} objects drawn",
        flush=True,
    )
    cells = network.cell_centres()
    targets = np.stack([data.cell_targets(truth, cells) for truth in truths])

    backbone = network.build_backbone()
    detector = network.build_detector(backbone, len(LABELS))
    steps = scenes // _BATCH
    # XLA makes the step four times slower on a CPU.
    detector.compile(_optimizer(steps * epochs), loss=network.detection_loss, jit_compile=False)
    batches = _mirrored_batches(pictures, targets, np.random.default_rng(seed))
    detector.fit(batches, steps_per_epoch=steps, epochs=epochs, verbose=2)
    return backbone, detector


def train_classifier(
    backbone: keras.Model, pictures: int, epochs: int
) -> tuple[keras.Model, keras.Model]:
    """Train embedding and classes on the backbone as it is; the embedder and the classifier."""
    images, class_ids = data.training_singles(data.TRAINING_SEEDS[:pictures], CLASSIFIER_SIDE)
    backbone.trainable = False
    embedder = network.build_embedder(backbone)
    classifier = network.build_classifier(embedder, len(LABELS))
    classifier.compile(
        _optimizer(len(images) // _BATCH * epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    classifier.fit(images, class_ids, batch_size=_BATCH, epochs=epochs, verbose=2)
    return embedder, classifier


def _optimizer(steps: int) -> keras.optimizers.Optimizer:
    warmup = max(1, min(200, steps // 10))
    rate = keras.optimizers.schedules.CosineDecay(
        _PEAK_RATE / 30, steps - warmup, alpha=0.01, warmup_target=_PEAK_RATE, warmup_steps=warmup
    )
    # The average of the last weights measures better than the last weights.
    return keras.optimizers.AdamW(rate, weight_decay=1e-3, use_ema=True, ema_momentum=0.995)


def _mirrored_batches(
    pictures: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end, every picture once an epoch, half of them mirrored left to right."""
    grids = [DETECTOR_SIDE // stride for stride in network.STRIDES]
    whole_batches = len(pictures) // _BATCH * _BATCH
    while True:
        for chosen in rng.permutation(len(pictures))[:whole_batches].reshape(-1, _BATCH):
            images, wanted = pictures[chosen], targets[chosen]
            for index in np.flatnonzero(rng.uniform(size=_BATCH) < 0.5):
                images[index] = images[index, :, ::-1]
                wanted[index] = data.mirrored(wanted[index], grids)
            yield images, wanted
