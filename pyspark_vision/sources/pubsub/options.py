"""The options of the data source ``pubsub``, as text that Spark hands over."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark_vision.errors import InvalidOptionError

# Of Google's rules for names (cloud.google.com/pubsub/docs/pubsub-basics, "resource names").
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{1,126}[a-z0-9]")
_WHOLE = re.compile(r"projects/([^/]+)/(subscriptions|topics)/([^/]+)")

DEFAULT_MAX_MESSAGES = 1000
# Of a batch: tasks are handed their messages, and Spark refuses tasks above 128 MB
# (spark.rpc.message.maxSize).
DEFAULT_MAX_BYTES = 32 * 1024 * 1024
MOST_BYTES = 100 * 1024 * 1024
# How long what is held is not sent again after the process that holds it has died.
DEFAULT_ACK_DEADLINE_S = 60
# The longest deadline that Pub/Sub has (600 s), twice.
DEFAULT_WINDOW_S = 1200.0


OPTIONS = (
    *("subscription", "project", "journal", "journalDoor", "endpoint", "idAttributes"),
    *("maxMessagesPerBatch", "maxBytesPerBatch", "maxWaitingMessages", "maxWaitingBytes"),
    *("readers", "partitions", "ackDeadlineSeconds", "windowSeconds"),
)


@dataclass(frozen=True)
class ReaderOptions:
    """What the reader does.

    - ``subscriptions``: ``projects/P/subscriptions/S`` each.
    - ``journal``: the folder under the checkpoint; ``door``: how it is reached if it is not on this
      machine's disks.
    - ``max_messages``, ``max_bytes``: of a batch; ``max_waiting_messages``, ``max_waiting_bytes``:
      of what waits in the driver for the next one.
    - ``readers``: requests under way at a time, for each subscription.
    - ``partitions``: tasks of a batch at most.
    - ``ack_deadline_s``: for which what is held is reserved, again and again.
    - ``id_attributes``: messages that agree in all of them are one.
    - ``window_s``: how long repeats are known after the message was acknowledged.
    - ``endpoint``: ``host:port`` of an emulator.
    """

    subscriptions: tuple[str, ...]
    journal: str
    door: str | None = None
    max_messages: int = DEFAULT_MAX_MESSAGES
    max_bytes: int = DEFAULT_MAX_BYTES
    max_waiting_messages: int = 2 * DEFAULT_MAX_MESSAGES
    max_waiting_bytes: int = 2 * DEFAULT_MAX_BYTES
    readers: int = 2
    partitions: int = 2
    ack_deadline_s: int = DEFAULT_ACK_DEADLINE_S
    id_attributes: tuple[str, ...] = ()
    window_s: float = DEFAULT_WINDOW_S
    endpoint: str | None = None


def whole_name(name: str, project: str | None, kind: str = "subscription") -> str:
    """``projects/P/subscriptions/S`` of a name, or of one that is whole already; so of a ``topic``.

    >>> whole_name("image-stream-sub", "my-project")
    'projects/my-project/subscriptions/image-stream-sub'
    """
    given = _WHOLE.fullmatch(name)
    shown = name
    if given and given.group(2) == f"{kind}s":
        project, name = given.group(1, 3)
    if not project:
        raise InvalidOptionError(
            f"Pub/Sub: the {kind} {shown} needs its project: `project_id`, or a whole name, "
            f"projects/PROJECT/{kind}s/NAME"
        )
    if not _PROJECT.fullmatch(project):
        raise InvalidOptionError(
            f"Pub/Sub: {project!r} is no id of a project: lower-case letters, digits and hyphens"
        )
    if not _NAME.fullmatch(name):
        raise InvalidOptionError(
            f"Pub/Sub: {name!r} is no name of a {kind}: a letter, then letters, digits and "
            "-._~+%, 3 to 255 characters in all"
        )
    return f"projects/{project}/{kind}s/{name}"


def reader_options(given: Mapping[str, str]) -> ReaderOptions:
    """Of ``option(…)`` calls; raises :class:`InvalidOptionError` in words of these."""
    _refuse_unknown(given)
    names = [name.strip() for name in given.get("subscription", "").split(",")]
    names = [name for name in names if name]
    if not names:
        raise InvalidOptionError("Pub/Sub: option subscription is missing: its name, or names")
    subscriptions = tuple(whole_name(name, given.get("project")) for name in names)
    if len(set(subscriptions)) < len(subscriptions):
        raise InvalidOptionError("Pub/Sub: option subscription names one of them twice")
    if not given.get("journal"):
        raise InvalidOptionError(
            "Pub/Sub: option journal is missing: a folder of the checkpoint, CHECKPOINT/_pubsub"
        )
    max_messages = _number(given, "maxMessagesPerBatch", DEFAULT_MAX_MESSAGES, 1, 1_000_000)
    max_bytes = _number(given, "maxBytesPerBatch", DEFAULT_MAX_BYTES, 1, MOST_BYTES)
    attributes = given.get("idAttributes", "")
    return ReaderOptions(
        subscriptions=subscriptions,
        journal=given["journal"],
        door=given.get("journalDoor") or None,
        max_messages=max_messages,
        max_bytes=max_bytes,
        max_waiting_messages=_number(given, "maxWaitingMessages", 2 * max_messages, 1, 10_000_000),
        max_waiting_bytes=_number(given, "maxWaitingBytes", 2 * max_bytes, 1, 2**40),
        readers=_number(given, "readers", ReaderOptions.readers, 1, 100),
        partitions=_number(given, "partitions", ReaderOptions.partitions, 1, 10_000),
        # Pub/Sub's own limits.
        ack_deadline_s=_number(given, "ackDeadlineSeconds", DEFAULT_ACK_DEADLINE_S, 10, 600),
        id_attributes=tuple(name.strip() for name in attributes.split(",") if name.strip()),
        window_s=float(_number(given, "windowSeconds", int(DEFAULT_WINDOW_S), 0, 7 * 24 * 3600)),
        endpoint=given.get("endpoint") or None,
    )


def _refuse_unknown(given: Mapping[str, str]) -> None:
    # Spark hands over names as they were written, or in small letters.
    known = {name.lower(): name for name in OPTIONS}
    for name in given:
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, 1)
            meant = f"did you mean {known[near[0]]}?" if near else f"it has {', '.join(OPTIONS)}"
            raise InvalidOptionError(f"Pub/Sub: there is no option {name}; {meant}")


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise InvalidOptionError(
            f"Pub/Sub: option {name}={text!r} must be a whole number from {least} to {most}"
        )
    return int(text)
