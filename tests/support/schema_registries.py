"""A schema registry as its REST API documents it, in this process: what the client asks of one."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro


@dataclass
class Registry:
    """``schemas`` by id, ``versions`` by (subject, version): answers as JSON. ``failures``: HTTP
    statuses of the next answers, one after the other; 200 is no failure. ``authorization``: what
    it wants."""

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    authorization: str | None = None
    asked: list[str] = field(default_factory=list)

    def add(self, schema_id: int, schema: Any, **more: Any) -> int:
        """Register a schema under an id."""
        self.schemas[schema_id] = {"schema": json.dumps(schema), **more}
        return schema_id


@contextmanager
def running_registry() -> Iterator[Registry]:
    """A registry on a free port of 127.0.0.1."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            registry.asked.append(self.path)
            status, body = _answer(registry, self.path, self.headers["Authorization"])
            data = json.dumps(body).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{registry.url}/elsewhere")
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()


def _answer(registry: Registry, path: str, authorization: str | None) -> tuple[int, Any]:
    if registry.failures and (status := registry.failures.pop(0)) != 200:
        return status, {"message": "not now"}
    if registry.authorization is not None and authorization != registry.authorization:
        return 401, {"error_code": 401, "message": "Unauthorized"}
    match path.strip("/").split("/"):
        case ["schemas", "ids", schema_id] if int(schema_id) in registry.schemas:
            return 200, registry.schemas[int(schema_id)]
        case ["schemas", "ids", _]:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        case ["subjects", subject, "versions", version]:
            return 200, registry.versions[subject, int(version)]
    return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}


def avro(schema: Any, value: Any) -> bytes:
    """A value as bare Avro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def framed(schema_id: int, data: bytes) -> bytes:
    """In Confluent's framing."""
    return b"\0" + schema_id.to_bytes(4) + data
