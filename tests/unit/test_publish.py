"""A bundle on its way to the executors: verified first, shipped once, named by its content."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import zipfile
from pathlib import Path

import pyspark
import pytest
from specs import spec_of

from pyspark_vision.bundles import ModelFile, ModelSpec, staging, storage
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.models.model_files import sha256_of

pytestmark = pytest.mark.every_spark


class ConnectSession:
    """What publishing uses of a Spark Connect session: it keeps copies of what is shipped."""

    def __init__(self) -> None:
        self.shipped: list[tuple[str, bytes]] = []

    def addArtifacts(self, *paths: str, file: bool) -> None:
        assert file
        self.shipped += [(Path(path).name, Path(path).read_bytes()) for path in paths]


class Context:
    """What publishing uses of a SparkContext: it notes what it is to serve."""

    def __init__(self) -> None:
        self.served: list[Path] = []

    def addFile(self, path: str) -> None:
        self.served.append(Path(path))


class ClassicSession:
    """A session of an application, as ``newSession`` gives several of."""

    def __init__(self, context: Context) -> None:
        self.sparkContext = context


@pytest.fixture
def session() -> ConnectSession:
    return ConnectSession()


@pytest.fixture
def files_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Spark keeps the files of an application on its driver."""
    root = tmp_path / "spark-1" / "userFiles-1"
    root.mkdir(parents=True)
    monkeypatch.setattr(pyspark.SparkFiles, "getRootDirectory", lambda: str(root))
    return root


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


def test_sessions_of_one_application_are_served_one_file(
    classifier: ModelSpec, files_root: Path
) -> None:
    context = Context()
    first = storage.publish(classifier, ClassicSession(context))
    second = storage.publish(classifier.with_options(name="other"), ClassicSession(context))
    assert context.served == [files_root / first.name]
    assert first == second


def test_an_application_after_another_is_served_its_own_file(
    classifier: ModelSpec, files_root: Path
) -> None:
    contexts = Context(), Context()
    for context in contexts:
        storage.publish(classifier, ClassicSession(context))
    assert [len(context.served) for context in contexts] == [1, 1]


def test_a_swept_file_is_made_again_though_its_bundle_is_gone(
    classifier: ModelSpec, files_root: Path, tmp_path: Path
) -> None:
    session = ClassicSession(Context())
    spec = ModelSpec.load(classifier.save(tmp_path / "bundle"))
    published = storage.publish(spec, session)
    content = (files_root / published.name).read_bytes()
    shutil.rmtree(files_root.parent)
    shutil.rmtree(tmp_path / "bundle")

    storage.keep_published(session)

    assert (files_root / published.name).read_bytes() == content
    assert [file.name for file in files_root.iterdir()] == [published.name]


def test_a_swept_folders_zip_is_made_again_by_the_next_use_of_the_model(
    saved_model: ModelSpec, files_root: Path
) -> None:
    session = ClassicSession(Context())
    published = storage.publish(saved_model, session)
    (files_root / published.name).unlink()

    assert storage.publish(saved_model, session) == published

    assert zipfile.is_zipfile(files_root / published.name)


def test_a_full_disk_is_refused_in_words_and_leaves_nothing_half_written(
    classifier: ModelSpec, files_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ClassicSession(Context())

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(InvalidModelError, match=r"No space left on device.*spark\.local\.dir"):
            storage.publish(classifier, session)
    assert list(files_root.iterdir()) == []
    assert session.sparkContext.served == []

    published = storage.publish(classifier, session)
    assert session.sparkContext.served == [files_root / published.name]


def test_a_file_that_changes_while_it_is_copied_is_refused(
    classifier: ModelSpec, files_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ClassicSession(Context())
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: target.write_bytes(b"newer"))

    with pytest.raises(InvalidModelError, match="was changed while it was copied"):
        storage.publish(classifier, session)

    assert session.sparkContext.served == []


def test_what_an_application_was_given_is_forgotten_with_it(
    classifier: ModelSpec, files_root: Path
) -> None:
    before = len(staging._shipped)
    session = ClassicSession(Context())
    storage.publish(classifier, session)
    assert len(staging._shipped) == before + 1
    del session
    assert len(staging._shipped) == before
