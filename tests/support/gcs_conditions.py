"""A proxy before the tests' Cloud Storage that keeps conditions of uploads, as the service does.

fake-gcs-server takes ``ifGenerationMatch`` for uploads in one request, and ignores it for those
of several (resumable ones), which is how Hadoop's connector writes. The service refuses with 412
whoever comes second (https://cloud.google.com/storage/docs/request-preconditions).
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, urlsplit

from http_double import HttpDouble

_OF_ONE_HOP = ("connection", "transfer-encoding", "content-length", "host")


class GcsConditions(HttpDouble):
    """``refused``: how many uploads were refused, because the object had another generation."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = urlsplit(target).netloc
        self._uploads: dict[str, tuple[str, int]] = {}
        self._one_by_one = threading.Lock()
        self.refused = 0

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        with self._one_by_one:
            known = self._uploads.get(query.get("upload_id", ""))
            if known and self._generation(known[0]) != known[1]:
                self.refused += 1
                refusal = {"error": {"code": 412, "message": "conditionNotMet"}}
                _send(request, 412, {}, json.dumps(refusal).encode())
                return
            status, headers, content = self._ask(
                request.command, request.path, dict(request.headers.items()), body
            )
        location = urlsplit(headers.get("Location", ""))
        if location.netloc:
            headers["Location"] = location._replace(netloc=urlsplit(self.url).netloc).geturl()
            if "ifGenerationMatch" in query:
                [upload] = parse_qs(location.query)["upload_id"]
                bucket = location.path.partition("/b/")[2].partition("/")[0]
                place = f"{bucket}/o/{quote(query['name'], safe='')}"
                self._uploads[upload] = place, int(query["ifGenerationMatch"])
        _send(request, status, headers, content)

    def _generation(self, place: str) -> int:
        """Of the object that is there; 0 for none."""
        status, _, content = self._ask("GET", f"/storage/v1/b/{place}", {}, None)
        return int(json.loads(content)["generation"]) if status == 200 else 0

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        passed = {n: value for n, value in headers.items() if n.lower() not in _OF_ONE_HOP}
        connection.request(method, path, body, passed)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content


def _body(request: BaseHTTPRequestHandler) -> bytes | None:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b""
        while size := int(request.rfile.readline().split(b";")[0], 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return body
    length = int(request.headers.get("Content-Length") or 0)
    return request.rfile.read(length) if length else None


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        if name.lower() not in _OF_ONE_HOP:
            request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)
