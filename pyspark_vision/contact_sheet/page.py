"""The contact sheet's page by its template, `page.html`: no script, nothing loaded.

Jinja2 escapes every value; into attributes go only numbers, colours and data: URIs made here, and
the escaped `alt`.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def page_html(values: dict[str, Any]) -> str:
    """Return the page; control characters in the values become U+FFFD."""
    environment = Environment(
        loader=PackageLoader("pyspark_vision.contact_sheet", ""),  # from the zip of modules, too
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"percent": "{:.2%}".format, "thousands": "{:,}".format}
    return environment.get_template("page.html").render(values)


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else _visible(char) for char in value)


def _visible(char: str) -> str:
    # isprintable() is false for joiners too, which many scripts need
    return char if char in "\u200c\u200d\u00a0" else " " if char.isspace() else "\ufffd"
