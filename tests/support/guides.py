"""README.md and the guides in docs/: their code blocks, and their commands run in this process."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from pyspark_vision.cli.main import main as pyspark_vision

ROOT = Path(__file__).resolve().parents[2]
GUIDES = (
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "speed.md"),
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """``guide``: the file's name; ``language``: what stands behind the fence, often nothing."""

    guide: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines, put together where a ``\\`` ends them, without comments."""
        joined = self.text.replace("\\\n", " ").splitlines()
        lines = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in joined)
        return [line for line in lines if line]


def blocks() -> list[Block]:
    """All code blocks of all guides."""
    return [
        Block(guide.name, *match)
        for guide in GUIDES
        for match in _BLOCK.findall(guide.read_text(encoding="utf-8"))
    ]


def block(guide: str, begins: str, placeholders: Mapping[str, str] | None = None) -> Block:
    """The block of a guide that begins so, with its placeholders replaced."""
    [chosen] = [b for b in blocks() if b.guide == guide and b.text.startswith(begins)]
    text = chosen.text
    if placeholders:
        names = "|".join(re.escape(name) for name in placeholders)
        text = re.sub(names, lambda name: placeholders[name.group()], text)
    return Block(guide, chosen.language, text)


def paths(folder: Path) -> dict[str, str]:
    """The guides' relative paths: a JVM that runs already keeps its own current folder.

    What a command writes lies in ``folder``.
    """
    written = {name: f"{folder}/{name}" for name in ("build/", "checkpoints/")}
    return {**written, **{name: f"{ROOT}/{name}" for name in ("jobs/", "models/")}}


def script(path: Path) -> ModuleType:
    """A script as a module, whatever its suffix."""
    loader = SourceFileLoader(path.stem, str(path))
    spec = importlib.util.spec_from_loader(path.stem, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def submission(command: str) -> Any:
    """What ``scripts/submit`` makes of the words behind it."""
    submit = script(ROOT / "scripts" / "submit")
    return submit.submission(submit.parser().parse_args(shlex.split(command)[1:]))


def run(command: str) -> int:
    """``scripts/submit …`` or ``pyspark-vision …`` on the running session; its exit code."""
    words = shlex.split(command)
    if words[0] == "pyspark-vision":
        return pyspark_vision(words[1:])
    assert words[0] == "scripts/submit"
    submitted = submission(command)
    if submitted.job.name == "main.py":
        return pyspark_vision(submitted.flags.argv)
    return int(script(submitted.job).main(submitted.flags.argv))
