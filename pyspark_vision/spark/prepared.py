"""A transformation whose expressions are made once, and used for each batch of a stream.

In Python each function of a column is some calls to the JVM. A job's transformation makes a few
thousand, which is half a second: longer than a batch of twenty frames. A column names what it is
made of and belongs to no DataFrame, so the same ones serve every batch of the same columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

if TYPE_CHECKING:
    Transform = Callable[[DataFrame], DataFrame]


def prepared(transform: Transform) -> Transform:
    """``transform``, called with the first frame only; what it did is done to the later ones.

    All frames have the same columns, and ``transform`` depends on nothing else: it names columns by
    ``F.col`` and does not join a frame with itself (``TypeError``). Another frame that it joins is
    the same for all.
    """
    steps: tuple[_Step, ...] | None = None

    def apply(frame: DataFrame) -> DataFrame:
        nonlocal steps
        if steps is None:
            recorded = cast("_Recorded", transform(cast("DataFrame", _Recorded(frame, ()))))
            steps = recorded.steps
            return recorded.frame
        for step in steps:
            frame = step.on(frame)
        return frame

    return apply


@dataclass(frozen=True)
class _Step:
    method: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def on(self, frame: DataFrame) -> DataFrame:
        result: DataFrame = getattr(frame, self.method)(*self.args, **self.keywords)
        return result


@dataclass(frozen=True)
class _Recorded:
    """A frame, and the steps that made it of the first one; stands for it in a transformation."""

    frame: DataFrame
    steps: tuple[_Step, ...]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.frame, name)
        if isinstance(attribute, Column):
            raise TypeError(f"the column {name} of one frame is not that of the next: use F.col")
        if not callable(attribute):
            return attribute

        def call(*args: Any, **keywords: Any) -> Any:
            if any(isinstance(argument, _Recorded) for argument in (*args, *keywords.values())):
                raise TypeError(f"{name} of two frames cannot be prepared")
            result = attribute(*args, **keywords)
            if not isinstance(result, DataFrame):
                return result
            if name == "select":  # a column that is there already is a call less, for each name
                args = tuple(
                    F.col(argument) if isinstance(argument, str) else argument for argument in args
                )
            return _Recorded(result, (*self.steps, _Step(name, args, keywords)))

        return call
