"""The ASGI application: a route per action, the OpenAPI document and its page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pyspark_vision.clients.events_api import answers
from pyspark_vision.clients.events_api.actions import ACTIONS, Action
from pyspark_vision.clients.events_api.identity import HEADER, read_identity
from pyspark_vision.clients.events_api.intake import Intake, Kept
from pyspark_vision.clients.events_api.messages import Form, message
from pyspark_vision.clients.events_api.openapi import document, page
from pyspark_vision.clients.events_api.parameters import read_parameters
from pyspark_vision.clients.events_api.refusals import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Refusal,
    bad_input,
    head_too_large,
    not_found,
    other_method,
    too_large,
)
from pyspark_vision.clients.events_api.sender import Sender
from pyspark_vision.clients.events_api.transactions import event_id

# While Kafka is there, its answer takes some ten milliseconds.
ANSWER_WITHIN_S = 2.0

_METHODS = ("GET", "POST")
_PAGE_METHODS = ("GET",)
DOCS, OPENAPI = "/docs", "/openapi.json"

# Nothing of the page comes from elsewhere, and nothing in it runs.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Service:
    """What requests are handled with. ``refused``: by the code of their refusal."""

    form: Form
    journal_name: str
    intake: Intake
    sender: Sender
    refused: Counter[str] = field(default_factory=Counter)


def make_app(service: Service) -> Starlette:
    """The application of a service."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        service.refused[error.code] += 1
        as_json = answers.prefers_json(request.headers.get("accept", ""))
        return answers.refused(error, as_json=as_json)

    async def refuse_path(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = [*(action.path for action in ACTIONS), DOCS, OPENAPI]
        return await refuse(request, not_found(request.url.path, known))

    described = document(service.form)
    routes = [
        *(Route(action.path, _Endpoint(service, action)) for action in ACTIONS),
        Route(DOCS, _Page(HTMLResponse(page(described), headers=_PAGE_HEADERS))),
        Route(OPENAPI, _Page(JSONResponse(described))),
    ]
    app = Starlette(routes=routes, exception_handlers={Refusal: refuse, HTTPException: refuse_path})
    app.router.redirect_slashes = False
    return app


class _Endpoint:
    """An action's: an ASGI application, because Starlette adds HEAD to the methods of functions."""

    def __init__(self, service: Service, action: Action) -> None:
        self._service, self._action = service, action

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method not in _METHODS:
            raise other_method(request.method, ", ".join(_METHODS))
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        service, action = self._service, self._action
        headers = request.headers
        head_bytes = sum(len(name) + len(value) for name, value in headers.raw)
        query: bytes = request.scope["query_string"]
        if head_bytes + len(query) > MAX_HEAD_BYTES:
            raise head_too_large()
        body = await _body(request)
        parameters = read_parameters(query, headers.get("content-type", ""), body)
        event = message(action, service.form, headers.raw, parameters)
        limit = service.sender.max_message_bytes
        if limit is not None and len(event) > limit:
            raise too_large(f"the event has {len(event)} bytes; its topic takes {limit}")
        kept = await self._keep(request, event, (query, body))
        name = event_id(service.journal_name, kept.sequence)
        as_json = answers.prefers_json(headers.get("accept", ""))
        timeout_s = 0.0 if service.sender.is_away else ANSWER_WITHIN_S
        if await service.intake.sent(kept.sequence, timeout_s):
            return answers.sent(action, name, as_json=as_json)
        return answers.kept(action, name, as_json=as_json)

    async def _keep(self, request: Request, event: bytes, said: tuple[bytes, bytes]) -> Kept:
        keys = request.headers.getlist(HEADER)
        if not keys:
            return await self._service.intake.keep(event, None)
        if len(keys) > 1:
            raise bad_input(f"{HEADER} is given twice")
        earlier = re.fullmatch(re.escape(self._service.journal_name) + r"-([1-9]\d{0,18})", keys[0])
        if earlier and self._service.intake.has(int(earlier[1])):
            return Kept(int(earlier[1]), is_repeat=True)
        # Headers change from try to try (a proxy's, a date); what is bought does not.
        request_text = json.dumps([self._action.path, *(part.hex() for part in said)])
        identity = read_identity(keys[0], request_text.encode("ascii"))
        return await self._service.intake.keep(event, identity)


class _Page:
    """A page that is read, by GET alone."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method not in _PAGE_METHODS:
            raise other_method(request.method, ", ".join(_PAGE_METHODS))
        await self._response(scope, receive, send)


async def _body(request: Request) -> bytes:
    """Raises :class:`Refusal` for one that is too large, before it is read as a whole."""
    reason = f"the body has more than {MAX_BODY_BYTES} bytes"
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise too_large(reason)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise too_large(reason)
            chunks.append(chunk)
    except ClientDisconnect:
        raise bad_input("the request ended before its body did") from None
    return b"".join(chunks)
