"""From what the user named to a page that is served."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import PurePath

from pyspark_vision.clients import access, listening_socket, stopping
from pyspark_vision.clients.brokers import Brokers, check_topics
from pyspark_vision.clients.dashboard import server
from pyspark_vision.clients.dashboard.events_file import EventsFile
from pyspark_vision.clients.dashboard.folder import Folder
from pyspark_vision.clients.dashboard.live_topic import LiveTopic
from pyspark_vision.clients.dashboard.page import make_app
from pyspark_vision.clients.dashboard.places import KAFKA_SCHEME, Place, find_place, why_unreadable
from pyspark_vision.clients.dashboard.source import Source
from pyspark_vision.clients.dashboard.watch import Watch
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sinks import terminal


@dataclass(frozen=True)
class Served:
    """``port`` ``None``: the default one or the next that is free."""

    host: str
    port: int | None
    refresh_s: float
    opens: bool


def find_source(where: str, brokers: Brokers, window_s: float, time_zone: str) -> Source:
    """The source that ``where`` names.

    Raises :class:`InvalidOptionError`, or an error of the brokers or of the place, with what to do.
    """
    if where.startswith(KAFKA_SCHEME):
        topic = where.removeprefix(KAFKA_SCHEME)
        if not topic:
            raise InvalidOptionError(f"{where}: name the topic, as kafka:resultstream")
        check_topics(brokers, [topic])
        return LiveTopic(brokers, topic, window_s, time_zone)
    place = find_place(where)
    if _is_events_file(place):
        return EventsFile(place.path)
    _refuse_unfit(place)
    return Folder(place, time_zone)


def run(source: Source, served: Served) -> None:
    """Serve the page of a source until a signal, say where it is, and close the source.

    Raises :class:`InvalidOptionError` where the port cannot be had.
    """
    usual = server.DEFAULT_PORT
    with (
        contextlib.suppress(KeyboardInterrupt),
        stopping.listening(stopping.interrupt, stopping.die),
        contextlib.closing(source),
        listening_socket.listen(served.host, served.port, usual) as listening,
    ):
        token = access.token_for(served.host)
        app = make_app(source, title=_title(source))
        server.guard(app, served.host, token)
        url = access.page_url(served.host, listening.getsockname()[1], token)
        with Watch(source, served.refresh_s):
            terminal.say(f"dashboard: {source.shown} at {url}", sys.stdout)
            terminal.say("dashboard: Ctrl-C ends it", sys.stdout)
            if served.opens:
                with contextlib.suppress(webbrowser.Error):
                    webbrowser.open(url)
            server.serve(app, listening)
    terminal.say("dashboard: ended", sys.stdout)


def _title(source: Source) -> str:
    name = PurePath(source.shown.removeprefix(KAFKA_SCHEME).rstrip("/")).name
    return name or source.shown


def _is_events_file(place: Place) -> bool:
    """A local file ``*.json`` that holds an array, or nothing yet; JSON lines begin with ``{``."""
    if not place.path.endswith(".json") or "://" in place.shown:
        return False
    try:
        if os.path.exists(place.path) and not os.path.isfile(place.path):
            return False
        with open(place.path, "rb") as file:
            return file.read(64).lstrip()[:1] in (b"[", b"")
    except FileNotFoundError:
        return place.path.endswith("events.json")  # its receiver may be about to start
    except OSError:
        return False


def _refuse_unfit(place: Place) -> None:
    """A folder that is not there may be a mistyped one: said at once, not on the page."""
    try:
        [file_info] = place.system.get_file_info([place.path])
        missing = file_info.type.name == "NotFound"
        is_other = file_info.type.name == "Unknown"  # a pipe or a device: reading it would wait
    except (OSError, ValueError) as error:
        raise InvalidOptionError(why_unreadable(place, error)) from None
    if missing:
        raise InvalidOptionError(
            f"{place.shown} is not there: name the folder or file that a job wrote, "
            "events.json, or kafka:TOPIC"
        )
    if is_other:
        raise InvalidOptionError(f"{place.shown} is neither a folder nor a file: name one")
