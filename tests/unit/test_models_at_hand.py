"""Every model at hand, the repository's, others' and those that packages ship: none is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import models_at_hand as at_hand
from benchmarks.models_at_hand import CASES, Outcome, counts, outcome, outcomes, table

pytest.importorskip("tensorflow")

DEMO = next(case for case in CASES if case.name == "models/demo-classifier")
NSFW = next(case for case in CASES if case.name.startswith("opennsfw"))


def test_no_model_at_hand_is_wrong() -> None:
    rows = list(outcomes())

    assert [row for row in rows if row.verdict == "wrong"] == []
    # Those that are read, and what no reading of this library is for.
    refused = {row.name.partition(": ")[2] for row in rows if row.verdict == "refused"}
    assert refused == {
        "face_landmark_with_attention.tflite",
        "iris_landmark.tflite",
        "hand_recrop.tflite",
        "captcha_crnn.onnx",
        "ch_PP-OCRv4_det_infer.onnx",
        "ch_PP-OCRv4_rec_infer.onnx",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    }
    assert {row.verdict for row in rows} == {"right", "refused"}


def test_a_model_that_does_not_give_its_references_answer_is_wrong() -> None:
    def other(path: Path, image: Image.Image) -> dict[str, Any]:
        return {"scores": np.full(8, 1 / 8)}

    row = outcome(dataclasses.replace(DEMO, reference=other))

    assert row.verdict == "wrong"


def test_a_field_that_is_neither_right_nor_asked_for_is_wrong() -> None:
    said = {**NSFW.said, "input_hw": (299, 299)}

    row = outcome(dataclasses.replace(NSFW, said=said))

    assert (row.verdict, row.difference) == ("wrong", "input_hw is (224, 224)")


def test_a_known_model_of_another_task_is_wrong() -> None:
    case = next(case for case in CASES if case.name.endswith("palm_detection_lite.tflite"))

    row = outcome(dataclasses.replace(case, task="classify"))

    assert (row.verdict, row.difference) == ("wrong", "another task")


def test_the_table_counts_how_models_end() -> None:
    rows = [
        Outcome("a", "detect", "known: x | y", "scores 0", "right"),
        Outcome("b", "–", "refused: no", "", "refused"),
    ]

    assert counts(rows) == "2 models: 1 right, 1 refused, 0 wrong."
    lines = table(rows).splitlines()
    assert lines[2] == "| a | detect | known: x \\| y | scores 0 | right |"
    assert counts([]) == "0 models: 0 right, 0 refused, 0 wrong."


def test_the_documentation_has_the_table_of_the_models_that_are_read() -> None:
    text = at_hand.DOCS.read_text(encoding="utf-8")
    made = text.partition(at_hand.BEGIN)[2].partition(at_hand.END)[0]

    assert [line.split(" | ")[0].strip("| ") for line in made.splitlines() if ": " in line][
        :-1
    ] == [case.name for case in CASES if ": " in case.name]
    assert made.strip().endswith("0 wrong.")
