"""Names of columns and fields in what Spark parses."""

from __future__ import annotations


def quoted(name: str) -> str:
    """``name`` in backticks: whatever it holds, it is one name.

    >>> quoted("a.b`c")
    '`a.b``c`'
    """
    return "`" + name.replace("`", "``") + "`"
