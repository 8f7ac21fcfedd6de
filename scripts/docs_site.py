"""MkDocs' hooks for `make docs`: texts that lie outside docs/ become pages of the site, too."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

# Page of the site -> where it stands in the repository.
OUTSIDE = {
    "NOTES.md": "benchmarks/NOTES.md",
    "CARD.md": "models/demo-detector/CARD.md",
    "CHANGELOG.md": "CHANGELOG.md",
}

_LINK = re.compile(r"\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of ``OUTSIDE``."""
    for page, place in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/, and back into it, lead to pages of the site."""
    pages = {place: name for name, place in OUTSIDE.items()}
    return _LINK.sub(lambda link: _inside(link, pages), markdown)


def _inside(link: re.Match[str], pages: dict[str, str]) -> str:
    place, anchor = link.group(1).removeprefix("../"), link.group(2) or ""
    if place.startswith("docs/"):
        return f"]({place.removeprefix('docs/')}{anchor})"
    if place not in pages:
        raise ValueError(f"docs link to ../{place}, which is no page: add it to {__file__}")
    return f"]({pages[place]}{anchor})"
