"""Drawn scenes: what a trainer, a demo and a camera simulator rely on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from pyspark_vision.clients import scenes
from pyspark_vision.clients.scenes.objects import DRAWINGS
from pyspark_vision.clients.scenes.pen import Pen

SMALL = (160, 120)
_ONE_CAR = 60  # the seed of a scene with one object, a car
_NOISY_EMPTY = 34  # the seed of a scene with nothing in it but noise


def test_the_same_seed_gives_the_same_bytes_and_boxes():
    first, first_objects = scenes.draw_scene(12, SMALL)
    second, second_objects = scenes.draw_scene(12, SMALL)
    assert first.tobytes() == second.tobytes()
    assert first_objects == second_objects


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    program = (
        "import zlib; from pyspark_vision.clients.scenes import draw_scene;"
        f"print(zlib.crc32(draw_scene(12, {SMALL})[0].tobytes()))"
    )
    prints = {subprocess.check_output([sys.executable, "-c", program]) for _ in range(2)}
    assert len(prints) == 1


def test_another_seed_gives_another_picture():
    assert scenes.draw_scene(1, SMALL)[0].tobytes() != scenes.draw_scene(2, SMALL)[0].tobytes()


@pytest.mark.parametrize("size_wh", [(640, 480), (160, 120), (97, 131)])
def test_the_picture_is_rgb_of_the_size_asked_for(size_wh):
    image, _ = scenes.draw_scene(5, size_wh)
    assert (image.mode, image.size) == ("RGB", size_wh)


def test_boxes_lie_inside_the_picture_and_have_an_area():
    for seed in range(60):
        for found in scenes.draw_scene(seed, SMALL)[1]:
            xmin, ymin, xmax, ymax = found.xyxy
            assert 0 <= xmin < xmax <= 1, (seed, found)
            assert 0 <= ymin < ymax <= 1, (seed, found)


def test_a_box_is_tight_to_the_pixels_that_an_object_changes(monkeypatch):
    """The same camera with and without its object differs inside the box, up to its edges."""
    scene = scenes.scene
    monkeypatch.setattr(scene, "apply_camera", lambda image, *rngs: image)
    width, height = 320, 240
    for seed, label in enumerate(scenes.LABELS):
        placed = scene._place(np.random.default_rng(seed), label, size=0.5, centre_xy=(0.5, 0.5))
        placed = dataclasses.replace(placed, shadow=0.0)
        image, (found,) = scene._render([placed], seed, 0, (width, height))
        empty, _ = scene._render([], seed, 0, (width, height))
        changed = (np.asarray(image) != np.asarray(empty)).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        xyxy = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # Half-transparent pixels of the outline may lie one pixel or two outside.
        np.testing.assert_allclose(
            np.array(found.xyxy) * [width, height, width, height], xyxy, atol=2.5, err_msg=label
        )


def test_every_label_is_drawn_and_no_other():
    seen = Counter(found.label for seed in range(80) for found in scenes.draw_scene(seed, SMALL)[1])
    assert set(seen) == set(scenes.LABELS)


def test_labels_are_in_alphabetical_order():
    assert list(scenes.LABELS) == sorted(scenes.LABELS)


def test_a_scene_has_at_most_six_objects_and_may_have_none():
    counts = {len(scenes.draw_scene(seed, SMALL)[1]) for seed in range(120)}
    assert min(counts) == 0
    assert max(counts) <= scenes.MAX_OBJECTS == 6


def test_boxes_do_not_depend_on_the_size_of_the_picture():
    for seed in range(8):
        small, large = (
            scenes.draw_scene(seed, (320, 240))[1],
            scenes.draw_scene(seed, (640, 480))[1],
        )
        assert [found.label for found in small] == [found.label for found in large]
        for one, other in zip(small, large, strict=True):
            np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.02)


def test_an_object_hidden_by_another_has_no_label():
    scene = scenes.scene
    rng = np.random.default_rng(0)
    fish = scene._place(rng, "fish", size=0.2, centre_xy=(0.5, 0.55))
    house = scene._place(rng, "house", size=0.9, centre_xy=(0.5, 0.5))
    _, behind = scene._render([fish, house], 0, 0, SMALL)
    _, before = scene._render([house, fish], 0, 0, SMALL)
    assert [found.label for found in behind] == ["house"]
    assert [found.label for found in before] == ["house", "fish"]


def test_frame_zero_is_the_still_scene():
    frame, objects = scenes.draw_frame(4, 0, SMALL)
    scene, scene_objects = scenes.draw_scene(4, SMALL)
    assert frame.tobytes() == scene.tobytes()
    assert objects == scene_objects


def test_objects_move_a_little_from_frame_to_frame_and_far_in_the_end():
    """Follows a scene's objects by label: no jump, but a way that a tracker can see."""
    centres = []
    for index in range(40):
        _, objects = scenes.draw_frame(_ONE_CAR, index, SMALL)
        (car,) = [found for found in objects if found.label == "car"]
        centres.append(((car.xyxy[0] + car.xyxy[2]) / 2, (car.xyxy[1] + car.xyxy[3]) / 2))
    steps = np.abs(np.diff(np.array(centres), axis=0)).max(axis=1)
    assert 0 < steps.max() < 0.03
    assert np.ptp(np.array(centres)[:, 0]) > 0.05


def test_noise_differs_from_frame_to_frame_where_nothing_moves():
    noisy = [scenes.draw_frame(_NOISY_EMPTY, index, SMALL)[0].tobytes() for index in range(2)]
    assert noisy[0] != noisy[1]


def test_a_single_picture_shows_one_dominant_object():
    for seed in range(20):
        image, subject = scenes.draw_single(seed, SMALL)
        xmin, ymin, xmax, ymax = subject.xyxy
        assert image.size == SMALL
        assert subject.label in scenes.LABELS
        assert (xmax - xmin) * (ymax - ymin) > 0.08
        assert xmin < 0.5 < xmax
        assert ymin < 0.5 < ymax


def test_a_single_picture_can_show_every_label():
    assert {scenes.draw_single(seed, SMALL)[1].label for seed in range(60)} == set(scenes.LABELS)


@pytest.mark.parametrize("label", scenes.LABELS)
def test_a_drawing_stays_within_its_own_square(label):
    """The room that the scene gives a drawing is a unit square, and a little for outlines."""
    for seed in range(10):
        pen = Pen(100, np.array([[40.0, 0.0, 50.0], [0.0, 40.0, 50.0]]), (0, 0, 0), 0.05)
        DRAWINGS[label](pen, np.random.default_rng(seed))
        _, opacity, (left, top) = pen.patch()
        assert min(left, top) >= 50 - 1.1 * 40
        assert max(left + opacity.width, top + opacity.height) <= 50 + 1.1 * 40


def test_scenes_import_neither_spark_nor_tensorflow():
    heavy = "{'pyspark', 'tensorflow'} & set(sys.modules)"
    program = f"import sys, pyspark_vision.clients.scenes; print(*{heavy})"
    assert subprocess.check_output([sys.executable, "-c", program]).strip() == b""
