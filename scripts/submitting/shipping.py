"""Cluster mode: the driver runs elsewhere, so what its flags name here must travel with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import SubmitError
from .flags import JobFlags

# Read by the driver itself, from its own disk, unless they are URIs.
_MODELS = ("--model", "--model-gcs-path")
_FILES = ("--config", "--kafka-config", "--labels")
# Read through Spark, which looks up a path without a scheme in the cluster's file system.
_READ_BY_SPARK = ("--input", "--images", "--keys")


@dataclass(frozen=True)
class Shipped:
    """``files`` for ``--files``, and the flags as the driver finds them there."""

    files: tuple[Path, ...]
    flags: JobFlags


def ship(flags: JobFlags, folder: Path) -> Shipped:
    """Take along the model and the files that the flags name; zips are made in ``folder``.

    YARN puts what ``--files`` names into the working folder of the driver's container, under its
    own name. URIs stay as they are. Raises :class:`SubmitError` for what the driver could not read.
    """
    _refuse_local_data(flags)
    files = []
    for flag in (*_MODELS, *_FILES):
        value = flags.value(flag)
        path = _local(value)
        if path is None:
            continue
        if not path.exists():
            raise SubmitError(f"{flag} {value}: there is no such file to send to the driver")
        if path.is_dir():
            if not (path / "model.json").is_file():
                raise SubmitError(
                    f"{flag} {value} is a folder without model.json: make a bundle of it first, "
                    "with `pyspark-vision bundle build`"
                )
            path = Path(shutil.make_archive(str(folder / path.name), "zip", path))
        files.append(path)
        flags = flags.with_value(flag, path.name)
    if len({path.name for path in files}) < len(files):
        names = ", ".join(str(path) for path in files)
        raise SubmitError(f"two of these would have one name beside the driver: {names}")
    return Shipped(tuple(files), flags)


def refuse_local(flags: JobFlags) -> None:
    """Raise for a relative path: what an image holds is named by a path from its root."""
    _refuse_local_data(flags)
    for flag in (*_MODELS, *_FILES):
        path = _local(flags.value(flag))
        if path is not None and not path.is_absolute():
            raise SubmitError(
                f"{flag} {path}: the driver runs in the image and has no such file. Give a path "
                f"inside the image (/opt/pyspark_vision/{path}) or a URI (s3a://…)"
            )


def _refuse_local_data(flags: JobFlags) -> None:
    for word in flags.words():
        if word.partition("=")[2].startswith("file:") or word.startswith("file:"):
            raise SubmitError(
                f"{word}: with --deploy-mode cluster the driver runs on another machine, which "
                "does not have this one's files. Give a URI that all nodes reach (hdfs://…, "
                "s3a://…), or use --deploy-mode client"
            )
    for flag in _READ_BY_SPARK:
        value = flags.value(flag)
        if value is not None and not Path(value).is_absolute() and Path(value).exists():
            raise SubmitError(
                f"{flag} {value} is a path of this machine; with --deploy-mode cluster it would be "
                "looked up in the cluster's file system. Copy it there and give its URI "
                "(hdfs://…, s3a://…), or use --deploy-mode client"
            )


def _local(value: str | None) -> Path | None:
    """The path, unless the value is none or a URI."""
    return None if value is None or ":" in value else Path(value)
