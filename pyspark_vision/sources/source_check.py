"""What a source has to say about the checkpoint of its stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SourceCheck:
    """What was found when the stream began, and what to ask after each batch.

    - ``lost``: rows that are known to be gone before the stream begins, by reason.
    - ``after_batch``: called when the sinks have a batch and before it is committed; raises
      :class:`~pyspark_vision.errors.StreamError` if it must not be.
    """

    lost: Counter[str] = field(default_factory=Counter)
    after_batch: Callable[[], None] = lambda: None
