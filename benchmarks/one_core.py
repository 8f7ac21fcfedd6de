"""Processes that are bound to one core, so that what is measured does not share it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Of what is measured, and of what it talks to: a broker, a store, their clients.
JOB_CORE, SERVICE_CORE = 0, 1


@contextmanager
def children_on_core(core: int) -> Iterator[None]:
    """Processes and threads that are started within run on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
