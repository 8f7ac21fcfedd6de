"""What a game's client can do: the routes of the W205 course's Flask apps, with their words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """A route and its event.

    ``event_type``: of the JSON forms. ``word``: the whole message of the first weeks.
    ``description``: what the event says of itself if the request does not. ``answer``: what the
    course's app answered.
    """

    path: str
    event_type: str
    word: str
    answer: str
    description: str | None = None


ACTIONS = (
    Action("/", "default", "default", "This is the default response!"),
    Action("/purchase_a_sword", "purchase_sword", "purchased_sword", "Sword Purchased!"),
    Action(
        "/purchase_a_knife",
        "purchase_knife",
        "purchased_knife",
        "Knife Purchased!",
        description="very sharp knife",
    ),
    Action("/join_guild", "join_guild", "joined_guild", "Guild Joined!"),
)
