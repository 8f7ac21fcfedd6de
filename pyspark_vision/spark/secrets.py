"""What must not be printed: values of Kafka's properties file, credentials in URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_MASK = "***"
# Of a properties file, these say how to log in, not with what.
_HARMLESS = ("security.protocol", "sasl.mechanism")
# Up to the last @: a secret may have slashes in it, which end the host for every URI parser.
_IN_URI = re.compile(r"(\w[\w+.-]*://)\S+@")
_IN_QUERY = re.compile(
    r"(?i)([?&][\w.-]*(?:sig|token|secret|password|credential|key)[\w.-]*=)[^&\s]+"
)
_QUOTED = re.compile(r"""["']([^"']+)["']""")
# Masking every short word (a "1", a "true") would make lines unreadable, and hides nothing.
_SHORTEST = 3


@dataclass(frozen=True)
class Secrets:
    """Texts that no line may show, beside what looks like a credential in a URI."""

    values: frozenset[str] = frozenset()

    def masked(self, text: str) -> str:
        """The text with ``***`` for each of them."""
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, _MASK)
        return _IN_QUERY.sub(rf"\1{_MASK}", _IN_URI.sub(rf"\1{_MASK}@", text))


def secrets_of(properties: Iterable[tuple[str, str]], uris: Iterable[str]) -> Secrets:
    """The values of Kafka's properties, whole and in parts, and the credentials in the URIs."""
    secrets: set[str] = set()
    for key, value in properties:
        if key not in _HARMLESS:
            secrets |= {value, *_QUOTED.findall(value)}
    for uri in uris:
        if has_credentials(uri):
            login = uri.split("://", 1)[1].rpartition("@")[0]
            for part in (login, *login.split(":", 1)):
                secrets |= {part, unquote(part)}
    return Secrets(frozenset(value for value in secrets if len(value) >= _SHORTEST))


def has_credentials(uri: str) -> bool:
    """Whether a URI names a user and a password before its host."""
    if urlsplit(uri).scheme in ("", "file", "local"):
        return False
    before_at = uri.split("://", 1)[-1].rpartition("@")[0]
    return ":" in before_at
