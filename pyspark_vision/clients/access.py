"""Who may look at a page that this machine serves; plain functions, for WSGI and ASGI alike.

A page on 127.0.0.1 is for who sits at the machine. Bound elsewhere, it wants the token that stands
in the URL which the command printed; the browser keeps it in a cookie, so that links work.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket

# 192 bits: nobody guesses them over a network.
_TOKEN_BYTES = 24
# A cookie is sent to every port of a host: two pages on one machine have names of their own.
COOKIE_PREFIX = "pyspark_vision_token_"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.strip("[]").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_for(host: str) -> str | None:
    """A new token for a page bound to ``host``; ``None`` where it needs none."""
    return None if is_loopback(host) else secrets.token_urlsafe(_TOKEN_BYTES)


def page_url(host: str, port: int, token: str | None) -> str:
    """The address to open, as another machine would know it if it may come.

    >>> page_url("127.0.0.1", 8040, None), page_url("::1", 8040, "secret")
    ('http://127.0.0.1:8040/', 'http://[::1]:8040/?token=secret')
    """
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def allowed(token: str | None, given: str | None) -> bool:
    """Whether ``given``, of the URL or the cookie, opens a page with ``token``.

    >>> allowed("secret", "secret"), allowed("secret", None), allowed(None, None)
    (True, False, True)
    """
    if token is None:
        return True
    return hmac.compare_digest(token.encode(), (given or "").encode())


def is_own_host(bound: str, host_header: str | None) -> bool:
    """Whether a request names this machine, and no name that another site made point to it.

    Another site's page can have its own name resolve to 127.0.0.1 and would then read what is
    served there. A page bound elsewhere has its token instead, and any name.
    """
    if not is_loopback(bound):
        return True
    name = (host_header or "").strip()
    name = name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name
    return is_loopback(name if name.startswith("[") else name.partition(":")[0])
