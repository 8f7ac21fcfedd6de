"""A small HTTP proxy before an object store that fails when it is told to."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from http_double import HttpDouble

_ANSWERS = {
    "throttle": (503, "SlowDown"),
    "fail": (500, "InternalError"),
    "deny": (403, "AccessDenied"),
}
_SLOW_S = 2.0
# Of one hop only; the proxy sets its own.
_OWN_HEADERS = ("connection", "transfer-encoding", "content-length")


class FaultyProxy(HttpDouble):
    """``misbehave("throttle", 2)``: the next two GETs get that answer instead of the store's.

    ``throttle`` 503, ``fail`` 500, ``deny`` 403, ``short`` (the body is cut off), ``reset`` (the
    connection is closed without an answer), ``slow`` (the answer comes 2 s later). While the store
    is away every request is reset. With a ``certificate``, its key in the same file, it speaks TLS.
    Of ``own_host`` the store is told its own name: the tests' Cloud Storage goes by it.
    """

    def __init__(
        self, target: str, certificate: Path | None = None, *, own_host: bool = False
    ) -> None:
        super().__init__(certificate)
        self._target = urlsplit(target).netloc
        self._own_host = own_host
        self._lock = threading.Lock()
        self._fault, self._path = "", ""
        self._chances: Mapping[str, float] = {}
        self._random = random.Random()
        self.faults_left = 0
        self.requests = 0
        self.lists = 0

    def misbehave(self, fault: str, times: int, path: str = "") -> None:
        """Fail so many GETs of paths that begin so."""
        with self._lock:
            self._fault, self.faults_left, self._path = fault, times, path

    def misbehave_at_random(self, chances: Mapping[str, float], seed: int) -> None:
        """From now on each GET meets a fault with its chance; without ``chances``, none."""
        with self._lock:
            self._chances, self._random = chances, random.Random(seed)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests += 1
            self.lists += "list-type=2" in request.path
            hit = (
                request.command == "GET"
                and self.faults_left > 0
                and request.path.startswith(self._path)
            )
            fault = self._fault if hit else ""
            self.faults_left -= hit
            if request.command == "GET" and self._chances:
                names, weights = list(self._chances), list(self._chances.values())
                [fault] = self._random.choices(["", *names], [1 - sum(weights), *weights])
        if fault == "reset":
            request.close_connection = True
            return
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
            request.send_response(status)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
            return
        if fault == "slow":
            time.sleep(_SLOW_S)
        try:
            self._pass_on(request, short=fault == "short")
        except OSError:
            request.close_connection = True

    def _pass_on(self, request: BaseHTTPRequestHandler, *, short: bool) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length) if length else None
        connection = http.client.HTTPConnection(self._target, timeout=30)
        try:
            # As it came, Host included: S3 signatures cover it.
            connection.putrequest(
                request.command, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                is_host = self._own_host and name.lower() == "host"
                connection.putheader(name, self._target if is_host else value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN_HEADERS:
                request.send_header(name, value)
        declared = answer.getheader("Content-Length") if request.command == "HEAD" else None
        request.send_header("Content-Length", declared or str(len(content)))
        request.end_headers()
        if short:
            request.wfile.write(content[: len(content) // 2])
            request.close_connection = True
        else:
            request.wfile.write(content)
