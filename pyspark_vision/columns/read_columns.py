"""The column that a worker gets for what an image function is called with, and how it is read.

Right around ``decode_image(x)`` or ``fetch_object(x)`` the column that is read is ``x`` itself, so
that all is done in one pass instead of handing pixels or files from one UDF to the next. Both leave
a mark on the Column that they return.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark_vision.columns.options import decode_options
from pyspark_vision.columns.type_checks import IMAGES, REFERENCE, Accepted
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.spark import internals

if TYPE_CHECKING:
    from pyspark.sql import Column

    ColumnOrName = Column | str

_DECODE_MARK = "_pyspark_vision_decode"
_FETCH_MARK = "_pyspark_vision_fetch"


@dataclasses.dataclass(frozen=True)
class ReadColumn:
    """The column that the worker gets, and how it makes pixels of it."""

    col: ColumnOrName
    decode: DecodeOptions
    fetch: FetchOptions | None = None
    timings: bool = False

    @property
    def accepted(self) -> Accepted:
        """The types that the column may have."""
        return IMAGES if self.fetch is None else REFERENCE


def mark_decoded(column: Column, col: ColumnOrName, options: DecodeOptions) -> None:
    """``column`` is ``decode_image(col)``."""
    internals.mark(column, _DECODE_MARK, (col, options))


def mark_fetched(column: Column, reference: Column, options: FetchOptions) -> None:
    """``column`` is ``fetch_object`` of ``reference``."""
    internals.mark(column, _FETCH_MARK, (reference, options))


def read_column(
    function: str, col: ColumnOrName, decode: Mapping[str, Any], *, timings: bool = False
) -> ReadColumn:
    """What ``function(col, **decode)`` reads; :class:`InvalidOptionError` for a wrong keyword."""
    options = decode_options(function, decode)
    marked = internals.mark_of(col, _DECODE_MARK)
    if marked is not None:
        if others := sorted(set(decode) - {"exact"}):
            raise InvalidOptionError(
                f"{function}: {', '.join(others)} must be decode_image's, which is inside of it"
            )
        col, inner = marked
        options = dataclasses.replace(inner, exact=inner.exact or options.exact)
    marked = internals.mark_of(col, _FETCH_MARK)
    uri, fetch = marked or (col, None)
    return ReadColumn(uri, options, fetch, timings)
