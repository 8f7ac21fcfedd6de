"""Bundles on disk and on their way to the workers: save, load, publish.

A bundle is a folder (or a zip of one): ``model.json``, the model files it names with their sha256,
and a label file. Nothing in it is executed or unpickled to read it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyspark_vision.bundles.downloads import download
from pyspark_vision.bundles.fit import check_fits
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.json_file import json_object
from pyspark_vision.bundles.labels import dump_labels, read_labels
from pyspark_vision.bundles.proof import of_record
from pyspark_vision.bundles.registry import is_registered, registered_model, registered_name
from pyspark_vision.bundles.scratch import scratch_folder
from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.bundles.staging import shipped_to, staged
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.models.model_files import PublishedFile, extract_zip, sha256_of
from pyspark_vision.spark.session import is_connect

MODEL_JSON = "model.json"
# Raised when a field changes its meaning; older readers then say so instead of misreading it.
FORMAT_VERSION = 1

# The identifier behind a FlatBuffer's first offset, of TensorFlow Lite's schema.fbs.
_TFLITE_IDENTIFIER = b"TFL3"

# Fields that say where a spec lies, not what it is.
_PLACE_FIELDS = ("root", "on_every_node")

# A zip made twice from the same folder must have the same bytes: no clock in it.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_log = logging.getLogger(__name__)


def save_bundle(spec: ModelSpec, folder: str | Path) -> Path:
    """Write ``model.json``, the model files and the labels into ``folder``; returns it.

    Saving in place, after a change of options, leaves the model files where they are.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for file in spec.files:
        _copy(_existing(spec, file), target / file.path)
    record: dict[str, Any] = {"format_version": FORMAT_VERSION}
    for field in dataclasses.fields(spec):
        if field.name not in (*_PLACE_FIELDS, "labels", "files", "proof"):
            record[field.name] = getattr(spec, field.name)
    if spec.proof is not None:
        record["proof"] = spec.proof.record()
    record["files"] = [{**dataclasses.asdict(f), "outputs": dict(f.outputs)} for f in spec.files]
    if spec.labels:
        name, text = dump_labels(spec.labels)
        (target / name).write_text(text, encoding="utf-8")
        record["labels_file"] = name
        record["labels_sha256"] = sha256_of(target / name)
    (target / MODEL_JSON).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return target


def load_bundle(uri: str) -> ModelSpec:
    """Read and verify a bundle: a folder or .zip, a local path or any URI Spark's Hadoop reads.

    Or a model of MLflow's registry, ``models:/name@alias``: a bundle, or one that is known.

    ``local:/path`` (Spark's own notation) names a folder that every node has already: it is read
    here and not shipped. Raises :class:`InvalidModelError` for a file that is missing, changed or
    cannot be read.
    """
    try:
        if not is_registered(uri):
            return _load_bundle(uri)
        path = local_copy(uri)
        return _load_bundle(str(path)) if (path / MODEL_JSON).is_file() else _known(path, uri)
    except OSError as error:
        raise InvalidModelError(f"{uri} cannot be read: {error}") from error


def _known(path: Path, uri: str) -> ModelSpec:
    """A registered model that is no bundle, if it says itself how it is run."""
    proposal = propose_model(path, source=uri, name=registered_name(uri))
    if proposal.open_fields:
        raise InvalidModelError(
            f"{uri} is no bundle, and only a proposal: {proposal.question()}. `pyspark-vision "
            f"bundle build {uri}` makes a bundle of it, and takes what it does not say"
        )
    return proposal.spec


