"""CSV as RFC 4180 has it, which is what pandas, DuckDB and Python's ``csv`` read and write.

Spark's own defaults escape quotes with a backslash, cut blanks at both ends of what they write, and
end a row at a line break within quotes.
"""

from __future__ import annotations

RFC_4180: dict[str, bool | str] = {
    "header": True,
    "escape": '"',
    "multiLine": True,  # of readers: a value in quotes may hold line breaks
    "ignoreLeadingWhiteSpace": False,
    "ignoreTrailingWhiteSpace": False,
}
"""Options of Spark's CSV readers and writers."""

OWN_FILES: dict[str, bool | str] = {
    **RFC_4180,
    # Not the first line break that is found, which a name may hold.
    "lineSep": "\n",
    # The readers' limit of 20,480 columns is less than a long vector has numbers.
    "maxColumns": "1000000",
}
"""Options of readers for what :func:`pyspark_vision.sinks.csv.csv_sink` has written."""
