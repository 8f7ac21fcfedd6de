"""Cluster mode: the driver runs elsewhere, so what its flags name here must travel with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.submitting.errors import SubmitError

from .flags import JobFlags

# Read by the driver itself, from its own disk, unless they are URIs.
_MODELS = ("--model", "--model-gcs-path")
_READ_BY_DRIVER = (*_MODELS, "--config", "--kafka-config", "--labels")
# Read through Spark, which looks up a path without a scheme in the cluster's file system.
_READ_BY_SPARK = ("--input", "--images", "--keys")


@dataclass(frozen=True)
class Shipped:
    """``files`` for ``--files``, and the flags as the driver finds them there."""

    files: tuple[Path, ...]
    flags: JobFlags


def ship(flags: JobFlags, folder: Path) -> Shipped:
    """Take along the model and other files that the flags name; zips are made in ``folder``.

    YARN puts what ``--files`` names into the working folder of the driver's container, under its
    own name. URIs stay as they are.
    """
    files = []
    for flag, path in _driver_paths(flags).items():
        if path.is_dir():
            path = Path(shutil.make_archive(str(folder / path.name), "zip", path))
        files.append(path)
        flags = flags.with_value(flag, path.name)
    return Shipped(tuple(files), flags)


def refuse_local_paths(flags: JobFlags, *, in_image: bool) -> None:
    """Raise :class:`SubmitError` for what a driver on another machine could not read.

    ``in_image``: it runs in an image, to which nothing is sent.
    """
    for word in flags.words():
        if word.startswith("file:") or word.partition("=")[2].startswith("file:"):
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
    for flag, path in _driver_paths(flags).items():
        if in_image:
            _refuse_outside_image(flag, path)
        else:
            _refuse_unsendable(flag, path)


def _driver_paths(flags: JobFlags) -> dict[str, Path]:
    """The files that the driver reads, by flag, without those that are URIs."""
    values = {flag: flags.value(flag) for flag in _READ_BY_DRIVER}
    return {flag: Path(value) for flag, value in values.items() if value and ":" not in value}


def _refuse_outside_image(flag: str, path: Path) -> None:
    if not path.is_absolute():
        raise SubmitError(
            f"{flag} {path}: the driver runs in the image and has no such file. Give a path inside "
            f"the image (/opt/pyspark_vision/{path}) or a URI (s3a://…)"
        )


def _refuse_unsendable(flag: str, path: Path) -> None:
    if not path.exists():
        raise SubmitError(f"{flag} {path}: there is no such file to send to the driver")
    if path.is_dir() and not (path / "model.json").is_file():
        raise SubmitError(
            f"{flag} {path} is a folder without model.json: make a bundle of it first, with "
            "`pyspark-vision bundle build`"
        )
