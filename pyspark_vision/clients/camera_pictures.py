"""The latest picture of each camera in a folder: FOLDER/CAMERA/NAME, always a whole file.

``produce`` keeps ``input.jpg`` and ``receive`` ``output.jpg``, in one folder if they are told so.

A camera's name comes from a message. Its folder is the name with everything but letters, digits and
``_-~.`` as ``%XX``, so that no name is a path, a hidden file or a word of a shell.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from pyspark_vision.clients.whole_file import write_whole
from pyspark_vision.errors import InvalidOptionError

# Says whose the folder is; files of cameras that are not there any more may lie in it.
MARK = "_camera_pictures"
# A topic may name as many cameras as it likes; a folder for each would fill a disk.
MAX_CAMERAS = 1_000
# Linux takes 255 bytes for a name.
_NAME_CHARS = 120


def claim(folder: Path, flag: str) -> None:
    """Make the folder one of pictures, or find that it is. An empty one may become it.

    Raises :class:`InvalidOptionError` for a folder that holds anything else, and for one that
    cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = os.listdir(folder)
        if MARK not in names:
            if names:
                raise InvalidOptionError(
                    f"{flag} {folder} holds {sorted(names)[0]} and no mark of pictures, so that "
                    "nothing of it is replaced. Choose a new folder"
                )
            (folder / MARK).write_text(json.dumps({"written_by": "pyspark-vision"}) + "\n")
    except OSError as error:
        raise InvalidOptionError(
            f"{flag} {folder}: {error.strerror}. Choose a folder that can be written"
        ) from None


def camera_folder(camera_id: str) -> str:
    """A name for a camera's folder, another one for each camera.

    >>> camera_folder("hall"), camera_folder("../etc/passwd"), camera_folder(".")
    ('hall', '%2E.%2Fetc%2Fpasswd', '%2E')
    """
    # JSON may hold halves of letters, which UTF-8 has not.
    name = quote(camera_id, safe="", errors="surrogatepass")
    if name.startswith((".", "~", "_", "-")):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) <= _NAME_CHARS:
        return name
    digest = hashlib.sha256(camera_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[:_NAME_CHARS]}%{digest[:16]}"


class CameraPictures:
    """``NAME`` of each camera, in a folder that was claimed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._cameras = {entry.name for entry in os.scandir(folder) if entry.is_dir()}

    def keep(self, camera_id: str, jpeg: bytes) -> bool:
        """Put a picture in the place of the camera's last one; ``False``: too many cameras.

        Raises :class:`OSError`. Readers have the last picture or this one, whole.
        """
        name = camera_folder(camera_id)
        if name not in self._cameras:
            if len(self._cameras) >= MAX_CAMERAS:
                return False
            self._cameras.add(name)
        target = self._folder / name / self._name
        target.parent.mkdir(exist_ok=True)
        write_whole(target, jpeg)
        return True


def kept_if_possible(
    flag: str, folder: Path, name: str, say: Callable[[str], None]
) -> Callable[[str, bytes], None]:
    """A function that keeps a camera's picture in a folder that was claimed, for who goes on.

    It raises nothing: a disk that is full is said once for each camera, too many cameras once.
    """
    pictures = CameraPictures(folder, name)
    told: set[str] = set()

    def keep(camera_id: str, jpeg: bytes) -> None:
        try:
            is_kept = pictures.keep(camera_id, jpeg)
        except OSError as error:
            if camera_id not in told:
                told.add(camera_id)
                say(f"{flag} {folder}: {error.strerror}; others go on")
        else:
            if not is_kept and "" not in told:
                told.add("")
                say(f"more than {MAX_CAMERAS} cameras: further ones have no {name}")

    return keep
