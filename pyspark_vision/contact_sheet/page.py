"""Pages by templates: the contact sheet's, `page.html`, and what all pages share.

`layout.html` and `look.css` are every page's; the live page of `clients` uses them, too. Jinja2
escapes every value; into attributes go only numbers, colours and data: URIs made here, and the
escaped `alt`.
"""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PACKAGE = "pyspark_vision.contact_sheet"


def page_html(values: dict[str, Any]) -> str:
    """Return the page; control characters in the values become U+FFFD."""
    return page_environment().get_template("page.html").render(values)


def page_environment(*packages: str) -> Environment:
    """Templates of `packages`, the first that has a name, and then of this one."""
    environment = Environment(
        # From the zip of modules, too.
        loader=ChoiceLoader([PackageLoader(package, "") for package in (*packages, _PACKAGE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {"percent": "{:.2%}".format, "thousands": "{:,}".format}
    return environment


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else _visible(char) for char in value)


def _visible(char: str) -> str:
    # isprintable() is false for joiners too, which many scripts need
    return char if char in "\u200c\u200d\u00a0" else " " if char.isspace() else "\ufffd"
