"""A wheel of the checkout, and an environment that has it without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# What setup.py reads, and what of it a wheel holds.
_SOURCES = ("pyspark_vision", "jobs", "models", "conf", "setup.py", "pyproject.toml", "README.md")


def build_wheel(root: Path, folder: Path) -> Path:
    """``python -m build``, of a copy: setuptools writes beside what it reads."""
    copy = folder / "copy"
    copy.mkdir()
    for name in _SOURCES:
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(root / name, copy / name, ignore=ignored)
        else:
            shutil.copy(root / name, copy / name)
    # With this environment's setuptools: the wheel by way of the sdist, as by default.
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)])
    shutil.rmtree(copy)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Its command ``pyspark-vision``, in an environment of its own beside the packages of this."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    # A folder that a .pth names is searched, and the .pth files in it are not read: this
    # environment's packages are there, and its editable installation of the checkout is not.
    [packages] = folder.glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin" / "pyspark-vision"


def environment() -> dict[str, str]:
    """Without what would lead to the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
