"""dist/pyspark_vision.zip: reproducible, pure Python, importable as it is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


def build(root: Path, target: Path) -> bytes:
    subprocess.run([sys.executable, root / "scripts" / "build_zip.py", target], check=True)
    return target.read_bytes()


def test_the_same_sources_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    assert build(root, tmp_path / "a.zip") == build(root, tmp_path / "b" / "b.zip")


def test_it_holds_python_modules_only(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")

    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()

    assert "pyspark_vision/functions.py" in names
    assert {Path(name).suffix for name in names} == {".py"}
    assert {name.split("/")[0] for name in names} == {"pyspark_vision"}


def test_every_package_in_it_is_importable(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")
    code = "import pyspark_vision.functions as f; print(f.__file__)"

    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "a.zip"), "PATH": "/usr/bin:/bin"},
    )

    assert "a.zip" in run.stdout
