"""Who may look: the page itself, and nobody through another page in the same browser.

Other pages cannot read (no CORS headers, own resource policy), cannot act (their ``Origin`` is
another), and cannot pose as this one by a name that leads here (``Host`` must be ours). Where
others on the network reach the page, they need the token: once in the address, then in a cookie.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pyspark_vision.clients.access import allowed, is_loopback

# What changes nothing.
_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class Door:
    """Where the page is served; ``token``: ``None`` if only this machine reaches it."""

    host: str
    port: int
    token: str | None = None

    @property
    def cookie(self) -> str:
        """Browsers send cookies to all ports of a host: each page has its own."""
        return f"pyspark_vision_live_{self.port}"


class Guard:
    """ASGI middleware: refuses, or lets through and adds the headers that browsers heed."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door
        self._names = _own_names(door.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers) or self._token_answer(scope, headers)
        with_headers = self._with_headers(send, headers.get("host", ""))
        if answer is None:
            await self._app(scope, receive, with_headers)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return _refused(421, "this page has another address: open the one that was printed")
        acts = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        origin = headers.get("origin")
        if acts and origin is not None and urlsplit(origin).netloc != host:
            return _refused(403, "another page may not do this")
        if acts and scope["type"] == "http" and origin is None:
            return _refused(403, "a browser says from which page this comes (Origin)")
        site = headers.get("sec-fetch-site", "none")
        is_opened = headers.get("sec-fetch-mode") == "navigate" and not acts
        if site in ("cross-site", "same-site") and not is_opened:
            return _refused(403, "another page may not read this")
        return None

    def _token_answer(self, scope: Scope, headers: Headers) -> Response | None:
        """``None``: it has the token, or needs none."""
        token = self._door.token
        if token is None or allowed(token, _cookies(headers).get(self._door.cookie)):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and allowed(token, given):
            return None
        in_address = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and scope["method"] == "GET" and allowed(token, in_address):
            # It leaves the address, and so the history and what people copy.
            answer = RedirectResponse(scope["path"], status_code=303)
            answer.set_cookie(self._door.cookie, token, httponly=True, samesite="lax", path="/")
            return answer
        return _refused(401, "open the address that the command printed: it has the token")

    def _is_own_host(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        # An address is no name that somebody can point here.
        return (port or 80) == self._door.port and (name in self._names or _is_address(name))

    def _with_headers(self, send: Send, host: str) -> Send:
        # Some browsers' 'self' leaves out the WebSocket of the same address.
        policy = (
            f"default-src 'self'; connect-src 'self' ws://{host}; img-src 'self' blob:; "
            "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        added: Mapping[str, str] = {
            "Content-Security-Policy": policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers[name] = value
            await send(message)

        return sent


def _own_names(host: str) -> frozenset[str]:
    names = {"localhost", host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        given = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in given.items()}


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status)
