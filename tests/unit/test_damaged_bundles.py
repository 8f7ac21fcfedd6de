"""Archives and records that nobody means well by: one error of ours, whatever Python raises."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.labels import parse_labels
from pyspark_vision.errors import InvalidModelError

NESTED = "[" * 100_000


@pytest.fixture
def archive(root: Path, tmp_path: Path) -> Path:
    """A zipped bundle, compressed."""
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted((root / "models" / "demo-classifier").iterdir()):
            zipped.write(file, file.name)
    return path


def test_the_archive_is_a_bundle_before_it_is_damaged(archive: Path) -> None:
    assert ModelSpec.load(archive).task == "classify"


def test_encrypted_zip_is_refused(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    # Bit 0 of the flags, in each member's own header and in the central directory.
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 4)
    archive.write_bytes(data)
    with pytest.raises(InvalidModelError, match=r"is refused: .*encrypted"):
        ModelSpec.load(archive)


def test_zip_whose_compressed_data_is_damaged_is_refused(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    name_length = int.from_bytes(data[26:28], "little")
    # The reserved block type of deflate: no decoder takes it.
    data[30 + name_length] = 0b110
    archive.write_bytes(data)
    with pytest.raises(InvalidModelError, match=r"is refused: .*invalid block type"):
        ModelSpec.load(archive)


def test_zip_with_a_file_where_a_folder_must_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a", "a file")
        zipped.writestr("a/b", "a file in it")
    with pytest.raises(InvalidModelError, match="is refused"):
        ModelSpec.load(path)


def test_record_nested_too_deep_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(NESTED)
    with pytest.raises(InvalidModelError, match="is not JSON"):
        ModelSpec.load(tmp_path)


def test_label_file_nested_too_deep_cannot_be_read() -> None:
    with pytest.raises(InvalidModelError, match=r"labels\.json cannot be read: RecursionError"):
        parse_labels(NESTED, "labels.json")


def test_a_pickle_under_a_models_name_and_with_its_sha256_is_refused(
    root: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(root / "models" / "demo-classifier", bundle)
    content = pickle.dumps({"weights": [1.0]})
    (bundle / "model.tflite").write_bytes(content)
    record = json.loads((bundle / "model.json").read_text())
    record["files"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "model.json").write_text(json.dumps(record))
    with pytest.raises(InvalidModelError, match=r"model\.tflite is no \.tflite file"):
        ModelSpec.load(bundle)
