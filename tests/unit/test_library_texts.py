"""Texts of the library name its parameters; flags are named where a command line is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import guides

PACKAGE = guides.ROOT / "pyspark_vision"
OF_COMMANDS = ("cli", "clients", "contact_sheet", "doctor", "job")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?![\w-])")
# Of spark-submit, and so of no command here.
SPARKS = {"--conf", "--packages", "--master", "--archives", "--py-files", "--remote", "--jars"}


def texts(source: str) -> Iterator[str]:
    """The strings of a module that are not docstrings."""
    tree = ast.parse(source)
    docstrings = {
        node.value
        for body in (getattr(node, "body", None) for node in ast.walk(tree))
        if isinstance(body, list) and body and isinstance(node := body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if node not in docstrings:
                yield text


def flags_of_commands() -> set[str]:
    folders = (guides.ROOT / "jobs", PACKAGE / "cli", PACKAGE / "job")
    sources = [path.read_text("utf-8") for folder in folders for path in folder.glob("*.py")]
    return {text for source in sources for text in texts(source) if FLAG.fullmatch(text)} - SPARKS


def test_the_library_names_no_flag_of_a_command() -> None:
    modules = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in OF_COMMANDS
    ]
    own = flags_of_commands()
    assert {"--checkpoint", "--kafka-topic", "--no-twin"} <= own

    found = {
        str(path.relative_to(PACKAGE)): flags
        for path in modules
        if (
            flags := {
                flag
                for text in texts(path.read_text("utf-8"))
                for flag in FLAG.findall(text)
                if flag in own
            }
        )
    }

    assert found == {}


def test_a_flag_in_a_text_is_seen_and_one_in_a_docstring_is_not() -> None:
    source = 'def f(a):\n    """--checkpoint"""\n    raise E(f"say --labels or {a} --input_type")\n'

    assert [flag for text in texts(source) for flag in FLAG.findall(text)] == ["--labels"]
