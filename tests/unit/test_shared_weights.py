"""Weights that the workers of an executor share: made once, the same answers, or none at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx_models import save_dense

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.models import shared_weights
from pyspark_vision.executor.models.shared_weights import SharedFolder, is_large

SHA256 = "c0ffee"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_workers_that_come_together_make_the_files_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.2)
        (folder / "weights").write_text("w")

    found: list[Path | None] = []
    shared = SharedFolder(str(tmp_path), SHA256)
    workers = [
        threading.Thread(target=lambda: found.append(shared.files("e", ("weights",), make)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(calls) == 1
    assert len(set(found)) == 1
    assert found[0] is not None
    assert (found[0] / "weights").read_text() == "w"
    assert len(names_in(tmp_path)) == 1  # nothing half made is left


def test_the_shipped_model_beside_them_is_left_alone(tmp_path: Path) -> None:
    shipped = tmp_path / f"pyspark_vision-{SHA256}.onnx"
    shipped.write_text("model")
    made = SharedFolder(str(tmp_path), SHA256).files(
        "onnx", ("weights",), lambda folder: (folder / "weights").touch()
    )
    assert made is not None
    assert shipped.read_text() == "model"


def test_a_model_that_cannot_be_written_so_is_tried_once_and_loaded_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "weights").touch()
        raise RuntimeError("an operator of its author's own")

    shared = SharedFolder(str(tmp_path), SHA256)
    assert [shared.files("e", ("weights",), make) for _ in range(2)] == [None, None]
    assert len(calls) == 1
    assert "an operator of its author's own" in caplog.text


def test_files_that_were_swept_are_made_again(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "graph").touch()
        (folder / "weights").touch()

    shared = SharedFolder(str(tmp_path), SHA256)
    made = shared.files("e", ("graph", "weights"), make)
    assert made is not None
    (made / "weights").unlink()
    assert shared.files("e", ("graph", "weights"), make) == made
    assert (made / "weights").exists()


def test_where_nothing_can_be_written_there_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = SharedFolder(str(tmp_path / "nothing"), SHA256)
    assert shared.files("e", ("weights",), lambda folder: None) is None
    assert "workers do not share the model's memory" in caplog.text


def test_a_model_is_large_from_a_size_on_and_a_folder_never_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(shared_weights.LARGE_BYTES - 1)
    assert not is_large(str(path))
    with path.open("r+b") as file:
        file.truncate(shared_weights.LARGE_BYTES)
    assert is_large(str(path))
    assert not is_large(str(tmp_path))


def _spec(engine: str, root: Path, folder: Path) -> ModelSpec:
    if engine == "onnx":
        return ModelSpec.inspect(save_dense(folder / "m.onnx"), accept=True)
    return ModelSpec.load(root / "models" / "demo-detector").with_options(engine=engine)


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("litert", ["weights.xnnpack"]),
        ("onnx", ["model.onnx", "weights"]),
        ("openvino", ["model.bin", "model.xml"]),
    ],
)
def test_shared_weights_give_the_same_answers(
    engine: str, names: list[str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec(engine, root, tmp_path)
    batch = np.random.default_rng(0).random(spec.input_shape(1), np.float32)
    expected = load_engine(spec, spec.path, threads=1).run(batch)
    monkeypatch.setattr(shared_weights, "LARGE_BYTES", 0)
    executor = tmp_path / "executor"
    executor.mkdir()
    shared = SharedFolder(str(executor), spec.sha256)

    for _ in range(2):  # the first worker makes them, the second finds them
        found = load_engine(spec, spec.path, 1, shared).run(batch)
        assert found.keys() == expected.keys()
        for role, values in expected.items():
            np.testing.assert_allclose(found[role], values, rtol=1e-5, atol=1e-6)
    (made,) = (executor / name for name in names_in(executor))
    assert names_in(made) == names


def test_a_small_model_is_loaded_as_it_is(root: Path, tmp_path: Path) -> None:
    spec = ModelSpec.load(root / "models" / "demo-detector")
    load_engine(spec, spec.path, 1, SharedFolder(str(tmp_path), spec.sha256))
    assert names_in(tmp_path) == []
