"""Models loaded in this Python worker: one for each content, shared by all UDFs and queries.

Keyed by what is in the file and how it is run, not by the UDF: a new UDF, a new micro-batch or
another query finds the loaded model. It lives as long as the worker does, which Spark decides:
``spark.python.worker.reuse`` (true), and 60 s of idleness end a worker.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

# Least recently used out. Two models in one job are common, more than four in a worker are not.
MAX_MODELS = 4

# How often each model was loaded in this process: more than once means the cache is too small.
load_counts: dict[Hashable, int] = {}

_loaded: OrderedDict[Hashable, object] = OrderedDict()
_log = logging.getLogger(__name__)

Model = TypeVar("Model")


def get(key: Hashable, load: Callable[[], Model]) -> Model:
    """The model under ``key``, loaded by ``load()`` on first use in this process."""
    if key in _loaded:
        _loaded.move_to_end(key)
        return _loaded[key]  # type: ignore[return-value]
    started = time.perf_counter()
    model = load()
    load_counts[key] = load_counts.get(key, 0) + 1
    _log.info("loaded model %s in %.2f s", key, time.perf_counter() - started)
    _loaded[key] = model
    while len(_loaded) > MAX_MODELS:
        _loaded.popitem(last=False)
    return model
