"""Schemas by which a message may be read, and those by which one could end its worker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from schema_registries import avro

from pyspark_vision.executor.messages.avro_schemas import InvalidSchemaError, decoded, parsed


def record(**fields: Any) -> dict[str, Any]:
    given = [{"name": name, "type": kind} for name, kind in fields.items()]
    return {"type": "record", "name": "r", "fields": given}


INNER = {"type": "record", "name": "inner", "namespace": "q", "fields": []}
NAMED = record(
    one={"type": "record", "name": "q.part", "fields": [{"name": "a", "type": "int"}]},
    two=["null", "q.part"],
    many={"type": "array", "items": "q.part"},
    colour={"type": "enum", "name": "colour", "symbols": ["red"]},
)


def test_named_types_may_be_used_again() -> None:
    value = {"one": {"a": 1}, "two": {"a": 2}, "many": [{"a": 3}], "colour": "red"}

    assert decoded(avro(NAMED, value), parsed(json.dumps(NAMED))) == value


def test_a_schema_may_be_a_union_of_schemas_that_it_refers_to() -> None:
    part = record(a="int")

    schema = parsed(json.dumps(["null", "r"]), (json.dumps(part),))

    assert decoded(b"\x02\x0e", schema) == {"a": 7}
    assert decoded(b"\x00", schema) is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (record(next=["null", "r"]), "r holds itself"),
        (record(many={"type": "array", "items": "null"}), "items without bytes"),
        (record(many={"type": "map", "values": {"type": "array", "items": INNER}}), "without"),
        (record(a="other.Thing"), "names other.Thing, which is not there"),
        ({"type": "record"}, "is no Avro schema"),
        (7, "is no Avro schema"),
        (None, "is no Avro schema"),
    ],
)
def test_a_schema_that_is_none_or_is_dangerous_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(InvalidSchemaError, match=said):
        parsed(json.dumps(schema))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidSchemaError, match="is no Avro schema"):
        parsed("{")