def _load_bundle(uri: str) -> ModelSpec:
    on_every_node = uri.startswith("local:")
    folder = _local_folder(uri)
    record = _read_record(folder / MODEL_JSON, uri)
    labels: tuple[tuple[int, str], ...] = ()
    labels_file = record.pop("labels_file", None)
    labels_sha256 = record.pop("labels_sha256", None)
    if labels_file is not None:
        path = _inside(folder, labels_file, uri)
        _verify(path, labels_sha256, uri)
        labels = read_labels(path)
    files = []
    try:
        for entry in record.pop("files"):
            outputs = tuple((str(k), str(v)) for k, v in entry.pop("outputs").items())
            files.append(ModelFile(**entry, outputs=outputs))
        record["input_hw"] = tuple(record["input_hw"])
        if record.get("proof") is not None:
            record["proof"] = of_record(record["proof"])
        spec = ModelSpec(
            **record,
            files=tuple(files),
            labels=labels,
            root=str(folder.absolute()),
            on_every_node=on_every_node,
        )
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        if isinstance(error, InvalidModelError):
            raise
        raise InvalidModelError(f"{uri}: {MODEL_JSON} does not describe a model: {error}") from None
    for file in spec.files:
        path = _inside(folder, file.path, uri)
        _verify(path, file.sha256, uri)
        _check_kind(path, file.format, uri)
    return spec


def publish(spec: ModelSpec, session: Any) -> PublishedFile:
    """Ship the file that runs to the executors through Spark, once per application and content.

    Under Spark Connect it travels as an artifact, once per session; else by
    ``SparkContext.addFile``. Its name is its sha256, so that two specs of the same content share
    one file. Here, before a job starts, the file is verified once more and the spec held against
    the model's own shapes. Files shipped earlier are made again if something removed them.
    """
    shipped = shipped_to(session)
    try:
        shipped.restore()
        if spec in shipped.published:
            return shipped.published[spec]
        source = _existing(spec, spec.file)
        check_fits(spec)
        _log.info("model %r runs on %s; %s", spec.name, spec.runs_on, spec.verified)
        published = _published(spec, source)
        if not spec.on_every_node and published not in shipped.published.values():
            _ship(published, source, session)
    except OSError as error:
        raise InvalidModelError(
            f"model {spec.name!r} cannot be given to the executors: {error}. On its way it lies "
            "in spark.local.dir, where there must be room for it"
        ) from error
    shipped.published[spec] = published
    return published


def keep_published(session: Any) -> None:
    """Make files that were shipped again if something removed them; ``OSError`` if it cannot.

    For what runs for days: Spark serves them to executors that come later.
    """
    shipped_to(session).restore()


def _published(spec: ModelSpec, source: Path) -> PublishedFile:
    if spec.on_every_node:
        return PublishedFile(str(source), spec.sha256, source.is_dir(), on_every_node=True)
    suffix = ".zip" if source.is_dir() else source.suffix
    name = f"pyspark_vision-{spec.sha256}{suffix}"
    return PublishedFile(name, spec.sha256, source.is_dir(), on_every_node=False)


def _ship(published: PublishedFile, source: Path, session: Any) -> None:
    def write(target: Path) -> None:
        if source.is_dir():
            _zip_folder(source, target)
            return
        shutil.copyfile(source, target)
        if sha256_of(target) != published.sha256:
            raise InvalidModelError(f"{source} was changed while it was copied; load it again")

    if is_connect(session):
        with tempfile.TemporaryDirectory(prefix="pyspark_vision-") as folder:
            target = Path(folder, published.name)
            write(target)
            session.addArtifacts(str(target), file=True)
    else:
        session.sparkContext.addFile(str(staged(session, published.name, write)))


def _existing(spec: ModelSpec, file: ModelFile) -> Path:
    """A file of the spec where it lies now, verified."""
    path = Path(spec.root, file.path)
    if not path.exists():
        raise InvalidModelError(
            f"model {spec.name!r}: {path} does not exist; inspect or load it again"
        )
    _verify(path, file.sha256, spec.name)
    return path


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        # What is there would become part of this model; it is not ours to delete.
        if target.exists() and sha256_of(target) != sha256_of(source):
            raise InvalidModelError(f"{target} holds another model; save into a new folder")
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def _zip_folder(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                member = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_EPOCH)
                member.file_size = file.stat().st_size  # decides on Zip64, for more than 2 GiB
                with file.open("rb") as source, zipped.open(member, "w") as target:
                    shutil.copyfileobj(source, target)


