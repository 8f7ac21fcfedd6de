"""The script behind models/demo-dual-encoder makes the same model again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")


def trained(root: Path, output: Path) -> dict[str, bytes]:
    """A small model's files by name, as a process of its own has made them."""
    script = root / "scripts" / "train_demo_dual_encoder.py"
    sizes = ["--pictures", "256", "--epochs", "1", "--measure", "16"]
    command = [sys.executable, str(script), "--output", str(output), *sizes]
    subprocess.run(command, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in (output / "towers").iterdir()}


@pytest.mark.slow
def test_training_twice_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first, again = (trained(root, tmp_path / name) for name in ("first", "again"))

    assert {"image.onnx", "text.onnx", "tokenizer.json"} <= first.keys()
    assert [name for name in {*first, *again} if first.get(name) != again.get(name)] == []
