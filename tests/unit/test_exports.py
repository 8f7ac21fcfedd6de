"""Exports whose outputs look like those of another task, or of another layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import save_constant
from proposals import answer

from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.heads import ClassifyOptions, EmbedOptions


def test_scores_without_an_axis_of_pictures_are_of_the_one_picture(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"output": np.array([0.2, 0.7, 0.1])})

    spec = inspect_model(path, normalization="unit")

    assert (spec.task, spec.batched_outputs, spec.fixed_batch) == ("classify", False, 1)
    value = answer(spec, ClassifyOptions(3, 0.0))
    assert value.class_ids.tolist() == [1, 0, 2]


def test_a_vector_without_an_axis_of_pictures_is_whole(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"features": np.arange(4) - 1.5})

    spec = inspect_model(path, "embed", normalization="unit")

    assert answer(spec, EmbedOptions(False)).tolist() == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_steps_of_a_text_reader_are_no_pictures(task: str, tmp_path: Path) -> None:
    """A CRNN gives ``(steps, pictures, characters)``: its first step is no answer."""
    path = save_constant(tmp_path / "m.onnx", {"output": np.full((40, 1, 97), 1 / 97)})

    with pytest.raises(InvalidModelError, match=r"one long axis, and the output has \[40, 1, 97\]"):
        inspect_model(path, task, accept=True)
