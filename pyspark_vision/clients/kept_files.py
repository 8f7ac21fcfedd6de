"""Files in folders that are ours: written whole, and nobody else's are replaced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyspark_vision.errors import InvalidOptionError


def claim_folder(flag: str, folder: Path, owner: str) -> None:
    """Make the folder, or find that it is ``owner``'s: it is empty, or bears its mark ``_owner``.

    Raises :class:`InvalidOptionError` for a folder with other files, or one that cannot be written.
    """
    mark = folder / f"_{owner}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            others = sorted(path.name for path in folder.iterdir())
            if others:
                raise InvalidOptionError(
                    f"{flag} {folder} holds {others[0]}, which is not of {owner}: it could be "
                    "replaced. Choose a new folder"
                )
            mark.touch()
    except OSError as error:
        raise InvalidOptionError(f"{flag} {folder} cannot be written: {error.strerror}") from None


def write_whole(target: Path, data: bytes) -> None:
    """Write a file so that readers see all of it or what was there before; raises :class:`OSError`.

    What is not yet whole has a name that begins with ``_``, which Spark does not read.
    """
    unfinished = target.with_name(f"_{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def keeper(
    flag: str, folder: Path, name: str, say: Callable[[str], None]
) -> Callable[[str, bytes], None]:
    """A function of camera and picture that keeps the camera's last one as ``folder/CAMERA/name``.

    It raises nothing: a disk that is full is said once for each camera.
    """
    told: set[str] = set()

    def keep(camera_id: str, jpeg: bytes) -> None:
        try:
            (folder / camera_id).mkdir(exist_ok=True)
            write_whole(folder / camera_id / name, jpeg)
        except OSError as error:
            if camera_id not in told:
                told.add(camera_id)
                say(f"{flag} {folder}: {error.strerror}; others go on")

    return keep
