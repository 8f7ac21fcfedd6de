"""Models by a registry's name: MLflow's, on a store in a folder, and what hf: answers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guides
import numpy as np
import onnx
import pytest
from onnx_models import save_classifier, save_dense

from pyspark_vision.bundles import ModelSpec, by_name, watched
from pyspark_vision.bundles.registry import registered_model
from pyspark_vision.cli.main import main
from pyspark_vision.errors import InvalidModelError, MissingDependencyError
from pyspark_vision.executor.engines import load_engine

# MLflow's own, of what it is in the middle of changing.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MLflow with its registry in a folder."""
    # A store in a folder, which needs no database, has to be asked for.
    said = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path_factory.mktemp("mlflow") / "mlruns").as_uri())
    yield mlflow
    mlflow.set_tracking_uri(None)
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def registered(store: Any, name: str, folder: Path) -> str:
    """The folder's artifacts as a model of this name, with the alias ``live``."""
    client = store.MlflowClient()
    client.create_registered_model(name)
    made = client.create_model_version(name, str(folder))
    client.set_registered_model_alias(name, "live", made.version)
    return f"models:/{name}@live"


@pytest.fixture(scope="module")
def bundle(root: Path) -> Path:
    return root / "models" / "demo-embedder"


def test_a_bundle_that_was_logged_is_loaded_by_its_alias_and_by_its_version(
    store: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle, tmp_path / "bundles" / "mine")
    names: dict[str, Any] = {}

    exec(guides.block("model_files.md", "import mlflow").text, names)

    expected = ModelSpec.load(bundle)
    assert names["spec"] == expected
    assert ModelSpec.load("models:/cats/1") == expected
    assert by_name.model("models:/cats@live", "embed") == expected
    assert Path(names["spec"].path).is_file()


def test_a_stream_takes_the_version_that_the_alias_is_given_to(
    store: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "publish", lambda spec, session: None)
    monkeypatch.setattr(watched, "keep_published", lambda session: None)
    uri = registered(store, "watched", bundle)
    model = watched.WatchedBundle(None, uri)
    before = model.newest()
    before.with_options(normalization="tf").save(tmp_path / "second")
    client = store.MlflowClient()
    made = client.create_model_version("watched", str(tmp_path / "second"))
    assert model.newest() == before

    client.set_registered_model_alias("watched", "live", made.version)

    assert model.newest().normalization == "tf"
    client.delete_registered_model_alias("watched", "live")
    assert model.newest().normalization == "tf"


def flavour(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(f"flavors:\n{text}")
    return folder


@pytest.mark.slow
def test_an_onnx_flavour_with_its_weights_beside_it_is_one_file_here(
    store: Any, tmp_path: Path
) -> None:
    """As ``mlflow.onnx`` saves them: ``save_as_external_data``."""
    folder = flavour(tmp_path / "logged", "  onnx: {data: model.onnx, onnx_version: '1'}\n")
    model = onnx.load(save_dense(tmp_path / "whole.onnx"))
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=16)
    uri = registered(store, "dense", folder)

    with pytest.raises(InvalidModelError, match=r"is no bundle, and only a proposal: .*bundle bui"):
        ModelSpec.load(uri)
    assert main(["bundle", "build", uri, "--accept", "--output", str(tmp_path / "bundle")]) == 0

    spec = ModelSpec.load(tmp_path / "bundle")
    assert (spec.name, spec.source, spec.task) == ("dense", uri, "classify")
    batch = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    whole = ModelSpec.inspect(tmp_path / "whole.onnx", accept=True)
    expected = load_engine(whole, whole.path, 1).run(batch)["scores"]
    got = load_engine(spec, spec.path, 1).run(batch)["scores"]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_folder_of_hugging_faces_that_was_logged_is_known(store: Any, tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    folder.mkdir()
    save_classifier(folder / "model.onnx", ("batch", 3, 8, 8))
    (folder / "config.json").write_text(
        '{"architectures": ["ViTForImageClassification"], "model_type": "vit", '
        '"id2label": {"0": "cat", "1": "dog", "2": "bird"}}'
    )
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}, '
        '"resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )

    spec = ModelSpec.load(registered(store, "vit", folder))

    assert (spec.name, spec.labels[0], spec.normalization) == ("vit", (0, "cat"), "tf")


@pytest.mark.parametrize(
    ("files", "text", "where"),
    [
        (["data/model.keras"], "  keras: {data: data}\n", "data/model.keras"),
        (["data/model.h5"], "  tensorflow: {data: data, model_type: keras}\n", "data/model.h5"),
        (["data/model/saved_model.pb"], "  tensorflow: {data: data}\n", "data/model"),
        (["tfmodel/saved_model.pb"], "  tensorflow: {saved_model_dir: tfmodel}\n", "tfmodel"),
    ],
)
def test_each_flavour_says_where_its_model_is(
    files: list[str], text: str, where: str, store: Any, tmp_path: Path
) -> None:
    folder = flavour(tmp_path / "logged", text)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a model")
    uri = registered(store, tmp_path.name, folder)

    path = registered_model(uri, tmp_path / "here")

    assert path == (tmp_path / "here" / where)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  sklearn: {pickled_model: model.pkl}\n", "has the flavours sklearn; read are onnx, ker"),
        ("  onnx: {data: gone.onnx}\n", "names 'gone.onnx', which is not there"),
        ("  onnx: {data: ../../m.onnx}\n", "which is not there"),
        ("  keras: {data: .}\n", "holds no model that is read, only MLmodel"),
        ("  [", "its MLmodel cannot be read"),
        ("", "has the flavours none"),
    ],
)
def test_a_model_that_is_none_of_ours_is_refused_with_what_it_is(
    text: str, said: str, store: Any, tmp_path: Path
) -> None:
    uri = registered(store, tmp_path.name, flavour(tmp_path / "logged", text))

    with pytest.raises(InvalidModelError, match=said):
        ModelSpec.load(uri)


@pytest.mark.parametrize("uri", ["models:/nobody@live", "models:/nobody/1", "models:/x", "models:"])
def test_a_name_that_is_not_there_names_the_registry(uri: str, store: Any) -> None:
    with pytest.raises(InvalidModelError, match=r"cannot be had from the registry at file:.*MLFLO"):
        ModelSpec.load(uri)


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'pyspark_vision\[mlflow\]'"):
        ModelSpec.load("models:/cats@live")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "hf:google/vit-base-patch16-224",
            r"optimum-cli export onnx -m google/vit-base-patch16-224 vit-base-patch16-224,",
        ),
        ("hf:", "names no model"),
        ("hf:/", "names no model"),
    ],
)
def test_a_name_of_hugging_face_is_answered_with_its_export(
    uri: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for ask in (ModelSpec.load, by_name.model):
        with pytest.raises(InvalidModelError, match=said):
            ask(uri)

    assert main(["bundle", "inspect", uri]) == 2
    assert capsys.readouterr().err.count("\n") == 1
