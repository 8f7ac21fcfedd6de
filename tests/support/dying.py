"""A process that is killed in the middle of its work, at a call that the test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Dying:
    """Lets a function work ``calls`` times, then "kills" the process."""

    def __init__(self, function: Callable[..., Any], calls: int) -> None:
        self.function, self.left = function, calls

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.function(*args, **keywords)
