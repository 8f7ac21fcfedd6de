"""Google's own in-memory Pub/Sub server, ``pstest``: built once per machine, with Go.

What was published is gone when it stops, topics and subscriptions too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.local_services.jars import cache_folder
from pyspark_vision.clients.local_services.process import Daemon, ServiceError, free_ports

SOURCE = Path(__file__).resolve().parent / "pubsub_server"
# A minute on two free cores, modules included.
BUILD_TIMEOUT_S = 900


class GoMissingError(ServiceError):
    """There is no ``go`` that builds the server, and it was not built before."""


@dataclass(frozen=True)
class PubSub:
    """A running server; ``endpoint`` is what ``PUBSUB_EMULATOR_HOST`` has to say."""

    endpoint: str
    server: Daemon

    def environment(self) -> dict[str, str]:
        """The variable where Google's clients look for it."""
        return {"PUBSUB_EMULATOR_HOST": self.endpoint}


@contextmanager
def running(folder: Path, port: int | None = None) -> Iterator[PubSub]:
    """A server with its log in ``folder``, until the end of the block.

    ``port`` ``None``: any that is free. Raises :class:`GoMissingError` where it cannot be built.
    """
    port = port or free_ports(1)[0]
    ready = folder / "ready"

    def is_ready() -> bool:
        return ready.exists() and ready.read_text() == str(server.pid)

    server = Daemon("pubsub", [str(program()), str(port)], folder, is_ready)
    with server:
        yield PubSub(f"127.0.0.1:{port}", server)


def make_subscription(
    endpoint: str, project: str, topic: str, subscription: str, **settings: object
) -> None:
    """A topic and a subscription to it; what is there already stays.

    ``settings``: fields of the subscription (``enable_message_ordering=True``).
    """
    # The services that are no client's own need none of it.
    import grpc
    from google.api_core.exceptions import AlreadyExists
    from google.pubsub_v1 import PublisherClient, SubscriberClient, Subscription
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    with grpc.insecure_channel(endpoint) as channel:
        topic_name = f"projects/{project}/topics/{topic}"
        with suppress(AlreadyExists):
            publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            publisher.create_topic(name=topic_name)
        with suppress(AlreadyExists):
            subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            name = f"projects/{project}/subscriptions/{subscription}"
            subscriber.create_subscription(
                request=Subscription(name=name, topic=topic_name, **settings)
            )


def program() -> Path:
    """The server's program, built if it is not there: one process builds, others wait."""
    built = cache_folder() / "pubsub" / _digest() / "pubsub_server"
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with (built.parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(built)
    return built


def _digest() -> str:
    """Of the sources: another version of them never finds this one's program."""
    files = sorted(SOURCE.iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _build(built: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise GoMissingError(
            "the Pub/Sub server of the tests is Google's own, in Go: put `go` (1.26 or newer) on "
            "the PATH, as Debian's package golang does"
        )
    with tempfile.TemporaryDirectory(prefix=".build-", dir=built.parent) as folder:
        unfinished = Path(folder) / built.name
        command = [go, "build", "-o", str(unfinished), "."]
        done = subprocess.run(
            command,
            cwd=SOURCE,
            capture_output=True,
            text=True,
            # The checkout may be anybody's: what git says of it is of no use here.
            env={**os.environ, "GOFLAGS": "-buildvcs=false"},
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceError(f"go build of the Pub/Sub server failed:\n{done.stderr[-3000:]}")
        os.rename(unfinished, built)
