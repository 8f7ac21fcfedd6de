"""Label files -> ``((class_id, label), …)``, and back.

Read: plain text, one label a line, where line 0 is class 0 (empty lines, ``n/a`` and ``???`` are
ids without a label), or each line with its id (``0 cat``, ``0: cat``); TensorFlow's ``.pbtxt``
label maps (``item { id: 1 name/display_name: … }``); JSON ``{"1": "person"}`` or the other way
round (Keras' ``class_indices``), a list of labels, Keras' ``{"0": ["n01440764", "tench"]}``, or a
``config.json`` with ``id2label``; Ultralytics' ``data.yaml`` (``names``); CSV with or without a
header, with or without a column of ids.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from pathlib import Path
from typing import Any

from pyspark_vision.errors import InvalidModelError, MissingDependencyError

Labels = tuple[tuple[int, str], ...]

# A line with its id: `0 cat`, `0: cat`, `0,cat`, `0\tcat`.
_NUMBERED = re.compile(r"(\d+)\s*[:,;\s]\s*(\S.*)")
# What the first line of a CSV without ids says if it is no label.
_HEADERS = ("label", "labels", "name", "names", "class", "classes", "class_name", "category")
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
        elif suffix in (".yaml", ".yml"):
            labels = _from_yaml(text)
        elif suffix == ".csv":
            labels = _from_csv(text)
        else:
            labels = _from_lines(text)
    except ImportError:
        raise MissingDependencyError(
            f"label file {name} needs PyYAML: pip install pyyaml"
        ) from None
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise InvalidModelError(f"label file {name} cannot be read: {error!r}") from None
    named = tuple(
        (class_id, label) for class_id, label in sorted(labels.items()) if label not in NO_LABEL
    )
    if not named:
        raise InvalidModelError(f"label file {name} holds no label")
    return named


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
    by_key: dict[str, Any] = value.get("id2label", value)  # Hugging Face's config.json
    are_ids = by_key and all(type(number) is int for number in by_key.values())
    if are_ids and not all(map(_is_id, by_key)):
        by_key = _turned(by_key)  # Keras' class_indices: {"cat": 0}
    # Keras' class index: {"0": [WordNet id, label]}
    names = {int(k): v[1] if isinstance(v, list) else v for k, v in by_key.items()}
    return {class_id: "" if name is None else str(name) for class_id, name in names.items()}


def _from_yaml(text: str) -> dict[int, str]:
    """``names`` of Ultralytics' data.yaml, a list or a dictionary; or such a value itself."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {error}") from None
    if isinstance(value, dict) and "names" in value:
        value = value["names"]
    if isinstance(value, dict):
        return {int(class_id): str(name) for class_id, name in value.items()}
    return _from_json(value)


def _from_lines(text: str) -> dict[int, str]:
    lines = [line.strip() for line in text.splitlines()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines if line]
    # Each line has an id, and each id one line: no list of labels that begin with numbers.
    if numbered and all(numbered):
        pairs = [(int(match[1]), match[2]) for match in numbered if match]
        if len({class_id for class_id, _ in pairs}) == len(pairs) and pairs[0][0] in (0, 1):
            return dict(pairs)
    return dict(enumerate(lines))


def _from_csv(text: str) -> dict[int, str]:
    """A column of whole numbers is that of the ids; the first of the others has the labels."""
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    if not rows:
        return {}
    width = min(map(len, rows))
    columns = list(zip(*(row[:width] for row in rows), strict=True))
    ids = next((i for i, c in enumerate(columns) if len(c) > 1 and all(map(_is_id, c[1:]))), None)
    names = next((i for i in range(width) if i != ids), None)
    if names is None:
        raise ValueError("a CSV label file has a column of labels")
    has_header = (
        not _is_id(columns[ids][0])
        if ids is not None
        else columns[names][0].strip().lower() in _HEADERS
    )
    labels = [cell.strip() for cell in columns[names]][has_header:]
    if ids is None:
        return dict(enumerate(labels))
    numbers = [int(cell) for cell in columns[ids][has_header:]]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"an id stands twice in column {ids + 1}")
    return dict(zip(numbers, labels, strict=True))


def _is_id(text: object) -> bool:
    return re.fullmatch(r"\s*\d+\s*", str(text)) is not None


def _turned(indices: dict[str, int]) -> dict[str, str]:
    """``{"cat": 0}`` -> ``{"0": "cat"}``."""
    if len(set(indices.values())) != len(indices):
        raise ValueError("an id stands twice")
    return {str(class_id): name for name, class_id in indices.items()}


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
