"""Results that came before: the job's Kafka sink sends each at least once, under the same key.

A replay sends at most a micro-batch again, 1,000 records by default; the window is a hundred times
that. Messages without a key of ours, as PyctureStream's own, are never repeats.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from pyspark_vision.clients.pycturestream import Result

# How many of the last results are known. With 16 digits each, the window takes about 10 MB.
WINDOW_RESULTS = 100_000

# The end of messages/result_key.py's keys, model@version; and week 9's ids, which
# messages/image_stream.py makes of them.
_RESULT_KEY = re.compile(
    rb"-[^@]*@[0-9a-f]{12}\Z|\A[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}\Z"
)


def digest(key: bytes | None, result: Result) -> str | None:
    """Sixteen hex digits of the key and the frame's camera and time; ``None`` without our key.

    The frame counts too: when a topic of frames is made anew, its offsets begin again, and with
    them the keys.
    """
    if key is None or _RESULT_KEY.search(key) is None:
        return None
    # JSON may hold halves of letters, which UTF-8 has not.
    texts = (text.encode("utf-8", "surrogatepass") for text in (result.camera_id, result.timestamp))
    sized = b"".join(len(part).to_bytes(8, "big") + part for part in (key, *texts))
    return hashlib.blake2b(sized, digest_size=8).hexdigest()


class Window:
    """The digests of the last :data:`WINDOW_RESULTS` results, oldest first."""

    def __init__(self, digests: Iterable[str] = ()) -> None:
        self._digests = dict.fromkeys(digests)

    def __contains__(self, item: object) -> bool:
        return item in self._digests

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def add(self, item: str) -> None:
        """Know a result; the oldest is forgotten where there are too many."""
        self._digests[item] = None
        if len(self._digests) > WINDOW_RESULTS:
            del self._digests[next(iter(self._digests))]
