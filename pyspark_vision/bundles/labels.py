"""Label files -> ``((class_id, label), …)``, and back.

Read: plain text, one label a line, where line 0 is class 0 (empty lines, ``n/a`` and ``???`` are
ids without a label); TensorFlow's ``.pbtxt`` label maps (``item { id: 1 name/display_name: … }``);
JSON ``{"1": "person"}``, a list of labels, or Keras' ``{"0": ["n01440764", "tench"]}``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pyspark_vision.errors import InvalidModelError

Labels = tuple[tuple[int, str], ...]

_NO_LABEL = ("", "n/a", "???")
_PBTXT_ITEM = re.compile(r"item\s*\{((?:\"[^\"]*\"|'[^']*'|[^}\"'])*)\}")
_PBTXT_FIELD = re.compile(r"(\w+)\s*:\s*(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|(-?\d+))")


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
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise InvalidModelError(f"label file {name} cannot be read: {error!r}") from None
    found = tuple(
        (class_id, label) for class_id, label in sorted(labels.items()) if label not in _NO_LABEL
    )
    if not found:
        raise InvalidModelError(f"label file {name} holds no label")
    return found


def dump_labels(labels: Labels) -> tuple[str, str]:
    """(file name, text): plain text where ids run from 0 without a gap, else JSON."""
    dense = [class_id for class_id, _ in labels] == list(range(len(labels)))
    if dense and not any("\n" in label or label != label.strip() for _, label in labels):
        return "labels.txt", "".join(f"{label}\n" for _, label in labels)
    named = {str(class_id): label for class_id, label in labels}
    return "labels.json", json.dumps(named, indent=1, ensure_ascii=False) + "\n"


def _from_json(value: object) -> dict[int, str]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        raise ValueError("a JSON label file is an object or a list")
    # Keras' class index: {"0": [WordNet id, label]}
    return {int(k): str(v[1] if isinstance(v, list) else v) for k, v in value.items()}


def _from_pbtxt(text: str) -> dict[int, str]:
    labels = {}
    for item in _PBTXT_ITEM.findall(text):
        fields = {m[0]: m[1] or m[2] or m[3] for m in _PBTXT_FIELD.findall(item)}
        labels[int(fields["id"])] = fields.get("display_name") or fields["name"]
    return labels
