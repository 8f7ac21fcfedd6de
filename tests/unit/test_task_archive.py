"""MediaPipe's .task files: a zip of models, of which one is named."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path

import guides
import pytest

from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.readers.task_archive import extracted
from pyspark_vision.bundles.storage import load_bundle
from pyspark_vision.cli.main import main
from pyspark_vision.errors import InvalidModelError


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


NESTED = {
    "hand_landmarker.task": zipped({"hand_detector.tflite": b"a", "hand_landmarks.tflite": b"b"}),
    "gesture.task": zipped({"embedder.tflite": b"c"}),
    "labels.txt": b"thumb",
}


@pytest.mark.parametrize(
    ("members", "member", "content"),
    [
        ({"only.tflite": b"x", "notes.txt": b"y"}, None, b"x"),
        ({"a.tflite": b"x", "b.tflite": b"y"}, "b.tflite", b"y"),
        ({"a.tflite": b"x", "b.tflite": b"y"}, "a", b"x"),
        (NESTED, "hand_landmarker.task/hand_landmarks.tflite", b"b"),
        (NESTED, "embedder", b"c"),
    ],
)
def test_a_model_is_taken_by_its_name(
    members: Mapping[str, bytes], member: str | None, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "m.task").write_bytes(zipped(members))

    assert extracted(tmp_path / "m.task", member, tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    ("content", "member", "said"),
    [
        (
            zipped(NESTED),
            None,
            r"several models \(gesture\.task/embedder\.tflite, .*choose one with member='NAME'",
        ),
        (zipped(NESTED), "hand", r"has no model 'hand'; it holds gesture\.task/embedder\.tflite,"),
        (zipped({"x.txt": b""}), None, "holds no .tflite model"),
        (zipped({}), None, "holds no .tflite model"),
        (b"", None, "is no .task file"),
        (zipped({"a.tflite": b"xyz" * 99}).replace(b"xyzxyz", b"xyzxyy"), None, "is no .task file"),
        (zipped({"a.task": b"no zip"}), None, "is no .task file"),
        (zipped({"../a.tflite": b"x"}), "b", r"has no model 'b'"),
    ],
)
def test_what_is_none_or_several_is_refused_with_what_is_there(
    content: bytes, member: str | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / "m.task").write_bytes(content)

    with pytest.raises(InvalidModelError, match=said):
        extracted(tmp_path / "m.task", member, tmp_path)


def test_a_member_that_leaves_its_folder_lands_in_ours(tmp_path: Path) -> None:
    (tmp_path / "m.task").write_bytes(zipped({"../../a.tflite": b"x"}))
    (tmp_path / "in").mkdir()

    assert extracted(tmp_path / "m.task", None, tmp_path / "in") == tmp_path / "in" / "a.tflite"


def test_a_bundle_is_built_of_one_model(
    tiny_tflite: Path, tiny_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"detector.tflite": tiny_detector, "classes.tflite": tiny_tflite}
    task = tmp_path / "m.task"
    task.write_bytes(zipped({name: path.read_bytes() for name, path in models.items()}))
    bundle = tmp_path / "bundle"

    places = {"hand_landmarker.task": str(task), "hand_detector": "detector"}
    [shown] = guides.block("model_files.md", "pyspark-vision bundle inspect hand", places).commands
    assert main(shlex.split(shown)[1:]) == 0
    assert "  task              detect" in capsys.readouterr().out
    assert main(["bundle", "inspect", str(task)]) == 2
    assert "choose one with member='NAME'" in capsys.readouterr().err
    said = ["--set", "member=classes", "--set", "normalization=none", "--output", str(bundle)]
    assert main(["bundle", "build", str(task), *said]) == 0

    spec = load_bundle(str(bundle))
    assert (spec.name, spec.task) == ("classes", "classify")


def test_member_is_for_task_files(tiny_tflite: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"is no \.task file: member='a' names nothing"):
        propose_model(tiny_tflite, member="a")
