"""What a .tflite file says by itself: tensors, roles by the detection operator, labels inside."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from pyspark_vision.bundles.readers.contents import TensorFound
from pyspark_vision.bundles.readers.tflite import read_tflite
from pyspark_vision.errors import InvalidModelError


@pytest.fixture
def model(root: Path, tmp_path: Path) -> Path:
    """A copy of the demo embedder, without labels inside."""
    return Path(
        shutil.copy(root / "models" / "demo-embedder" / "model.tflite", tmp_path / "model.tflite")
    )


def put_inside(model: Path, files: Mapping[str, bytes]) -> None:
    """Append files as TensorFlow Lite's metadata writer does: a zip at the model's end."""
    with zipfile.ZipFile(model, "a") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)


def test_tensors_are_read_with_name_shape_and_dtype(model: Path) -> None:
    found = read_tflite(model)
    assert (found.engine, found.format) == ("litert", "tflite")
    assert found.inputs == (TensorFound("image", (1, 96, 96, 3), "float32"),)
    assert found.outputs == (TensorFound("embedding", (1, 128), "float32"),)


def test_model_without_detection_operator_has_no_roles(model: Path) -> None:
    assert read_tflite(model).roles == ()


def test_detection_operator_gives_the_roles_in_its_own_order(shared_data: Path) -> None:
    found = read_tflite(shared_data / "models" / "coco_ssd_mobilenet_v1_1.0_quant.tflite")
    assert found.roles == (
        ("boxes", "TFLite_Detection_PostProcess"),
        ("classes", "TFLite_Detection_PostProcess:1"),
        ("scores", "TFLite_Detection_PostProcess:2"),
        ("count", "TFLite_Detection_PostProcess:3"),
    )
    assert [tensor.shape for tensor in found.outputs] == [(1, 10, 4), (1, 10), (1, 10), (1,)]


def test_quantized_dtype_is_the_model_file_s_own(shared_data: Path) -> None:
    found = read_tflite(shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite")
    assert found.inputs == (TensorFound("input", (1, 224, 224, 3), "uint8"),)
    assert [(t.shape, t.dtype) for t in found.outputs] == [((1, 1001), "uint8")]


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        ({}, ()),
        ({"labels.txt": b"cat\ndog\n"}, ((0, "cat"), (1, "dog"))),
        ({"anything.TXT": b"cat\n"}, ((0, "cat"),)),
        ({"labelmap.txt": b"cat\n???\neel\n", "notes.txt": b"x"}, ((0, "cat"), (2, "eel"))),
        ({"labels.txt": b"\xef\xbb\xbfcat\n"}, ((0, "cat"),)),
        ({"a.txt": b"cat\n", "b.txt": b"dog\n"}, ()),
        ({"labels_en.txt": b"cat\n", "labels_de.txt": b"Katze\n"}, ()),
        ({"metadata.json": b"{}"}, ()),
    ],
    ids=["none", "one", "only text", "by name", "BOM", "two texts", "two label files", "no text"],
)
def test_labels_inside_are_read_where_one_file_is_meant(
    files: dict[str, bytes], labels: tuple[tuple[int, str], ...], model: Path
) -> None:
    put_inside(model, files)
    assert read_tflite(model).labels == labels


def test_labels_inside_that_are_not_utf8_are_named(model: Path) -> None:
    put_inside(model, {"labels.txt": "crème".encode("latin-1")})
    message = f"label file labels.txt in {model} is not UTF-8 text"
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        read_tflite(model)


def test_damaged_labels_inside_are_an_invalid_model(model: Path) -> None:
    put_inside(model, {"labels.txt": b"a label that is damaged"})
    content = model.read_bytes()
    model.write_bytes(content.replace(b"that is damaged", b"that is changed"))
    with pytest.raises(InvalidModelError, match=r"labels\.txt in .* is damaged: Bad CRC-32"):
        read_tflite(model)


def test_weights_that_look_like_the_end_of_a_zip_hold_no_labels(model: Path) -> None:
    # The end-of-archive mark of a zip (APPNOTE 4.3.16) with numbers that point nowhere.
    with model.open("ab") as file:
        file.write(b"PK\x05\x06" + b"\xff" * 16 + b"\x00\x00")
    assert read_tflite(model).labels == ()


def test_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_text("no model")
    with pytest.raises(InvalidModelError, match=r"m\.tflite is not a model that LiteRT can run"):
        read_tflite(tmp_path / "m.tflite")
