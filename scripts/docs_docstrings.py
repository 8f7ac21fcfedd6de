"""Griffe's extension for `make docs`: docstrings, written for Sphinx and doctest, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class Markdown(griffe.Extension):
    """Roles (``:func:`name```) become code, and examples (``>>>``) blocks of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite a docstring after it was read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring with fences around its examples and without roles."""
    paragraphs = re.split(r"\n\s*\n", docstring)
    return "\n\n".join(_fenced(_ROLE.sub(r"`\1`", text)) for text in paragraphs)


def _fenced(paragraph: str) -> str:
    if paragraph.lstrip().startswith(">>>"):
        return f"```python\n{paragraph}\n```"
    # A tree of classes behind "::".
    return paragraph.replace("::", "") if paragraph.strip() == "::" else paragraph
