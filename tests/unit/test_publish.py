"""A bundle on its way to the executors: verified first, shipped once, named by its content."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest
from specs import spec_of

from pyspark_vision.bundles import ModelFile, ModelSpec, storage
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.model_files import sha256_of


class ConnectSession:
    """What publishing uses of a Spark Connect session: it keeps copies of what is shipped."""

    def __init__(self) -> None:
        self.shipped: list[tuple[str, bytes]] = []

    def addArtifacts(self, *paths: str, file: bool) -> None:
        assert file
        self.shipped += [(Path(path).name, Path(path).read_bytes()) for path in paths]


@pytest.fixture
def session() -> ConnectSession:
    return ConnectSession()


@pytest.fixture
def saved_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A spec of a folder; that its content is no real model is not looked at here."""
    monkeypatch.setattr(storage, "check_fits", lambda spec: None)
    folder = tmp_path / "source" / "net"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"x" * 500)
    outputs = (("scores", "s"),)
    file = ModelFile("tensorflow", "saved_model", "net", sha256_of(folder), "image", outputs)
    return spec_of(files=(file,), root=str(folder.parent))


def test_file_is_shipped_under_its_checksum(classifier: ModelSpec, session: ConnectSession) -> None:
    published = storage.publish(classifier, session)
    content = Path(classifier.path).read_bytes()
    assert session.shipped == [(f"pyspark_vision-{classifier.sha256}.tflite", content)]
    assert (published.name, published.folder) == (session.shipped[0][0], False)


def test_equal_specs_are_shipped_once(classifier: ModelSpec, session: ConnectSession) -> None:
    first = storage.publish(classifier, session)
    assert storage.publish(dataclasses.replace(classifier), session) == first
    assert len(session.shipped) == 1


def test_two_specs_of_one_file_ship_it_once(classifier: ModelSpec, session: ConnectSession) -> None:
    first = storage.publish(classifier, session)
    assert storage.publish(classifier.with_options(name="other"), session) == first
    assert len(session.shipped) == 1


def test_another_session_gets_its_own_copy(classifier: ModelSpec) -> None:
    sessions = ConnectSession(), ConnectSession()
    for session in sessions:
        storage.publish(classifier, session)
    assert [len(session.shipped) for session in sessions] == [1, 1]


def test_model_on_every_node_is_not_shipped(classifier: ModelSpec, session: ConnectSession) -> None:
    spec = dataclasses.replace(classifier, on_every_node=True)
    published = storage.publish(spec, session)
    assert session.shipped == []
    assert (published.name, published.on_every_node) == (classifier.path, True)


def test_changed_file_is_refused_before_it_is_shipped(
    classifier: ModelSpec, session: ConnectSession, tmp_path: Path
) -> None:
    spec = ModelSpec.load(classifier.save(tmp_path / "bundle"))
    Path(spec.path).write_bytes(b"other")
    with pytest.raises(InvalidModelError, match="changed or cut short"):
        storage.publish(spec, session)
    assert session.shipped == []


def test_spec_that_does_not_fit_is_refused_before_it_is_shipped(
    classifier: ModelSpec, session: ConnectSession
) -> None:
    with pytest.raises(InvalidModelError, match="correct input_hw"):
        storage.publish(classifier.with_options(input_hw=(7, 7)), session)
    assert session.shipped == []


def test_folder_is_shipped_as_a_zip_of_the_same_bytes_each_time(saved_model: ModelSpec) -> None:
    sessions = ConnectSession(), ConnectSession()
    for session in sessions:
        storage.publish(saved_model, session)
    assert sessions[0].shipped == sessions[1].shipped
    assert sessions[0].shipped[0][0] == f"pyspark_vision-{saved_model.sha256}.zip"


def test_file_of_a_folder_may_be_larger_than_a_plain_zip_holds(
    saved_model: ModelSpec, session: ConnectSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Zip's limit of 2 GiB, made small: a file of 500 bytes is over it.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 400)
    storage.publish(saved_model, session)
    assert len(session.shipped) == 1


def test_folder_is_saved_and_loaded_as_an_equal_spec(
    saved_model: ModelSpec, tmp_path: Path
) -> None:
    assert ModelSpec.load(saved_model.save(tmp_path / "bundle")) == saved_model


def test_folder_of_another_model_is_neither_mixed_with_nor_deleted(
    saved_model: ModelSpec, tmp_path: Path
) -> None:
    mine = tmp_path / "bundle" / "net" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep me")
    with pytest.raises(InvalidModelError, match="holds another model; save into a new folder"):
        saved_model.save(tmp_path / "bundle")
    assert [file.name for file in mine.parent.iterdir()] == ["mine.txt"]
