"""The functions of Columns that can be SQL functions, each with its model and options bound."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyspark_vision.columns.model_functions import (
    classifying,
    detecting,
    embedding,
    embedding_texts,
    finding_keypoints,
    reading_text,
    segmenting,
)
from pyspark_vision.columns.options import DECODE_KEYS, decode_options
from pyspark_vision.columns.picture_functions import DRAWINGS, decoding, drawing
from pyspark_vision.columns.read_columns import ReadColumn
from pyspark_vision.columns.worker_functions import WorkerFunction
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.decode.images import FIRST

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.udf import UserDefinedFunction

    from pyspark_vision.bundles.spec import ModelSpec


def _drawing(function: str) -> Callable[..., WorkerFunction]:
    return lambda session, model, read: drawing(function, read)


# By the names of `pyspark_vision.functions`: (session, model, what is read, options) -> function.
_MAKERS: dict[str, Callable[..., WorkerFunction]] = {
    "decode_image": lambda session, model, read: decoding(read),
    "classify_image": classifying,
    "detect_objects": detecting,
    "segment_image": segmenting,
    "detect_keypoints": finding_keypoints,
    "embed_image": embedding,
    "embed_text": embedding_texts,
    "read_text": reading_text,
    **{function: _drawing(function) for function in DRAWINGS},
}


def sql_udf(
    session: Any,
    name: str,
    function: Callable[..., Column],
    model: ModelSpec | None,
    options: Mapping[str, Any],
    *,
    arrays: bool,
) -> UserDefinedFunction:
    """The UDF behind ``register(session, name, function, model, **options)``, and its errors."""
    if not name.isidentifier():
        raise InvalidOptionError(f"name={name!r} is not a SQL identifier: letters, digits and _")
    maker = _MAKERS.get(getattr(function, "__name__", ""))
    if maker is None:
        raise InvalidOptionError(
            f"function={function!r} cannot be registered; choose one of {', '.join(_MAKERS)}"
        )
    parameters = inspect.signature(function).parameters.values()
    own = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not parameter.empty
    }
    takes_pictures = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    known = [*own, *(DECODE_KEYS if takes_pictures else ())]
    if unknown := sorted(set(options) - set(known)):
        raise InvalidOptionError(
            f"{function.__name__} does not take {', '.join(unknown)}; it takes {', '.join(known)}"
        )
    decode = {key: options[key] for key in DECODE_KEYS if key in options}
    values = {**own, **{key: options[key] for key in options if key not in DECODE_KEYS}}
    read = ReadColumn("", decode_options(name, decode), timings=bool(values.pop("timings", False)))
    worker_function = maker(session, model, read, **values)
    if arrays and (read.decode.frames != FIRST or worker_function.lists_entry is None):
        raise InvalidOptionError(
            f"{name}: arrays=True with {function.__name__}, frames={read.decode.frames!r}; it "
            "goes with functions that give a result for each picture, of its first frame"
        )
    return (
        worker_function.lists_udf()
        if arrays or read.decode.frames != FIRST
        else worker_function.udf()
    )
