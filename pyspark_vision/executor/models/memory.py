"""Memory that a worker no longer uses goes back to the system; the C library keeps it otherwise."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Return freed memory to the system, after something large: a model was loaded or converted.

    glibc keeps what was freed in small pieces for the next allocation. Other C libraries have no
    such call, and there nothing is done.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
