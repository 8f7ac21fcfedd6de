"""What a browser would see in a page of HTML."""

from __future__ import annotations

from html.parser import HTMLParser


class Tags(HTMLParser):
    """The names of tags and attributes, and what ``src`` and ``href`` lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("src", "href")}


def page_tags(page: str) -> Tags:
    """Of the whole page."""
    seen = Tags()
    seen.feed(page)
    return seen
