"""A published model file in a worker: found, verified, unpacked where it is a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyspark_vision.executor.models.shared_weights import SharedFolder

# The files of models that are folders of several: a dual encoder's, and those of a text reader.
IMAGE_TOWER, TEXT_TOWER, TOKENIZER = "image.onnx", "text.onnx", "tokenizer.json"
TEXT_INPUT = "text_input.json"
DETECTOR, DIRECTION, RECOGNIZER = "detector.onnx", "direction.onnx", "recognizer.onnx"
CHARACTERS = "characters.json"


@dataclass(frozen=True)
class PublishedFile:
    """Where workers find a model file.

    ``name`` is what ``SparkFiles.get`` knows it by, or an absolute path that every node has
    (``on_every_node``). ``folder`` says that the model is a folder, published as a zip.
    """

    name: str
    sha256: str
    folder: bool
    on_every_node: bool


def local_path(published: PublishedFile) -> str:
    """The verified model file or folder on this machine; raises ``ValueError`` if it is not it."""
    if published.on_every_node:
        path = Path(published.name)
    else:
        from pyspark import SparkFiles

        path = Path(SparkFiles.get(published.name))
        if published.folder:
            path = _unpacked(path, published.sha256)
        else:
            _check_shipped(path)
    actual_sha256 = sha256_of(path)
    if actual_sha256 != published.sha256:
        raise ValueError(
            f"model file {path} has sha256 {actual_sha256}, the spec says {published.sha256}: it "
            "was changed or cut short after the spec was made"
        )
    return str(path)


def shared_folder(published: PublishedFile) -> SharedFolder:
    """Where workers of this executor share what they make of the file; within a task only."""
    from pyspark import SparkFiles

    # Not beside a file that every node has: that folder is somebody else's.
    return SharedFolder(SparkFiles.getRootDirectory(), published.sha256)


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes; of a folder: of the sorted lines ``<sha256>  <relative path>``."""
    if path.is_dir():
        listing = "".join(
            f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        )
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract_zip(archive: Path, folder: Path) -> None:
    """Unpack into ``folder``; a member that is a link or leaves the folder is refused.

    Raises ``ValueError`` naming the member, before anything is written.
    """
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in "".join(name.parts[:1]):
                raise ValueError(f"{archive}: member {member.filename!r} leaves its folder")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError(f"{archive}: member {member.filename!r} is a link")
        zipped.extractall(folder)


def _check_shipped(path: Path) -> None:
    if not path.exists():
        raise ValueError(
            f"{path.name} is not among this session's files: the column or SQL function was made "
            "in another session (one that has ended, or another one of Spark Connect), or the file "
            "was removed since. Make it again in this session (classify_image(…), register(…)), "
            "which ships the model again"
        )


def _unpacked(archive: Path, sha256: str) -> Path:
    folder = archive.with_name(archive.name + ".unpacked")
    if folder.is_dir() and sha256_of(folder) != sha256:  # files in it were swept
        swept = Path(tempfile.mkdtemp(prefix=folder.name, dir=archive.parent))
        with contextlib.suppress(OSError):  # another worker was first
            os.rename(folder, swept)
        shutil.rmtree(swept, ignore_errors=True)
    if not folder.is_dir():
        _check_shipped(archive)
        # Workers of one executor share this place: each unpacks for itself, one rename wins.
        fresh = Path(tempfile.mkdtemp(prefix=folder.name, dir=archive.parent))
        extract_zip(archive, fresh)
        try:
            os.rename(fresh, folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder
