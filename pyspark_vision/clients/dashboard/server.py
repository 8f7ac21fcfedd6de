"""The page served by waitress, until Ctrl-C, SIGTERM or a closed terminal."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import socket
from typing import Any

import dash
import flask
import waitress

from pyspark_vision.clients import access

# Dash's own.
DEFAULT_PORT = 8050

# A browser asks for six things at a time.
_THREADS = 6

_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


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
    """Serve until :class:`KeyboardInterrupt`."""
    # A browser asks for more things at once than there are threads; that is no news to anybody.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = waitress.create_server(
        app.server,
        sockets=[listening],
        threads=_THREADS,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    try:
        server.run()
    finally:
        server.close()


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
