"""An action and its request -> the bytes that go to the topic, in the form of a week."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pyspark_vision.clients.events_api.actions import Action
from pyspark_vision.clients.events_api.parameters import Parameters
from pyspark_vision.clients.events_api.refusals import bad_input

# Who may log in is nobody's event: what is in a topic is read by many, and kept.
CREDENTIALS = frozenset(("authorization", "proxy-authorization", "cookie"))


class Form(StrEnum):
    """How the course's messages looked, week after week; each has what the one before it had."""

    WORDS = "words"
    EVENT_TYPE = "event-type"
    HEADERS = "headers"
    METADATA = "metadata"


def message(
    action: Action, form: Form, headers: Iterable[tuple[bytes, bytes]], parameters: Parameters
) -> bytes:
    """``headers``: as ASGI gives them. Raises :class:`Refusal` for parameters without a place.

    >>> from pyspark_vision.clients.events_api.actions import ACTIONS
    >>> message(ACTIONS[1], Form.HEADERS, [(b"user-agent", b"curl/7.47.0")], Parameters())
    b'{"event_type": "purchase_sword", "User-Agent": "curl/7.47.0"}'
    """
    if parameters and form is not Form.METADATA:
        raise bad_input(
            f"parameters have no place in an event here (--form {form.value}); send none"
        )
    if form is Form.WORDS:
        return action.word.encode("ascii")
    event: dict[str, Any] = {"event_type": action.event_type}
    if form is Form.METADATA:
        description = parameters.description
        if description is None:
            description = action.description
        if description is not None:
            event["description"] = description
        if parameters.metadata:
            event["metadata"] = parameters.metadata
    if form in (Form.HEADERS, Form.METADATA):
        event.update(shown_headers(headers))
    return json.dumps(event).encode("ascii")


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names as Flask's ``request.headers`` writes them, whatever their case was on the wire.

    A header that came twice has its values with a comma between. Credentials are left out.

    >>> shown_headers([(b"host", b"localhost:5000"), (b"x-forwarded-for", b"::1")])
    {'Host': 'localhost:5000', 'X-Forwarded-For': '::1'}
    """
    shown: dict[str, str] = {}
    for raw_name, raw_value in headers:
        lower, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if lower in CREDENTIALS:
            continue
        name = lower.title()
        shown[name] = f"{shown[name]},{value}" if name in shown else value
    return shown
