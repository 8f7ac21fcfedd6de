"""Label files -> ``((class_id, label), …)``, and back.

Read: plain text, one label a line, where line 0 is class 0 (empty lines, ``n/a`` and ``???`` are
ids without a label); TensorFlow's ``.pbtxt`` label maps (``item { id: 1 name/display_name: … }``);
JSON ``{"1": "person"}``, a list of labels, or Keras' ``{"0": ["n01440764", "tench"]}``.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

from pyspark_vision.errors import InvalidModelError

Labels = tuple[tuple[int, str], ...]

NO_LABEL = ("", "n/a", "???")
# A comment, a field with its value (text or number), or a brace.
_PBTXT_TOKEN = re.compile(
    r"""\#.* | (\w+)\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\w+) | ([{}])""", re.VERBOSE
)


def read_labels(path: str | Path) -> Labels:
    """Labels of a file, by its suffix (``.json``, ``.pbtxt``, anything else is plain text)."""
    file = Path(path)
    if not file.is_file():
        raise InvalidModelError(f"no label file at {file}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidModelError(f"label file {file} is not UTF-8 text: {error}") from None
    return parse_labels(text, file.name)


def parse_labels(text: str, name: str) -> Labels:
    """Labels of a file's text; ``name`` gives the suffix and stands in errors."""
    suffix = Path(name).suffix.lower()
    try:
        if suffix == ".json":
            labels = _from_json(json.loads(text))
        elif suffix == ".pbtxt":
            labels = _from_pbtxt(text)
        else:
            labels = {i: line.strip() for i, line in enumerate(text.splitlines())}
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise InvalidModelError(f"label file {name} cannot be read: {error!r}") from None
    found = tuple(
        (class_id, label) for class_id, label in sorted(labels.items()) if label not in NO_LABEL
    )
    if not found:
        raise InvalidModelError(f"label file {name} holds no label")
    return found


def dump_labels(labels: Labels) -> tuple[str, str]:
    """(file name, text): plain text where ids run from 0 without a gap, else JSON."""
    dense = [class_id for class_id, _ in labels] == list(range(len(labels)))
    # One line each, as `splitlines` counts them (it splits at more than "\n").
    if dense and all(label.strip().splitlines() == [label] for _, label in labels):
        return "labels.txt", "".join(f"{label}\n" for _, label in labels)
    named = {str(class_id): label for class_id, label in labels}
    return "labels.json", json.dumps(named, indent=1, ensure_ascii=False) + "\n"


def _from_json(value: object) -> dict[int, str]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        raise ValueError("a JSON label file is an object or a list")
    # Keras' class index: {"0": [WordNet id, label]}
    names = {int(k): v[1] if isinstance(v, list) else v for k, v in value.items()}
    return {class_id: "" if name is None else str(name) for class_id, name in names.items()}


def _from_pbtxt(text: str) -> dict[int, str]:
    labels: dict[int, str] = {}
    fields: dict[str, str] = {}
    depth = 0
    for name, value, brace in _PBTXT_TOKEN.findall(text):
        if name and depth == 1:  # deeper are an item's own messages, such as keypoints
            fields[name] = _unquoted(value)
        elif brace == "{":
            depth += 1
        elif brace == "}":
            depth -= 1
            if depth == 0:
                labels[int(fields["id"])] = fields.get("display_name") or fields["name"]
                fields = {}
    return labels


def _unquoted(value: str) -> str:
    """A text field's value; protobuf escapes quotes and writes other characters as octal bytes."""
    if value[0] not in "\"'":
        return value
    return codecs.escape_decode(value[1:-1].encode())[0].decode()
