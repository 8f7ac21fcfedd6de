"""One process: listens, keeps, sends, and ends with its counts."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from pyspark_vision.clients import listening_socket, stopping
from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.events_api.app import DOCS, Service, make_app
from pyspark_vision.clients.events_api.identity import Identities
from pyspark_vision.clients.events_api.intake import Intake
from pyspark_vision.clients.events_api.journal import Journal, open_journal
from pyspark_vision.clients.events_api.messages import Form
from pyspark_vision.clients.events_api.records import Record
from pyspark_vision.clients.events_api.refusals import MAX_HEAD_BYTES
from pyspark_vision.clients.events_api.sender import Sender
from pyspark_vision.clients.events_api.transactions import Target, check_topic
from pyspark_vision.sinks import terminal

# Requests in hand have their answer in less; what is kept is tried to be sent so long.
_END_REQUESTS_S = 5
_END_SENDING_S = 10.0

# Connections that wait to be taken; more are refused by the kernel.
_BACKLOG = 2048


@dataclass(frozen=True)
class Settings:
    """What the command's flags say."""

    brokers: Brokers
    topic: str
    form: Form
    journal: Path
    max_journal_bytes: int
    host: str
    port: int


def serve(settings: Settings) -> int:
    """Serve until a signal; 0. Raises what is wrong before the first request."""
    identities = Identities()

    def remember(record: Record) -> None:
        identities.remember(record.sequence, record.identity, 0)

    with (
        closing(_listening(settings)) as listener,
        open_journal(
            settings.journal, settings.topic, settings.max_journal_bytes, remember
        ) as journal,
    ):
        target = Target(settings.brokers, settings.topic, journal.name)
        check_topic(target)
        server = _Running(settings, journal, identities, target)
        with stopping.listening(server.end), asyncio.Runner(loop_factory=server.new_loop) as runner:
            runner.run(server.run(listener))
        terminal.say(server.summary(), sys.stdout)
    return 0


class _Running:
    """A server's parts, and how they end: requests, then the journal, then the sender."""

    def __init__(
        self, settings: Settings, journal: Journal, identities: Identities, target: Target
    ) -> None:
        self._settings, self._journal = settings, journal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender = Sender(target, journal, self._on_sent, self._on_away)
        self._intake = Intake(journal, identities, self._sender.wake)
        self._service = Service(settings.form, journal.name, self._intake, self._sender)
        config = uvicorn.Config(
            make_app(self._service),
            http="h11",  # its bound on what a request may have before its body is kept to
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_END_REQUESTS_S,
        )
        self.new_loop = config.get_loop_factory()
        self._server = uvicorn.Server(config)

    async def run(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        writing = asyncio.create_task(self._intake.run())
        self._sender.start()
        self._say_start(listener)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            self._intake.close()
            await writing
            await asyncio.to_thread(self._sender.stop, _END_SENDING_S)

    def end(self, number: int) -> None:
        """uvicorn, which hears SIGINT and SIGTERM itself while it serves, looks at it."""
        self._server.should_exit = True

    def _say_start(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        waiting = self._journal.end - self._journal.sent
        terminal.say(
            f"events-api: http://{shown}:{port} -> {self._settings.topic} on "
            f"{self._settings.brokers.servers}; docs at {DOCS}; journal in {self._journal.folder}"
            + (f", with {waiting} events to send" if waiting else ""),
            sys.stdout,
        )

    def summary(self) -> str:
        unsent = self._journal.end - self._journal.sent
        said = f"events-api: events {self._intake.kept}, sent {self._sender.sent}"
        if unsent:
            said += f", kept {unsent} in {self._journal.folder}, to be sent at the next start"
        if refused := sum(self._service.refused.values()):
            codes = ", ".join(f"{code} {n}" for code, n in sorted(self._service.refused.items()))
            said += f", refused {refused} ({codes})"
        return said

    def _on_sent(self, sent: int) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._intake.set_sent, sent)

    def _on_away(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._intake.set_away)


def _listening(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    return listening_socket.listen(host, port, port, backlog=_BACKLOG)
