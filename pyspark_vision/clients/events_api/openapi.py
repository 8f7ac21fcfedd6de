"""What the API takes and answers, as an OpenAPI document and as a page of it.

The page is one file without a script; nothing in it comes from elsewhere.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment

from pyspark_vision import __version__
from pyspark_vision.clients.events_api.actions import ACTIONS, Action
from pyspark_vision.clients.events_api.identity import HEADER, MAX_KEY_CHARS
from pyspark_vision.clients.events_api.messages import Form
from pyspark_vision.clients.events_api.parameters import (
    DESCRIPTION,
    FORM,
    JSON,
    MAX_DEPTH,
    MAX_DESCRIPTION_CHARS,
)
from pyspark_vision.clients.events_api.refusals import MAX_BODY_BYTES

_INTRODUCTION = (
    "Each request is an event for Kafka. 200: it is in the topic. 503: Kafka is away, the event is "
    "on this server's disk and will be sent, once and in order. Any other status: there is no "
    "event. Answers are text; JSON for those that prefer it by Accept."
)

_DESCRIPTION = {"type": "string", "maxLength": MAX_DESCRIPTION_CHARS}

_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "a name of this request. Sent again with the same one, it is no second event. "
    "An event id of an earlier answer does, too.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_CHARS}}}$"},
}

_REFUSALS = {
    "400": "Bad input: the answer says what is wrong with what.",
    "409": f"The {HEADER} came with another request before.",
    "413": f"More than {MAX_BODY_BYTES} bytes of body, or an event larger than its topic takes.",
    "415": f"The body is neither {JSON} nor {FORM}.",
    "431": "Query and headers are too large.",
    "507": "The journal is full, and Kafka away: the event is not kept. Send it again later.",
}


def document(form: Form) -> dict[str, Any]:
    """OpenAPI 3.1, of a server that sends messages in this form."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Events API", "version": __version__, "description": _INTRODUCTION},
        "paths": {
            action.path: {
                "get": _operation(action, form, "get"),
                "post": _operation(action, form, "post"),
            }
            for action in ACTIONS
        },
        "components": {"schemas": _SCHEMAS},
    }


def page(described: dict[str, Any]) -> str:
    """The document as HTML."""
    folder = resources.files("pyspark_vision.clients.events_api")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    return template.render(document=described)


_SCHEMAS: dict[str, Any] = {
    "Event": {
        "type": "object",
        "required": ["event_id", "event_type", "status", "message"],
        "properties": {
            "event_id": {"type": "string"},
            "event_type": {"type": "string", "enum": [action.event_type for action in ACTIONS]},
            "status": {"type": "string", "enum": ["sent", "kept"]},
            "message": {"type": "string"},
        },
    },
    "Refusal": {
        "type": "object",
        "required": ["status", "error"],
        "properties": {
            "status": {"const": "refused"},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def _operation(action: Action, form: Form, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method}_{action.event_type}",
        "summary": f"{action.event_type}: {action.answer}",
        # A post has its parameters in its body; those of its query are read as well.
        "parameters": [*(_query(form) if method == "get" else []), _KEY],
        "responses": {
            "200": _answer("The event is in the topic.", "Event", "Event-Id"),
            "503": _answer(
                "Kafka is away. The event is kept and will be sent.",
                "Event",
                "Event-Id",
                "Retry-After",
            ),
            **{status: _answer(said, "Refusal") for status, said in _REFUSALS.items()},
        },
    }
    if method == "post" and form is Form.METADATA:
        operation["requestBody"] = {
            "required": False,
            "description": f"{DESCRIPTION} becomes the event's; every other member is in its "
            f"metadata. At most {MAX_DEPTH} lists and objects in one another, and {MAX_BODY_BYTES} "
            "bytes.",
            "content": {
                JSON: {"schema": _parameters({})},
                FORM: {"schema": _parameters({"type": "string"})},
            },
        }
    return operation


def _query(form: Form) -> list[dict[str, Any]]:
    """An event of an earlier week has no place for parameters."""
    if form is not Form.METADATA:
        return []
    return [
        {
            "name": DESCRIPTION,
            "in": "query",
            "required": False,
            "description": "the event's description. Every other parameter is in its metadata.",
            "schema": _DESCRIPTION,
        }
    ]


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {DESCRIPTION: _DESCRIPTION},
        "propertyNames": {"minLength": 1},
        "additionalProperties": value,
    }


def _answer(said: str, schema: str, *headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": said,
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}},
        },
    }
    if headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return answer
