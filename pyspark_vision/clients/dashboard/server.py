"""The page served by waitress, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import signal
import socket
from types import FrameType
from typing import Any

import dash
import flask
import waitress

from pyspark_vision.clients import access
from pyspark_vision.errors import InvalidOptionError

# Dash's own; the next ones are tried if it is taken and nobody asked for it.
DEFAULT_PORT = 8050
_TRIED_PORTS = 20

# A browser asks for six things at a time.
_THREADS = 6

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


def open_socket(host: str, port: int | None) -> socket.socket:
    """A socket that listens on ``port``; ``None``: the default one, or the next that is free.

    Raises :class:`InvalidOptionError` where the port cannot be had.
    """
    tried = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + _TRIED_PORTS)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    error: OSError | None = None
    for number in tried:
        try:
            return socket.create_server((host, number), family=family, backlog=64)
        except OSError as refused:
            error = refused
    assert error is not None
    if isinstance(error, socket.gaierror):
        raise InvalidOptionError(f"--host {host} is no address of this machine") from None
    if port is None:
        ports = f"{DEFAULT_PORT} to {DEFAULT_PORT + _TRIED_PORTS - 1}"
        raise InvalidOptionError(f"no port of {ports} is free on {host}; choose one by --port")
    raise InvalidOptionError(
        f"--port {port} cannot be had on {host}: {error.strerror}. Choose another, or leave it out"
    )


def guard(app: dash.Dash, host: str, token: str | None) -> None:
    """Answer only who may look, and tell browsers that nothing from elsewhere belongs to the page.

    A token comes once by the URL and then by a cookie, so that it is in no link on the page.
    """
    server = app.server
    cookie = access.COOKIE_PREFIX + hashlib.sha256((token or "").encode()).hexdigest()[:8]

    def check() -> Any:
        request = flask.request
        if not access.is_own_host(host, request.host):
            return flask.Response("This page has another name.\n", 403, mimetype="text/plain")
        given = request.args.get("token")
        if token is not None and given is not None and access.allowed(token, given):
            answer = flask.redirect(request.path)
            answer.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return answer
        if not access.allowed(token, request.cookies.get(cookie)):
            said = "Open the whole address that the command printed, with its token.\n"
            return flask.Response(said, 403, mimetype="text/plain")
        return None

    def seal(answer: flask.Response) -> flask.Response:
        hashes = ""
        if answer.mimetype == "text/html" and not answer.direct_passthrough:
            scripts = _INLINE_SCRIPT.findall(answer.get_data(as_text=True))
            hashes = "".join(f" 'sha256-{_sha256(text)}'" for text in scripts)
        answer.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return answer

    server.before_request(check)
    server.after_request(seal)


def serve(app: dash.Dash, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; both end it cleanly."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # A browser asks for more things at once than there are threads; that is no news to anybody.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    before = signal.signal(signal.SIGTERM, end)
    server = waitress.create_server(
        app.server,
        sockets=[listening],
        threads=_THREADS,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    try:
        server.run()  # takes KeyboardInterrupt for its end
    finally:
        signal.signal(signal.SIGTERM, before)
        server.close()


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
