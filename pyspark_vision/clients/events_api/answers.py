"""An answer as text, for curl and browsers, or as JSON, for those that ask for it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from pyspark_vision.clients.events_api.actions import Action
from pyspark_vision.clients.events_api.identity import HEADER
from pyspark_vision.clients.events_api.intake import RETRY_AFTER_S
from pyspark_vision.clients.events_api.refusals import Refusal

EVENT_ID_HEADER = "Event-Id"
_TEXT, _JSON = "text/plain", "application/json"


def prefers_json(accept: str) -> bool:
    """Whether JSON stands above text in an ``Accept`` header.

    >>> prefers_json("*/*"), prefers_json("application/json"), prefers_json("text/*, */*;q=0.1")
    (False, True, False)
    """
    return _quality(accept, _JSON) > _quality(accept, _TEXT)


def sent(action: Action, event_id: str, *, as_json: bool) -> Response:
    """200: the event is in the topic."""
    headers = {EVENT_ID_HEADER: event_id}
    if not as_json:
        return _text(f"{action.answer}\n", HTTPStatus.OK, headers)
    fields = {"status": "sent", "message": action.answer}
    return JSONResponse(_event(action, event_id, fields), headers=headers)


def kept(action: Action, event_id: str, *, as_json: bool) -> Response:
    """503: Kafka is away; the event is on the disk and will be sent."""
    headers = {EVENT_ID_HEADER: event_id, "Retry-After": str(RETRY_AFTER_S)}
    said = (
        f"Kafka is away. Event {event_id} is kept and will be sent. There is no need to send it "
        f"again; to ask whether it is sent, repeat the request with {HEADER}: {event_id}"
    )
    if not as_json:
        return _text(f"{said}\n", HTTPStatus.SERVICE_UNAVAILABLE, headers)
    return JSONResponse(
        _event(action, event_id, {"status": "kept", "message": said}),
        HTTPStatus.SERVICE_UNAVAILABLE,
        headers,
    )


def refused(refusal: Refusal, *, as_json: bool) -> Response:
    """Any other status: there is no event."""
    if not as_json:
        return _text(f"{refusal.reason}\n", refusal.status, refusal.headers)
    error = {"code": refusal.code, "message": refusal.reason}
    return JSONResponse(
        {"status": "refused", "error": error}, refusal.status, dict(refusal.headers)
    )


def _event(action: Action, event_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": action.event_type, **fields}


def _text(text: str, status: HTTPStatus, headers: dict[str, str]) -> Response:
    # A name that a client sent may have letters that no encoding takes.
    return Response(text.encode("utf-8", "backslashreplace"), status, headers, _TEXT)


def _quality(accept: str, media_type: str) -> float:
    """Of the most exact range that has the type; 0 if none has."""
    kind = media_type.partition("/")[0]
    exact = {media_type: 3, f"{kind}/*": 2, "*/*": 1}
    best, quality = 0, 0.0
    for part in accept.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if exact.get(name, 0) > best:
            best, quality = exact[name], _q(parameters)
    return quality


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
