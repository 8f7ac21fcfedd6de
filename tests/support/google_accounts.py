"""A service account of Google's kind, with a private key of its own, and who gives it tokens."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

TOKEN = "ya29.planted-access-token-9f3a"


class Account:
    """Its key file, and the server that changes what the key has signed for :data:`TOKEN`.

    ``refuses``: it answers 401, as for a key that was withdrawn.
    """

    def __init__(self, folder: Path, *, refuses: bool = False) -> None:
        self.signed: list[str] = []
        account = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                account.signed += parse_qs(sent).get("assertion", [])
                granted = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
                refused = {"error": "invalid_grant", "error_description": "withdrawn"}
                body = json.dumps(refused if refuses else granted).encode()
                self.send_response(401 if refuses else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        url = f"http://127.0.0.1:{self._server.server_port}/token"
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        self._pem = key.decode()
        self.file = folder / "account.json"
        self.file.write_text(
            json.dumps(
                {
                    "type": "service_account",
                    "project_id": "tests",
                    "private_key_id": "planted-key-id-9f3a",
                    "private_key": self._pem,
                    "client_email": "stream@tests.iam.gserviceaccount.com",
                    "client_id": "1",
                    "token_uri": url,
                }
            )
        )

    def __enter__(self) -> Account:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def secrets(self) -> dict[str, str]:
        """What must stand nowhere: by a line of the key, for its line breaks have many forms."""
        return {
            "private key": self._pem.splitlines()[5],
            "key id": "planted-key-id-9f3a",
            "access token": TOKEN,
            **{f"signature {n}": text for n, text in enumerate(self.signed)},
        }
