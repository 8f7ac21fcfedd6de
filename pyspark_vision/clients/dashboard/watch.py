"""A thread that looks at a source again and again, seldom enough to cost next to nothing."""

from __future__ import annotations

import logging
import threading
import time

from pyspark_vision.clients.dashboard.source import Source

# To list many small files takes long: if nothing is new, the next look waits, so that looking takes
# at most a tenth of a core.
_PAUSE_PER_LOOK = 9

_log = logging.getLogger(__name__)


class Watch:
    """``with Watch(source, 5.0):`` the source is looked at every five seconds, from now on."""

    def __init__(self, source: Source, every_s: float) -> None:
        self._source = source
        self._every_s = every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._is_over.is_set():
            began, version = time.monotonic(), self._source.status.version
            try:
                self._source.look()
            except Exception:  # a page that stops without a word is worse than one that is late
                _log.exception("looking at %s", self._source.shown)
            pause_s = self._every_s
            if self._source.status.version == version:
                pause_s = max(pause_s, _PAUSE_PER_LOOK * (time.monotonic() - began))
            self._is_over.wait(pause_s)
