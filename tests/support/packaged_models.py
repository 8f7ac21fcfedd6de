"""Models and pictures that packages ship: fetched once through pip, kept outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pyspark_vision.clients.local_services.jars import cache_folder

# Exact versions: other files would be other models.
VERSIONS = {"mediapipe": "0.10.21", "scikit-image": "0.26.0"}
# Wheels of one platform, whatever runs here: no code of them does.
_WHEEL_OF = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11")


def package(name: str) -> Path:
    """The unpacked wheel of a package of :data:`VERSIONS`, fetched if it is not there yet."""
    home = cache_folder() / "packages"
    folder = home / f"{name}-{VERSIONS[name]}"
    if folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    # Beside it first: who is stopped leaves no half of it.
    with tempfile.TemporaryDirectory(dir=home) as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work]
        wanted = f"{name}=={VERSIONS[name]}"
        subprocess.run([*pip, "--only-binary=:all:", *_WHEEL_OF, wanted], check=True)
        [wheel] = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(work, "unpacked"))
        Path(work, "unpacked").rename(folder)
    return folder
