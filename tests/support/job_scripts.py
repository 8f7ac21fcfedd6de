"""The job scripts, called as modules, and what a short run of stream_detect is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def job(root: Path, name: str) -> Any:
    """A job script as a module; scripts are no package, as spark-submit sees them."""
    spec = importlib.util.spec_from_file_location(name, root / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def detect_arguments(root: Path, frames: Path, tmp_path: Path, *more: str) -> list[str]:
    return [
        "--input",
        str(frames),
        "--model",
        str(root / "models" / "demo-detector"),
        "--checkpoint",
        str(tmp_path / "checkpoint"),
        "--output",
        str(tmp_path / "out"),
        "--trigger",
        "available-now",
        *more,
    ]
