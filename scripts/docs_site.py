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
# A link that is called as its file, which is how the guides are read in the repository.
_NAMED_AS_FILE = re.compile(r"\[(?:docs/|benchmarks/)?([\w/]+\.md)\](?=\()")
_TITLE = re.compile(r"^# ([^:\n]+)", re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of ``OUTSIDE``."""
    for page, place in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/, and back into it, lead to pages of the site, and have their titles."""
    pages = {place: name for name, place in OUTSIDE.items()}
    markdown = _NAMED_AS_FILE.sub(lambda link: f"[{_title(link.group(1))}]", markdown)
    return _LINK.sub(lambda link: _inside(link, pages), markdown)


def _title(page: str) -> str:
    """What a page is called before its colon; the name of a file that is no page stays."""
    path = ROOT / OUTSIDE.get(page, f"docs/{page}")
    title = _TITLE.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return title.group(1).strip() if title else page


def _inside(link: re.Match[str], pages: dict[str, str]) -> str:
    place, anchor = link.group(1).removeprefix("../"), link.group(2) or ""
    if place.startswith("docs/"):
        return f"]({place.removeprefix('docs/')}{anchor})"
    if place not in pages:
        raise ValueError(f"docs link to ../{place}, which is no page: add it to {__file__}")
    return f"]({pages[place]}{anchor})"
