"""Bundles on disk: what is saved is what is loaded, and nothing else is taken for a bundle."""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.models.model_files import sha256_of


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    """A copy of the demo detector that a test may damage."""
    return shutil.copytree(root / "models" / "demo-detector", tmp_path / "bundle")


def edit_record(bundle: Path, **changes: Any) -> dict[str, Any]:
    """Change keys of ``model.json`` and return what it holds now."""
    record = {**json.loads((bundle / "model.json").read_text()), **changes}
    (bundle / "model.json").write_text(json.dumps(record))
    return record


def zipped(bundle: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(bundle.iterdir()):
            target.write(file, prefix + file.name)
    return archive


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", ["detector", "classifier", "embedder"])
def test_saved_bundle_loads_as_an_equal_spec(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = request.getfixturevalue(name)
    assert spec.save(tmp_path / "deep" / "er") == tmp_path / "deep" / "er"
    loaded = ModelSpec.load(tmp_path / "deep" / "er")
    assert loaded == spec
    assert loaded.root == str(tmp_path / "deep" / "er")


def test_saving_twice_gives_the_same_bytes(detector: ModelSpec, tmp_path: Path) -> None:
    detector.save(tmp_path / "first")
    ModelSpec.load(tmp_path / "first").save(tmp_path / "second")
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    assert sorted(files_of(tmp_path / "first")) == ["labels.txt", "model.json", "model.tflite"]


def test_saving_in_place_changes_options_and_keeps_the_model(bundle: Path) -> None:
    spec = ModelSpec.load(bundle).with_options(resize="letterbox", pad_value=114)
    before = (bundle / "model.tflite").stat()
    spec.save(bundle)
    assert ModelSpec.load(bundle) == spec
    assert (bundle / "model.tflite").stat().st_mtime_ns == before.st_mtime_ns


def test_sparse_labels_survive_saving(bundle: Path) -> None:
    spec = ModelSpec.load(bundle).with_options(labels=((1, "cat"), (90, "eel\u2028ü")))
    spec.save(bundle)
    assert ModelSpec.load(bundle).labels == ((1, "cat"), (90, "eel\u2028ü"))


def test_model_file_that_is_gone_cannot_be_saved(bundle: Path, tmp_path: Path) -> None:
    spec = ModelSpec.load(bundle)
    (bundle / "model.tflite").unlink()
    with pytest.raises(InvalidModelError, match=r"model\.tflite does not exist"):
        spec.save(tmp_path / "copy")


def test_model_file_changed_since_loading_cannot_be_saved(bundle: Path, tmp_path: Path) -> None:
    spec = ModelSpec.load(bundle)
    (bundle / "model.tflite").write_bytes(b"other")
    with pytest.raises(InvalidModelError, match="it was changed or cut short"):
        spec.save(tmp_path / "copy")


@pytest.mark.parametrize("prefix", ["", "demo-detector/"], ids=["flat", "one nested folder"])
def test_bundle_may_be_a_zip(prefix: str, bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "bundle.zip", prefix)
    loaded = ModelSpec.load(archive)
    assert loaded == ModelSpec.load(bundle)
    assert sha256_of(Path(loaded.path)) == loaded.sha256


def test_zip_with_two_bundles_is_none(bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "two.zip", "a/")
    with zipfile.ZipFile(archive, "a") as target:
        target.write(bundle / "model.json", "b/model.json")
    with pytest.raises(InvalidModelError, match=r"two\.zip has no model\.json"):
        ModelSpec.load(archive)


def test_zip_may_hold_an_entry_for_its_own_folder(bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "bundle.zip", "./")
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(zipfile.ZipInfo("./"), b"")
    assert ModelSpec.load(archive).name == "demo-detector"


@pytest.mark.parametrize("uri", [Path.as_uri, "file:{}".format], ids=["escaped", "as it is"])
def test_file_uri_is_a_local_path(uri: Callable[[Path], str], bundle: Path, tmp_path: Path) -> None:
    spaced = bundle.rename(tmp_path / "my bundle")
    assert ModelSpec.load(uri(spaced)).root == str(spaced)


@pytest.mark.parametrize(
    ("prefix", "on_every_node"),
    [("local:", True), ("local://", True), ("file:", False), ("", False)],
)
def test_only_a_local_uri_says_the_files_are_on_every_node(
    prefix: str, on_every_node: bool, bundle: Path
) -> None:
    assert ModelSpec.load(f"{prefix}{bundle}").on_every_node is on_every_node


@pytest.mark.parametrize("file", ["model.tflite", "labels.txt"])
def test_one_changed_byte_is_refused_with_both_checksums(file: str, bundle: Path) -> None:
    said = sha256_of(bundle / file)
    content = bytearray((bundle / file).read_bytes())
    content[-2] ^= 1
    (bundle / file).write_bytes(content)
    found = sha256_of(bundle / file)
    message = f"{bundle}: {file} has sha256 {found}, the spec says {said}: it was changed or cut"
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("file", ["model.tflite", "labels.txt"])
def test_missing_file_is_named(file: str, bundle: Path) -> None:
    (bundle / file).unlink()
    message = f"{bundle}: model.json names {file!r}, which is not there"
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff{}"], ids=["empty", "cut", "not UTF-8"])
def test_record_that_is_not_json_is_named(content: bytes, bundle: Path) -> None:
    (bundle / "model.json").write_bytes(content)
    with pytest.raises(InvalidModelError, match=re.escape(f"{bundle}/model.json is not JSON")):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("content", ["[]", "7"])
def test_a_record_that_is_no_object_is_named(content: str, bundle: Path) -> None:
    (bundle / "model.json").write_text(content)
    with pytest.raises(InvalidModelError, match=r"/model\.json is no JSON object$"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("content", ['{"format_version": 2}', "{}"])
def test_other_format_version_is_named_with_the_one_read(content: str, bundle: Path) -> None:
    (bundle / "model.json").write_text(content)
    with pytest.raises(
        InvalidModelError, match=r"format_version is (2|None); this library reads 1$"
    ):
        ModelSpec.load(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "rgb"},
        {"files": 7},
        {"files": ["model.tflite"]},
        {"files": [{"path": "model.tflite"}]},
        {"input_hw": None},
        {"name": 7},
    ],
    ids=str,
)
def test_record_that_describes_no_model_is_refused(changes: dict[str, Any], bundle: Path) -> None:
    edit_record(bundle, **changes)
    with pytest.raises(InvalidModelError, match=r"does not describe a model|is not a text"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("missing", ["name", "task", "files", "input_hw"])
def test_record_without_a_needed_key_names_it(missing: str, bundle: Path) -> None:
    record = edit_record(bundle)
    del record[missing]
    (bundle / "model.json").write_text(json.dumps(record))
    with pytest.raises(InvalidModelError, match=f"does not describe a model: .*'{missing}'"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("path", ["../outside.tflite", "/etc/passwd", "a/../../outside.tflite"])
@pytest.mark.parametrize("key", ["model", "labels"])
def test_path_that_leaves_the_bundle_is_refused(key: str, path: str, bundle: Path) -> None:
    (bundle.parent / "outside.tflite").write_bytes(b"secret")
    record = edit_record(bundle)
    if key == "model":
        edit_record(bundle, files=[{**record["files"][0], "path": path}])
    else:
        edit_record(bundle, labels_file=path)
    with pytest.raises(InvalidModelError, match=re.escape(f"{path!r} in model.json leaves the")):
        ModelSpec.load(bundle)


def test_link_that_leaves_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "model.tflite", tmp_path / "elsewhere.tflite")
    (bundle / "model.tflite").symlink_to(tmp_path / "elsewhere.tflite")
    with pytest.raises(InvalidModelError, match=r"'model.tflite' in model\.json leaves the bundle"):
        ModelSpec.load(bundle)


def test_path_that_is_no_text_is_refused(bundle: Path) -> None:
    edit_record(bundle, labels_file=7)
    with pytest.raises(InvalidModelError, match=r"7 in model\.json is not a file name"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize(
    "member", ["../evil.txt", "a/../../evil.txt", "/{tmp}/evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
def test_zip_member_outside_is_refused_and_nothing_written(
    member: str, bundle: Path, tmp_path: Path
) -> None:
    archive = zipped(bundle, tmp_path / "evil.zip")
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(member.replace("/{tmp}", str(tmp_path)), b"evil")
    with pytest.raises(InvalidModelError, match=r"evil\.zip is refused: .*evil\.txt.* leaves its"):
        ModelSpec.load(archive)
    assert list(tmp_path.rglob("evil.txt")) == []


def test_zip_member_that_is_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "evil.zip")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidModelError, match="is refused: .*member 'link' is a link"):
        ModelSpec.load(archive)


def test_damaged_zip_is_refused(bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "bundle.zip")
    content = bytearray(archive.read_bytes())
    content[1000] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"bundle\.zip is refused: Bad CRC-32"):
        ModelSpec.load(archive)


@pytest.mark.parametrize("name", ["model.tflite", "notes.txt"])
def test_bare_file_gives_the_hint_to_inspect(name: str, bundle: Path) -> None:
    (bundle / "notes.txt").write_text("no zip")
    with pytest.raises(InvalidModelError, match=r"is no bundle .*use ModelSpec\.inspect$"):
        ModelSpec.load(bundle / name)


def test_saved_model_folder_gives_the_hint_to_inspect(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InvalidModelError, match=r"has no model\.json; .*use ModelSpec\.inspect$"):
        ModelSpec.load(tmp_path)


def test_place_without_anything_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=f"^no bundle at {re.escape(str(tmp_path))}/none:"):
        ModelSpec.load(tmp_path / "none")
