"""A part of a deployment: how to look for it, the calls that make it, the calls that remove it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .plan import DeployError, Plan


class State(StrEnum):
    """What a service says of a part."""

    ABSENT = "absent"
    OURS = "there"
    FOREIGN = "made by somebody else"


@dataclass(frozen=True)
class Call:
    """One call of a client: the service's name of the method, what is said, and the call itself."""

    method: str
    request: Any
    run: Callable[[], Any] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """``service.Method {…}``; a message of a service's own type as its JSON."""
        request = self.request
        if not isinstance(request, dict):
            request = type(request).to_dict(
                request,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=False,
            )
        # Sorted: labels come out of a message in another order in each process.
        said = json.dumps(request, ensure_ascii=False, default=str, sort_keys=True)
        return f"{self.method} {said}"


class Part(Protocol):
    """One step of the deployment."""

    @property
    def title(self) -> str:
        """``bucket example-week9-streaming-data``"""

    @property
    def flag(self) -> str:
        """What gives it another name; empty where it has none of its own."""

    def look(self) -> State:
        """Ask the service; raises google.api_core's errors."""

    def creation(self) -> Iterator[Call]:
        """Calls that make it. Each is run before the next is asked for."""

    def removal(self, *, data: bool) -> Iterator[Call]:
        """Calls that remove it, ``data`` in it only where said.

        Raises :class:`Kept` where it has to stay.
        """


class RefusedError(DeployError):
    """A service refuses what concerns one part; others may be asked all the same."""


class Kept(Exception):
    """A part stays, with the reason; the rest of the removal goes on."""


def refuse_foreign(part: Part, plan: Plan) -> None:
    """Raise :class:`DeployError` for a name that somebody else has taken."""
    raise DeployError(
        f"{part.title} exists and was not made by deployment {plan.name}: it is left alone. "
        f"Choose another name with {part.flag}"
    )
