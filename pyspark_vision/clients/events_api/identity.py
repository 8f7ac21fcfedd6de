"""Which request an event came from, so that one that is sent again is not counted twice.

A client says it by ``Idempotency-Key``: a key of its own, or the event id of an earlier answer.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pyspark_vision.clients.events_api.refusals import bad_input

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 255

_KEY_BYTES = 16
_REQUEST_BYTES = 8
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")
# A clean-up of the oldest, once this many keys more than half of them may be of removed events.
_FORGET_EVERY = 10_000


@dataclass(frozen=True)
class Identity:
    """``key``: what names the request. ``request``: what it was, to tell a key that is reused."""

    key: bytes
    request: bytes

    def __bytes__(self) -> bytes:
        return self.key + self.request


def read_identity(key: str, request: bytes) -> Identity:
    """Of a request's ``Idempotency-Key`` and all that makes its event, headers left out.

    Raises :class:`Refusal` for a key that is empty, too long, or no visible ASCII.
    """
    if not _KEY.fullmatch(key):
        raise bad_input(f"{HEADER} must be 1 to {MAX_KEY_CHARS} visible ASCII characters")
    return Identity(_digest(key.encode("ascii"), _KEY_BYTES), _digest(request, _REQUEST_BYTES))


class Identities:
    """The events that the journal still has, by the keys of their requests."""

    def __init__(self) -> None:
        # By age: a dict keeps the order.
        self._known: dict[bytes, tuple[int, bytes]] = {}
        self._next_clean_up = _FORGET_EVERY

    def find(self, key: bytes) -> tuple[int, bytes] | None:
        """The event's number and what its request was."""
        return self._known.get(key)

    def remember(self, sequence: int, identity: bytes, oldest: int) -> None:
        """``identity``: as in the journal, or empty; ``oldest``: the first number still there."""
        if not identity:
            return
        self._known[identity[:_KEY_BYTES]] = (sequence, identity[_KEY_BYTES:])
        if len(self._known) >= self._next_clean_up:
            for key in [k for k, (number, _) in self._known.items() if number < oldest]:
                del self._known[key]
            self._next_clean_up = len(self._known) + _FORGET_EVERY


def _digest(text: bytes, size: int) -> bytes:
    return hashlib.blake2b(text, digest_size=size).digest()
