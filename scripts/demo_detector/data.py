"""Drawn pictures as arrays for training, and as a caller will have them for the evaluation."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from PIL import Image

from demo_detector.average_precision import Boxes
from pyspark_vision.clients import scenes

# Seeds of the pictures. The ranges must not meet: what is measured was never trained on.
TRAINING_SEEDS = range(1_000_000)
EVALUATION_SEEDS = range(2_000_000, 3_000_000)

# Training pictures are drawn small, which takes a third of the time; evaluation pictures are not.
_TRAINING_WH = (320, 240)
_EVALUATION_WH = (640, 480)

# From this longer side on (of the picture's) an object is for the coarse level: about two and a
# half of its cells, so that both levels get their share.
_COARSE_FROM = 0.26

Truth = TypeVar("Truth")


def model_input(image: Image.Image, side: int) -> np.ndarray:
    """The picture stretched to ``(side, side, 3)`` uint8, as the library does it."""
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def scene_arrays(seed: int, side: int, size_wh: tuple[int, int]) -> tuple[np.ndarray, Boxes]:
    """A scene as model input, and its true boxes in [0, 1]."""
    image, objects = scenes.draw_scene(seed, size_wh)
    xyxy = np.array([drawn.xyxy for drawn in objects], np.float32).reshape(-1, 4)
    class_ids = np.array([scenes.LABELS.index(drawn.label) for drawn in objects], np.int64)
    return model_input(image, side), Boxes(xyxy, class_ids, np.ones(len(objects), np.float32))


def single_arrays(seed: int, side: int, size_wh: tuple[int, int]) -> tuple[np.ndarray, int]:
    """A picture with one dominant object as model input, and its class id."""
    image, subject = scenes.draw_single(seed, size_wh)
    return model_input(image, side), scenes.LABELS.index(subject.label)


def training_scenes(seeds: Iterable[int], side: int) -> tuple[np.ndarray, list[Boxes]]:
    """``(S, side, side, 3)`` uint8 scenes and their boxes, drawn by two processes."""
    pictures, truths = _draw(partial(scene_arrays, side=side, size_wh=_TRAINING_WH), seeds)
    return np.stack(pictures), truths


def evaluation_scenes(seeds: Iterable[int], side: int) -> tuple[np.ndarray, list[Boxes]]:
    """As ``training_scenes``, but drawn at the size of a camera's frame."""
    pictures, truths = _draw(partial(scene_arrays, side=side, size_wh=_EVALUATION_WH), seeds)
    return np.stack(pictures), truths


def training_singles(seeds: Iterable[int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """``(S, side, side, 3)`` uint8 pictures of one object and their class ids ``(S,)``."""
    pictures, class_ids = _draw(partial(single_arrays, side=side, size_wh=_TRAINING_WH), seeds)
    return np.stack(pictures), np.array(class_ids)


def evaluation_singles(seeds: Iterable[int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """As ``training_singles``, but drawn at the size of a camera's frame."""
    pictures, class_ids = _draw(partial(single_arrays, side=side, size_wh=_EVALUATION_WH), seeds)
    return np.stack(pictures), np.array(class_ids)


def cell_targets(truth: Boxes, cells: np.ndarray) -> np.ndarray:
    """What each cell of the detector should say: ``(N, 5)`` box in xyxy and class id, -1 for none.

    An object belongs to the fine or the coarse level by its longer side, and there to the cells
    around its centre. Where two objects want a cell, the smaller one has it.

    Args:
        truth: the boxes of one picture, in [0, 1].
        cells: ``(N, 3)`` centre x, y and side of each cell, as ``network.cell_centres`` gives them.
    """
    targets = np.zeros((len(cells), 5), np.float32)
    targets[:, 4] = -1
    sides = truth.xyxy[:, 2:] - truth.xyxy[:, :2]
    for index in np.argsort(-sides.prod(axis=1)):
        xyxy, side_wh = truth.xyxy[index], sides[index]
        level = cells[:, 2].min() if side_wh.max() < _COARSE_FROM else cells[:, 2].max()
        # At least the cell that holds the centre, at most the three by three around it.
        reach = np.clip(side_wh / 2, 0.51 * level, 1.5 * level)
        near = (np.abs(cells[:, :2] - (xyxy[:2] + xyxy[2:]) / 2) < reach).all(axis=1)
        targets[near & (cells[:, 2] == level)] = [*xyxy, truth.class_ids[index]]
    return targets


def mirrored(targets: np.ndarray, grids: Sequence[int]) -> np.ndarray:
    """``cell_targets`` of the mirrored picture; ``grids`` are the cells in a row of each level."""
    flipped = targets[:, [2, 1, 0, 3, 4]]
    flipped[:, [0, 2]] = 1.0 - flipped[:, [0, 2]]
    levels = np.split(flipped, np.cumsum([cells * cells for cells in grids])[:-1])
    rows = [
        level.reshape(cells, cells, 5)[:, ::-1] for level, cells in zip(levels, grids, strict=True)
    ]
    return np.concatenate([row.reshape(-1, 5) for row in rows])


def _draw(
    draw: Callable[[int], tuple[np.ndarray, Truth]], seeds: Iterable[int]
) -> tuple[list[np.ndarray], list[Truth]]:
    # "spawn": a fork of a process that has TensorFlow's threads may never come back.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.map(draw, seeds, chunksize=64)
    return [picture for picture, _ in drawn], [truth for _, truth in drawn]
