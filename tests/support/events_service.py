"""The events API's application without Kafka: a journal whose events count as sent, or do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvicorn
from local_services.process import free_ports, wait_until

from pyspark_vision.clients.events_api.app import Service, make_app
from pyspark_vision.clients.events_api.identity import Identities
from pyspark_vision.clients.events_api.intake import Intake
from pyspark_vision.clients.events_api.journal import Journal, open_journal
from pyspark_vision.clients.events_api.messages import Form
from pyspark_vision.clients.events_api.sender import Sender


@dataclass
class NoSender:
    """What the application asks a sender."""

    is_away: bool = False
    max_message_bytes: int | None = None


@dataclass
class Running:
    """An application that listens at ``port``."""

    port: int
    journal: Journal
    sender: NoSender
    service: Service

    def events(self) -> list[bytes]:
        """The messages that it has kept."""
        return [record.message for record in self.journal.unsent(1000)]


@contextmanager
def running(
    folder: Path, form: Form = Form.METADATA, max_bytes: int = 64 * 1024 * 1024
) -> Iterator[Running]:
    """An application over a new journal; unless away, each event counts as sent once it is kept."""
    with open_journal(folder, "events", max_bytes, lambda record: None) as journal:
        sender = NoSender()

        def count_as_sent() -> None:
            if not sender.is_away:
                intake.set_sent(journal.end)

        intake = Intake(journal, Identities(), count_as_sent)
        made = Service(form, journal.name, intake, cast("Sender", sender))
        [port] = free_ports(1)
        config = uvicorn.Config(make_app(made), port=port, log_level="error", lifespan="off")
        server = uvicorn.Server(config)

        async def serve() -> None:
            writing = asyncio.create_task(intake.run())
            await server.serve()
            intake.close()
            await writing

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert wait_until(lambda: server.started, timeout_s=20)
            yield Running(port, journal, sender, made)
        finally:
            server.should_exit = True
            thread.join()
