"""A request that becomes no event, and why."""

from __future__ import annotations

from http import HTTPStatus

# Longer ones are no purchases; the largest event is then below Kafka's own 1 MB.
MAX_BODY_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024


class Refusal(Exception):
    """``status``: of the answer. ``code``: its name in answers and counts. ``headers``: added."""

    def __init__(
        self, status: HTTPStatus, code: str, reason: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason
        self.headers = headers or {}


def bad_input(reason: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "bad_input", reason)


def too_large(reason: str) -> Refusal:
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", reason)


def head_too_large() -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        f"the request's path, query and headers have more than {MAX_HEAD_BYTES} bytes",
    )


def other_media_type(given: str) -> Refusal:
    return Refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "other_media_type",
        f"the body's Content-Type is {given or 'missing'}; it must be application/json or "
        "application/x-www-form-urlencoded",
    )


def not_found(path: str, known: list[str]) -> Refusal:
    return Refusal(
        HTTPStatus.NOT_FOUND, "not_found", f"there is no {path}; there are {', '.join(known)}"
    )


def other_method(method: str, allowed: str) -> Refusal:
    return Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "other_method",
        f"{method} is not for this path; {allowed} is",
        {"Allow": allowed},
    )


def key_reused() -> Refusal:
    return Refusal(
        HTTPStatus.CONFLICT,
        "key_reused",
        "this Idempotency-Key came with another request before: take a new key for a new event",
    )


def not_kept(reason: str, retry_after_s: int) -> Refusal:
    return Refusal(
        HTTPStatus.INSUFFICIENT_STORAGE,
        "not_kept",
        f"the event is not kept: {reason}. Send it again later",
        {"Retry-After": str(retry_after_s)},
    )
