"""timm's config.json beside an ONNX export: the preparation of its evaluation, task and labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import save_classifier, save_constant
from PIL import Image
from published import CLIP_MEAN, CLIP_STD, normalized, picture, short_side

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.preprocess import Preprocessor

CONFIG: dict[str, Any] = {
    "architecture": "resnet50",
    "num_classes": 3,
    "num_features": 2048,
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
        "mean": list(CLIP_MEAN),
        "std": list(CLIP_STD),
    },
    "label_names": ["cat", "dog", "bird"],
}


def saved(folder: Path, record: Any = CONFIG, shape: Any = ("batch", 3, "h", "w")) -> Path:
    (folder / "config.json").write_text(json.dumps(record))
    return save_classifier(folder / "resnet50.onnx", shape)


def changed(**fields: Any) -> dict[str, Any]:
    return {**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], **fields}}


@pytest.mark.parametrize(
    ("crop_pct", "mode", "interpolation", "resample"),
    [
        (0.9, "center", "bicubic", Image.Resampling.BICUBIC),
        (0.875, "center", "bilinear", Image.Resampling.BILINEAR),
        (1.0, "center", "lanczos", Image.Resampling.LANCZOS),
        (0.9, "squash", "bicubic", Image.Resampling.BICUBIC),
        (1.0, "squash", "nearest", Image.Resampling.NEAREST),
    ],
)
def test_the_input_is_that_of_timms_evaluation(
    crop_pct: float,
    mode: str,
    interpolation: str,
    resample: Image.Resampling,
    tmp_path: Path,
) -> None:
    """``transforms_imagenet_eval``; ``CenterCrop`` is torchvision's."""
    record = changed(crop_pct=crop_pct, crop_mode=mode, interpolation=interpolation)
    proposal = propose_model(saved(tmp_path, record))
    assert proposal.open_fields == []
    edge = math.floor(32 / crop_pct)
    preprocessor = Preprocessor(proposal.spec)
    batch = preprocessor.empty_batch(1)

    for image in map(picture, [(1, 1), (64, 48), (67, 41), (41, 67), (32, 32)]):
        preprocessor.fill(batch, 0, image)

        resized = image.resize((edge, edge), resample)
        if mode == "center":
            resized = short_side(image, edge, resample)
        top, left = round((resized.height - 32) / 2.0), round((resized.width - 32) / 2.0)
        crop = np.asarray(resized)[top : top + 32, left : left + 32]
        expected = normalized(crop, CLIP_MEAN, CLIP_STD).transpose(2, 0, 1)
        np.testing.assert_allclose(batch[0], expected, atol=1e-5, err_msg=f"{image}")


def test_task_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    proposal = propose_model(saved(tmp_path))

    assert proposal.verdict == "known: timm's resnet50 by config.json"
    assert (proposal.spec.task, proposal.spec.score_kind) == ("classify", "logit")
    assert proposal.spec.labels == ((0, "cat"), (1, "dog"), (2, "bird"))
    # The folder says as much.
    assert propose_model(tmp_path).spec.with_options(name="resnet50", source="") == (
        proposal.spec.with_options(source="")
    )


def test_a_file_of_before_has_its_fields_at_the_top(tmp_path: Path) -> None:
    record = {**CONFIG, **CONFIG["pretrained_cfg"]}
    del record["pretrained_cfg"]

    assert propose_model(saved(tmp_path, record)).open_fields == []


def test_a_model_without_its_head_gives_embeddings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "num_classes": 0}))
    save_constant(tmp_path / "m.onnx", {"output": [[1.0, 2, 3, 4]]}, ("batch", 3, 32, 32))

    proposal = propose_model(tmp_path)

    assert (proposal.spec.task, proposal.open_fields) == ("embed", [])


def test_the_size_of_timms_tests_is_known_too(tmp_path: Path) -> None:
    record = changed(test_input_size=[3, 40, 40], test_crop_pct=1.0)

    spec = propose_model(saved(tmp_path, record, (1, 3, 40, 40))).spec

    assert (spec.input_hw, spec.resize_edge) == ((40, 40), 40)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"crop_mode": "border"}, "resize"),
        ({"input_size": [3, 32, 40]}, "resize"),
        ({"interpolation": "random"}, "resize_filter"),
    ],
)
def test_what_has_no_field_of_ours_is_a_proposal(
    fields: dict[str, Any], name: str, tmp_path: Path
) -> None:
    assert propose_model(saved(tmp_path, changed(**fields))).open_fields == [name]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"crop_pct": 1.5}, "crop_pct 1.5 is not within 0..1"),
        ({"input_size": [3, "x", 1]}, "is no usual config of timm"),
        ({"input_size": [3, 48, 48]}, r"says 48x48, and the model takes 32x32"),
        ({"std": [0, 1, 1]}, r"std=\(0.0, 1.0, 1.0\) is not one number above 0"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, changed(**fields), ("batch", 3, 32, 32))

    with pytest.raises(InvalidModelError, match=said):
        propose_model(path)
