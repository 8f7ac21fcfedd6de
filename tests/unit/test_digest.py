"""The identity of a model is all that changes its answers, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from pyspark_vision.bundles import digest
from pyspark_vision.bundles.proof import Proof
from pyspark_vision.bundles.spec import ModelFile, ModelSpec

FILE = ModelFile("litert", "tflite", "m.tflite", "a" * 64, "in", (("embedding", "out"),))
SPEC = ModelSpec("m", "embed", (FILE,), (32, 48))

# Each field of a spec, with another value: what changes answers, and what does not.
CHANGES: dict[str, Any] = {
    "task": None,  # the outputs' roles change with it
    "input_hw": (64, 48),
    "precision": None,  # below
    "input_layout": "NCHW",
    "input_dtype": "uint8",
    "color_order": "bgr",
    "normalization": "torch",
    "resize": "letterbox",
    "resize_filter": "bicubic",
    "pad_value": 114,
    "pixel_scale": 0.5,
    "mean": (0.5,),
    "std": (1.0, 2.0, 3.0),
    "input_scale": 0.5,
    "input_zero_point": 3,
    "resize_edge": 64,
    "crop_rounding": "floor",
    "letterbox_anchor": "top_left",
    "letterbox_rounding": "floor",
    "anchors": (1.0, 2.0),
    "anchor_layers": ((8, (16.0,), (1.0,)),),
    "anchor_clip": True,
    "anchor_variances": (0.1, 0.1, 0.1, 0.1),
    "anchor_sides": "linear",
    "suppression": "weighted",
    "iou_threshold": 0.3,
    "score_kind": "logit",
    "pooling": "mean",
    "logit_scale": 100.0,
    "logit_bias": -10.0,
    "background_class": 0,
    "box_format": "xyxy",
    "coordinates": "pixel",
    "keypoint_names": ("nose",),
    "keypoint_format": "yxs",
    "label_offset": 1,
    "labels": ((0, "cat"),),
}
KEEPS: dict[str, Any] = {
    "name": "other",
    "files": None,  # below
    "engine": "litert",  # what runs is the same
    "fixed_batch": 4,
    "stride": 8,
    "batched_outputs": False,
    "licence": "MIT",
    "source": "somewhere",
    "root": "/elsewhere",
    "on_every_node": True,
    "proof": Proof("r.npz", "", 1, "", 0.1, 0.0, None, 1.0, "", "2026-01-01", ()),
}
OF_POINTS = {"task": "keypoints", "files": (replace(FILE, outputs=(("keypoints", "points"),)),)}
# What else a field needs to be valid, and another value of itself where none is not.
NEEDED: dict[str, dict[str, Any]] = {
    **{name: {"normalization": "values"} for name in ("pixel_scale", "mean", "std")},
    "input_scale": {"input_dtype": "int8"},
    "logit_scale": {"task": "dual_encoder", "score_kind": "logit"},
    "logit_bias": {"task": "dual_encoder", "score_kind": "sigmoid"},
    "resize_edge": {"resize": "shortest_edge", "resize_edge": 48},
    **dict.fromkeys(("keypoint_names", "keypoint_format"), OF_POINTS),
}
FILE_CHANGES: dict[str, Any] = {
    "engine": "tensorflow",
    "sha256": "b" * 64,
    "input_tensor": "other",
    "outputs": (("embedding", "pooled"),),
    "signature": "serve",
    "layer": "fc2",
    "precision": None,  # chosen by the spec's
}
FILE_KEEPS: dict[str, Any] = {"path": "other.tflite", "format": None}


def test_each_field_is_known_to_change_answers_or_not() -> None:
    assert {field.name for field in dataclasses.fields(ModelSpec)} == {*CHANGES, *KEEPS}
    assert {field.name for field in dataclasses.fields(ModelFile)} == {*FILE_CHANGES, *FILE_KEEPS}


@pytest.mark.parametrize("name", [name for name, value in CHANGES.items() if value is not None])
def test_what_changes_answers_is_another_digest(name: str) -> None:
    base = replace(SPEC, **NEEDED.get(name, {}))

    assert replace(base, **{name: CHANGES[name]}).digest != base.digest


@pytest.mark.parametrize("name", [name for name, value in KEEPS.items() if value is not None])
def test_what_changes_no_answer_is_the_same_digest(name: str) -> None:
    assert replace(SPEC, **{name: KEEPS[name]}).digest == SPEC.digest


@pytest.mark.parametrize("name", [n for n, value in FILE_CHANGES.items() if value is not None])
def test_what_of_the_file_changes_answers_is_another_digest(name: str) -> None:
    file = replace(FILE, **{name: FILE_CHANGES[name]})

    assert replace(SPEC, files=(file,)).digest != SPEC.digest


def test_a_file_elsewhere_is_the_same_digest() -> None:
    assert replace(SPEC, files=(replace(FILE, path="b/c.tflite"),)).digest == SPEC.digest


def test_the_engine_that_runs_counts_and_twins_that_do_not_run_do_not() -> None:
    original = ModelFile("tensorflow", "keras", "m.keras", "c" * 64, "in", (("embedding", "o"),))
    both = replace(SPEC, files=(original, FILE))

    assert both.digest == SPEC.digest
    assert replace(both, engine="tensorflow").digest != SPEC.digest


def test_the_precision_counts_and_what_this_processor_makes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = {SPEC.digest}
    for native in (True, False):
        monkeypatch.setattr(digest, "has_bf16", lambda native=native: native)
        digest.digest.cache_clear()
        digests.add(replace(SPEC, precision="bf16").digest)

    assert len(digests) == 3


def test_a_digest_is_the_same_in_each_process_and_for_each_version_of_this_library() -> None:
    code = (
        "from pyspark_vision.bundles.spec import ModelFile, ModelSpec\n"
        f"print(ModelSpec({SPEC.name!r}, 'embed', ({FILE!r},), (32, 48)).digest)"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()

    assert elsewhere == SPEC.digest
    # Written down: a digest that changes makes outputs of before another model's.
    assert SPEC.digest == "5ee490c9cb423133e7b089caef261b4034b1da7c823e1b1e394e9079158703d0"


def test_differences_are_said_in_words() -> None:
    other = replace(SPEC, resize="letterbox", input_hw=(64, 48))
    before = json.loads(json.dumps(digest.identity(SPEC)))

    assert digest.differences(before, digest.identity(other)) == (
        "input_hw was [32, 48], is [64, 48], resize was stretch, is letterbox"
    )
