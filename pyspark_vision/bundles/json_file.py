"""Files of JSON beside a model, and a bundle's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyspark_vision.errors import InvalidModelError


def json_object(path: Path | None) -> dict[str, Any]:
    """The object in a UTF-8 file; empty where there is no file.

    Raises :class:`InvalidModelError` for a file that cannot be read or holds anything else.

    >>> json_object(Path("no-such-model/config.json"))
    {}
    """
    if path is None or not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidModelError(f"{path} is no JSON object")
    return value