def is_on_this_machine(uri: str) -> bool:
    """Whether a model is read where it lies; a path without a scheme is."""
    return urlsplit(uri).scheme in ("", "file", "local")


def local_copy(uri: str) -> Path:
    """What lies at ``uri`` as a local file or folder: where it is, or downloaded by Spark.

    A registry's model (``models:/name@alias``) is downloaded by :mod:`registry`.
    """
    if is_registered(uri):
        return registered_model(uri, scratch_folder())
    if not is_on_this_machine(uri):
        return _downloaded(uri)
    scheme = urlsplit(uri).scheme
    path = Path(urlsplit(uri).path if scheme else uri)
    if scheme and not path.exists():  # Hadoop takes paths as they are, Path.as_uri escapes
        path = Path(unquote(str(path)))
    return path


def _local_folder(uri: str) -> Path:
    """The bundle as a local folder: as it is, downloaded, or unpacked."""
    path = local_copy(uri)
    if path.is_dir():
        return path
    if not path.exists():
        raise InvalidModelError(
            f"no bundle at {uri}: a bundle is a folder or .zip with {MODEL_JSON}; "
            "for a bare model file use ModelSpec.inspect"
        )
    if not zipfile.is_zipfile(path) or path.suffix == ".tflite":
        raise InvalidModelError(
            f"{uri} is no bundle (a folder or .zip with {MODEL_JSON}); "
            "for a bare model file use ModelSpec.inspect"
        )
    folder = scratch_folder()
    try:
        extract_zip(path, folder)
    # Refused (ValueError); encrypted, damaged or contradictory archives raise the others.
    except (ValueError, RuntimeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidModelError(f"{uri} is refused: {error}") from None
    nested = [entry for entry in folder.iterdir() if (entry / MODEL_JSON).is_file()]
    return nested[0] if not (folder / MODEL_JSON).is_file() and len(nested) == 1 else folder


def _downloaded(uri: str) -> Path:
    target = scratch_folder() / Path(urlsplit(uri).path).name
    download(uri, target)
    return target


def _read_record(path: Path, uri: str) -> dict[str, Any]:
    if not path.is_file():
        raise InvalidModelError(
            f"{uri} has no {MODEL_JSON}; for a bare model file or SavedModel folder use "
            "ModelSpec.inspect"
        )
    record = json_object(path)
    version = record.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InvalidModelError(
            f"{path}: format_version is {version!r}; this library reads {FORMAT_VERSION}"
        )
    return record


def _inside(folder: Path, name: Any, uri: str) -> Path:
    if not isinstance(name, str):
        raise InvalidModelError(f"{uri}: {name!r} in {MODEL_JSON} is not a file name")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidModelError(f"{uri}: {name!r} in {MODEL_JSON} leaves the bundle")
    if not path.exists():
        raise InvalidModelError(f"{uri}: {MODEL_JSON} names {name!r}, which is not there")
    return path


def _check_kind(path: Path, file_format: str, uri: str) -> None:
    """Before a job starts: on executors each row would fail for it."""
    if file_format == "tflite":
        with path.open("rb") as file:
            if file.read(8)[4:] != _TFLITE_IDENTIFIER:
                raise InvalidModelError(f"{uri}: {path.name} is no .tflite file")


def _verify(path: Path, sha256: str | None, uri: str) -> None:
    actual_sha256 = sha256_of(path)
    if actual_sha256 != sha256:
        raise InvalidModelError(
            f"{uri}: {path.name} has sha256 {actual_sha256}, the spec says {sha256}: it was "
            "changed or cut short; copy it again, or inspect and save it anew if the change "
            "was meant"
        )
