"""`bundle verify`: a bundle's answers beside its reference's, and the proof that it keeps."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import save_classifier, save_constant
from PIL import Image

from pyspark_vision.bundles.inspection import inspect_model
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.verification import verify
from pyspark_vision.cli import bundle
from pyspark_vision.errors import InvalidModelError, InvalidOptionError

Array = np.ndarray[Any, Any]
# The classifier's logits are the means of red, green and blue, times ten.
SCRIPT = """
import numpy as np

def reference(image):
    logits = 10 * (image.mean(axis=(0, 1)) / 255)
    shares = np.exp(logits - logits.max())
    return {"scores": shares / shares.sum()}
"""
COLORS = {"red.png": (200, 30, 40), "sub/green.png": (0, 200, 100)}
# In a picture of 128x64, of which the detector's 64x64 is a stretch: xyxy in pixels.
BOX = [32.0, 16.0, 96.0, 48.0]


def png(color: tuple[int, int, int], size_wh: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size_wh, color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name, color in COLORS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(color))
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    path = save_classifier(tmp_path / "means.onnx")
    spec = inspect_model(path, "classify", normalization="unit", score_kind="logit")
    return spec.save(tmp_path / "bundle")


@pytest.fixture
def detector(tmp_path: Path) -> ModelSpec:
    boxes = np.array([[[0.25, 0.25, 0.75, 0.75], [0.1, 0.1, 0.2, 0.2]]])
    outputs = {"boxes": boxes, "scores": [[0.9, 0.2]], "classes": [[1, 0]]}
    path = save_constant(tmp_path / "boxes.onnx", outputs)
    return inspect_model(path, normalization="unit", box_format="xyxy", accept=True)


def script(tmp_path: Path, text: str = SCRIPT) -> Path:
    path = tmp_path / "reference.py"
    path.write_text(text)
    return path


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    return bundle.run(parser.parse_args([str(argument) for argument in arguments]))


def npz(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def test_bundle_keeps_the_proof_and_says_it_where_it_is_used(
    classifier: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ModelSpec.load(classifier)
    assert before.verified == "not verified against a reference"

    code = run("verify", classifier, "--reference", script(tmp_path), "--images", pictures)

    out, err = capsys.readouterr()
    assert code == 0, err
    assert out.startswith("verified against reference.py on 20")
    assert "2 pictures, largest score difference" in out
    spec = ModelSpec.load(classifier)
    assert spec == before
    assert spec.digest == before.digest
    assert spec.verified == out.strip()
    proof = json.loads((classifier / "model.json").read_text())["proof"]
    assert proof["max_score_difference"] < 1e-5
    assert (proof["tolerance"], proof["pictures"], proof["top1_agreement"]) == (1e-3, 2, 1.0)
    assert proof["model_digest"] == spec.digest
    assert {"pyspark_vision", "python", "numpy", "pillow", "onnxruntime"} == set(proof["versions"])


def test_proof_says_nothing_of_other_settings(classifier: Path, tmp_path: Path) -> None:
    spec = ModelSpec.load(classifier)
    proof = verify(spec, script(tmp_path), {"a.png": png((9, 99, 199))}, 1e-3)
    proven = dataclasses.replace(spec, proof=proof)

    other = proven.with_options(resize="letterbox")

    assert proven.verified == str(proof)
    assert other.verified == "reference.py was compared with other settings, not with these"


def test_expected_answers_in_an_npz(classifier: Path, pictures: Path, tmp_path: Path) -> None:
    shares = {}
    for name, color in COLORS.items():
        exponents = np.exp(10 * np.array(color) / 255)
        shares[f"{name}/scores"] = exponents / exponents.sum()
    expected = npz(tmp_path / "expected.npz", shares)

    assert run("verify", classifier, "--reference", expected, "--images", pictures) == 0


def test_boxes_are_in_pixels_of_the_picture_and_below_the_weakest_nothing_is_asked(
    detector: ModelSpec, tmp_path: Path
) -> None:
    picture = {"a.png": png((1, 2, 3), (128, 64))}
    arrays = {"boxes": [BOX], "scores": [0.9], "classes": [1]}
    expected = {f"a.png/{name}": value for name, value in arrays.items()}

    proof = verify(detector, npz(tmp_path / "e.npz", expected), picture, 1e-3)

    assert proof.min_box_iou == pytest.approx(1, abs=1e-5)
    assert proof.pictures == 1


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"boxes": [BOX], "scores": [0.9], "classes": [0]}, "top-1 0.0% of 1 images"),
        ({"boxes": [BOX], "scores": [0.8], "classes": [1]}, "largest score difference 0.1"),
        (
            {"boxes": [[32, 16, 96, 40]], "scores": [0.9], "classes": [1]},
            "box IoU at least 0.75",
        ),
        # The model's second box, of 0.2, is above the weakest: the reference would have it.
        ({"boxes": [BOX, BOX], "scores": [0.9, 0.1], "classes": [1, 1]}, "IoU at least 0.00"),
        ({"boxes": np.empty((0, 4)), "scores": [], "classes": []}, "IoU at least 0.00"),
    ],
    ids=["class", "score", "box", "one more", "none"],
)
def test_a_model_that_disagrees_is_refused_with_the_figures(
    arrays: dict[str, Any], said: str, detector: ModelSpec, tmp_path: Path
) -> None:
    expected = {f"a.png/{name}": value for name, value in arrays.items()}

    with pytest.raises(InvalidModelError, match=rf"disagrees with .*{said}"):
        verify(
            detector,
            npz(tmp_path / "e.npz", expected),
            {"a.png": png((1, 2, 3), (128, 64))},
            1e-3,
        )


def test_embeddings_are_compared_by_their_direction(tmp_path: Path) -> None:
    path = save_constant(tmp_path / "m.onnx", {"embedding": [[3.0, 4.0]]})
    spec = inspect_model(path, "embed", normalization="unit")
    picture = {"a.png": png((1, 2, 3))}

    proof = verify(spec, npz(tmp_path / "e.npz", {"a.png/embedding": [30, 40]}), picture, 1e-6)

    assert proof.max_score_difference < 1e-6
    with pytest.raises(InvalidOptionError, match="has 3 numbers, and the model gives 2"):
        verify(spec, npz(tmp_path / "e.npz", {"a.png/embedding": [1, 2, 3]}), picture, 1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "it has no function reference(image)"),
        ("def reference(image): return 1", "gave a int, not a dictionary of arrays"),
        ("def reference(image): raise OSError('no\\nweights')", "OSError: no weights"),
        ("def reference(:", "SyntaxError"),
        ("def reference(image): return {'probs': [1]}", "has probs; for task 'classify' it needs"),
        ("def reference(image): return {'scores': [1]}", "has 1 numbers, and the model gives 3"),
    ],
)
def test_a_script_that_fails_is_one_line(
    text: str,
    said: str,
    classifier: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("verify", classifier, "--reference", script(tmp_path, text), "--images", pictures)

    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert last.startswith("pyspark-vision bundle: ")
    assert said in last
    assert "proof" not in json.loads((classifier / "model.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{bundle}", "--reference", "none.py"], "--reference none.py is not a file"),
        (["{bundle}", "--reference", "{pictures}/red.png"], "is neither a .npz nor a .py file"),
        (["{pictures}", "--reference", "{script}"], "is no bundle's folder"),
        (["{bundle}", "--reference", "{other}"], "needs --images"),
        (
            ["{bundle}", "--reference", "{other}", "--images", "{pictures}"],
            "has answers to blue.png, which --images has not",
        ),
        (
            ["{bundle}", "--reference", "{unnamed}", "--images", "{pictures}"],
            "must name its arrays PICTURE/NAME",
        ),
        (["{bundle}", "--reference", "{script}", "--tolerance", "-1"], "--tolerance -1 is below 0"),
        (
            ["{bundle}", "--reference", "{script}", "--images", "{broken}"],
            "--images: broken.png cannot be read",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    arguments: list[str],
    said: str,
    classifier: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken.png").write_bytes(b"no picture")
    places = {
        "bundle": classifier,
        "pictures": pictures,
        "script": script(tmp_path),
        "other": npz(tmp_path / "other.npz", {"blue.png/scores": [1, 0, 0]}),
        "unnamed": npz(tmp_path / "unnamed.npz", {"scores": [1, 0, 0]}),
        "broken": tmp_path / "broken",
    }

    assert run("verify", *(word.format(**places) for word in arguments)) == 2

    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_bundle_that_cannot_be_written_is_one_line(
    classifier: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(spec: ModelSpec, folder: str) -> None:
        raise OSError(28, "No space left on device", f"{folder}/model.json")

    monkeypatch.setattr(ModelSpec, "save", full)

    assert run("verify", classifier, "--reference", script(tmp_path), "--images", pictures) == 2

    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"pyspark-vision bundle: {classifier}/model.json: No space left on device"


def test_a_damaged_proof_is_refused(classifier: Path) -> None:
    record = json.loads((classifier / "model.json").read_text())
    record["proof"] = {"reference": "r.npz"}
    (classifier / "model.json").write_text(json.dumps(record))

    with pytest.raises(InvalidModelError, match="does not describe a model"):
        ModelSpec.load(classifier)
