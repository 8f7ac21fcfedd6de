"""`pyspark-vision bundle`: what it prints, what it saves, what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

import keras
import tensorflow_models as models
from PIL import Image

from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.twin import with_twin
from pyspark_vision.cli import bundle
from pyspark_vision.errors import InvalidOptionError


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    return bundle.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_keras(tmp_path_factory.mktemp("model") / "small.keras")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("red\ngreen\nblue\ngrey\n")
    return path


def test_inspect_shows_what_was_found_proposed_given_and_unsure(
    model: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", model, "--labels", labels, "--set", "resize=letterbox") == 0
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"model {model} (keras)"
    assert lines[1] == "runs on tensorflow: tensorflow runs the model's keras file"
    for line in (
        "input image [-1, 8, 8, 3] float32",
        "output scores [-1, 4] float32 -> scores",
        "task classify",
        "input_hw (8, 8)",
        "resize letterbox given",
        "normalization none unsure",
        "labels 4 (0 red, 1 green, 2 blue, …)",
    ):
        assert line in lines
    assert "--set normalization=none | unit | tf | caffe | torch" in out
    assert err == f"reading {model} …\n"


def test_build_saves_a_bundle_with_a_twin_and_prints_the_agreement(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    assert (
        run("build", model, "--accept", "--labels", labels, "--name", "colours", "--output", output)
        == 0
    )
    out, err = capsys.readouterr()
    assert "agreement: top-1 100.0% of 16 images, largest score difference" in out
    assert f"bundle: {output} (keras, tflite)" in out
    assert "converting small.keras to LiteRT …\nrunning both engines on 16 sample images …" in err
    spec = ModelSpec.load(output)
    assert (spec.name, spec.file.engine) == ("colours", "litert")
    assert spec.labels == ((0, "red"), (1, "green"), (2, "blue"), (3, "grey"))
    assert sorted(path.name for path in output.iterdir()) == [
        "labels.txt",
        "model.json",
        "small.keras",
        "small.tflite",
    ]


def test_build_refuses_a_proposal_and_names_what_is_open(
    model: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"

    assert run("build", model, "--labels", labels, "--output", output) == 2

    said = capsys.readouterr().err.splitlines()[-1]
    assert "is only a proposal: scores [-1, 4]: one long axis" in said
    assert "--set normalization=none | unit | tf | caffe | torch" in said
    assert "or --accept" in said
    assert not output.exists()


@pytest.mark.slow
def test_build_of_a_detector_prints_the_box_iou(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = models.save_frozen_detector(tmp_path / "detector.pb")
    output = tmp_path / "bundle"
    assert run("build", path, "--set", "input_hw=16x24", "--output", output) == 0
    assert "box IoU at least 1.0000" in capsys.readouterr().out
    assert ModelSpec.load(output).input_hw == (16, 24)


@pytest.mark.slow
def test_build_takes_the_users_images_and_leaves_the_twin_out_on_demand(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures" / "deep"
    pictures.mkdir(parents=True)
    for light in (0, 100, 200):
        Image.fromarray(np.full((9, 9, 3), light, np.uint8)).save(pictures / f"{light}.png")
    (pictures / "notes.txt").write_text("no picture")
    given = ("--images", tmp_path / "pictures")
    assert run("build", model, "--accept", "--output", tmp_path / "twinned", *given) == 0
    assert "of 3 images" in capsys.readouterr().out
    assert run("build", model, "--accept", "--output", tmp_path / "alone", "--no-twin") == 0
    assert [file.format for file in ModelSpec.load(tmp_path / "alone").files] == ["keras"]


def test_a_twin_beyond_the_tolerance_is_refused_and_nothing_is_saved(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    honest = with_twin

    def other_weights(spec: ModelSpec, folder: Path) -> ModelSpec:
        twinned = honest(spec, folder)
        changed = models.keras_model()
        changed.set_weights([models.WEIGHTS * 1.01])
        changed.save(tmp_path / "small.keras")
        other = honest(ModelSpec.inspect(tmp_path / "small.keras", accept=True), tmp_path / "other")
        (folder / "small.tflite").write_bytes(Path(other.path).read_bytes())
        return twinned

    monkeypatch.setattr(bundle, "with_twin", other_weights)
    output = tmp_path / "bundle"
    assert run("build", model, "--accept", "--output", output, "--tolerance", "0.00001") == 2
    out, err = capsys.readouterr()
    assert "agreement: top-1" in out
    assert "required: top-1 100%, score <= 1e-05" in out
    assert (
        "pyspark-vision bundle: model 'small': the twin disagrees with the original: top-1" in err
    )
    assert not output.exists()


@pytest.mark.slow
def test_a_keras_application_is_built_from_given_weights_and_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, labels = tmp_path / "random.weights.h5", tmp_path / "labels.txt"
    keras.applications.MobileNet(weights=None).save_weights(weights)
    labels.write_text("".join(f"class {n}\n" for n in range(1000)))
    given = ("--weights", weights, "--labels", labels)
    output = tmp_path / "bundle"
    assert run("build", "mobilenet", *given, "--no-twin", "--output", output) == 0
    assert "building keras.applications.MobileNet …" in capsys.readouterr().err
    spec = ModelSpec.load(output)
    assert (spec.task, spec.normalization, spec.color_order) == ("classify", "tf", "rgb")
    assert (spec.name, spec.source) == ("mobilenet", "keras.applications.MobileNet")
    assert spec.input_hw == (224, 224)
    assert len(spec.labels) == 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "absent.keras"], "absent.keras is neither a file or folder, nor one of keras"),
        (["inspect", "{model}", "--weights", "w.h5"], "--weights belongs to a keras.applications"),
        (["inspect", "{model}", "--set", "colour=red"], "--set 'colour' is no field of a spec; "),
        (["inspect", "{model}", "--set", "resize"], "--set 'resize' is not FIELD=VALUE"),
        (["inspect", "{model}", "--set", "input_hw=8"], "input_hw='8' is not HEIGHTxWIDTH"),
        (["inspect", "{model}", "--set", "pad_value=x"], "pad_value='x' is not a whole number"),
        (["inspect", "{model}", "--set", "anchor_clip=x"], "anchor_clip='x' is not true or false"),
        (["inspect", "{model}", "--set", "anchor_layers=8"], "is not STRIDE:SIZE,SIZE/RATIO,RATIO"),
        (["inspect", "{model}", "--set", "resize=squash"], "resize='squash' is not one of"),
        (["inspect", "{model}", "--labels", "absent.txt"], "no label file at absent.txt"),
        (["build", "{model}", "--output", "{model}"], "exists and is not an empty folder"),
        (["build", "{model}", "--output", "o", "--tolerance", "0"], "--tolerance 0 is not above 0"),
        (["build", "{model}", "--output", "o", "--images", "absent"], "--images absent is not a"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_2(
    arguments: list[str], said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(argument.format(model=model) for argument in arguments)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(" …")]
    assert len(errors) == 1
    assert errors[0].startswith("pyspark-vision bundle: ")
    assert said in errors[0]


def test_settings_are_read_as_their_fields_are_typed(tmp_path: Path) -> None:
    (tmp_path / "anchors.csv").write_text("0.5,0.5,0.25,0.25\n")
    pairs = [
        "anchor_layers=8:16,32.5;16:64/1,0.5",
        f"anchors={tmp_path}/anchors.csv",
        "anchor_clip=True",
        "batched_outputs=false",
        "keypoint_names=eye, nose",
        "iou_threshold=0.3",
        "input_hw=224x192",
        "label_offset=-1",
        "fixed_batch=none",
        "normalization=none",
        "outputs.boxes=a:0",
        "outputs.scores=b:0",
        "layer=fc2",
    ]
    assert bundle._settings(pairs) == {
        "anchor_layers": ((8, (16.0, 32.5), (1.0,)), (16, (64.0,), (1.0, 0.5))),
        "anchors": (0.5, 0.5, 0.25, 0.25),
        "anchor_clip": True,
        "batched_outputs": False,
        "keypoint_names": ("eye", "nose"),
        "iou_threshold": 0.3,
        "input_hw": (224, 192),
        "label_offset": -1,
        "fixed_batch": None,
        "normalization": "none",
        "outputs": {"boxes": "a:0", "scores": "b:0"},
        "layer": "fc2",
    }
    with pytest.raises(InvalidOptionError):
        bundle._settings(["files=x"])


@pytest.mark.slow
def test_build_in_bf16_prints_how_far_it_agrees_and_the_bundle_runs_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    assert run("build", model, "--accept", "--output", output, "--precision", "bf16") == 0
    assert "agreement of bf16 with the original: top-1" in capsys.readouterr().out
    spec = ModelSpec.load(output)
    assert (spec.precision, spec.file.engine, spec.file.format) == ("bf16", "openvino", "tflite")
    assert spec.with_options(precision="float32").file.engine == "litert"


@pytest.mark.slow
def test_build_in_int8_calibrates_on_one_half_and_compares_on_the_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle"
    assert run("build", model, "--accept", "--output", output, "--precision", "int8") == 0
    out, err = capsys.readouterr()
    assert "to int8 with 8 sample images" in err
    assert "agreement of int8 with the original: top-1 100.0% of 8 images" in out
    spec = ModelSpec.load(output)
    assert (spec.precision, spec.file.path) == ("int8", "small-int8.tflite")
    assert spec.with_options(precision="float32").file.path == "small.tflite"


def test_int8_with_one_picture_says_that_two_are_needed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (8, 8), "red").save(pictures / "one.png")
    given = ("--precision", "int8", "--images", pictures)
    assert run("build", model, "--accept", "--output", tmp_path / "bundle", *given) == 2
    assert "needs at least 2 sample images, not 1" in capsys.readouterr().err
