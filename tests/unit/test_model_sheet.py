"""`bundle inspect --images`: a model's answers on one's own pictures, as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from face_models import save_yunet
from onnx_models import save_classifier
from page_tags import page_tags
from PIL import Image

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.cli import bundle
from pyspark_vision.contact_sheet.model_sheet import build_model_sheet

NASTY = "<script>alert(1)<&>.png"


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    bundle.add_arguments(parser)
    return bundle.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "red.png")
    (folder / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 8), "blue").save(folder / NASTY.replace("/", "_"))
    return folder


@pytest.fixture
def face_detector(tmp_path: Path) -> Path:
    return save_yunet(tmp_path / "faces.onnx")


def test_page_shows_the_verdict_and_the_answers_and_the_table_says_where_it_is(
    face_detector: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("inspect", face_detector, "--images", pictures) == 0

    out, err = capsys.readouterr()
    assert "running onnx: " in err
    assert "sheet       faces.html: 3 pictures, 2 with detections above 0.3, 1 failed" in out
    page = (tmp_path / "faces.html").read_text()
    assert "faces.onnx: known: cls_8, …, kps_32" in page
    assert "broken.png" in page
    assert page.count('class="box"') == 2
    assert page.count('class="point"') == 2 * 4  # the fifth lies outside
    assert "script" not in page_tags(page).tags
    # A second run replaces its own page.
    assert run("inspect", face_detector, "--images", pictures) == 0


def test_proposal_is_drawn_as_it_would_be_used(tmp_path: Path, pictures: Path) -> None:
    model = save_classifier(tmp_path / "means.onnx")
    proposal = propose_model(model, "classify")
    assert proposal.open_fields

    counts = build_model_sheet(
        proposal.spec, [pictures / "red.png"], tmp_path / "sheet.html", title=proposal.verdict
    )

    assert (counts.task, counts.pictures, counts.with_results) == ("classify", 1, 1)
    assert "proposed: " in (tmp_path / "sheet.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sheet", "x.html"], "--sheet needs --images"),
        (["--images", "none"], "--images none is not a folder"),
        (["--images", "{empty}"], "holds no picture"),
        (
            ["--images", "{pictures}", "--sheet", "{other}"],
            "other.html exists and is no",
        ),
        (
            ["--images", "{pictures}", "--sheet", "none/x.html"],
            "--sheet none/x.html is a folder",
        ),
    ],
)
def test_a_mistake_is_one_line_exit_2_and_nobodys_file_is_replaced(
    arguments: list[str],
    said: str,
    face_detector: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.html"
    other.write_text("<p>mine</p>")
    (tmp_path / "empty").mkdir()
    places = {"pictures": pictures, "other": other, "empty": tmp_path / "empty"}

    assert run("inspect", face_detector, *(word.format(**places) for word in arguments)) == 2

    assert said in capsys.readouterr().err.splitlines()[-1]
    assert other.read_text() == "<p>mine</p>"
