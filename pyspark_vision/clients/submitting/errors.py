"""What cannot be submitted."""

from __future__ import annotations


class SubmitError(ValueError):
    """A submission that cannot work; the message says why, and what to do instead."""
