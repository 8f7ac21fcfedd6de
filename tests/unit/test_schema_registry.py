"""Schemas of a registry: asked for once, waited for while it is away, and never taken for bad."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from schema_registries import Registry, avro, framed, running_registry

from pyspark_vision.executor.messages import schema_registry
from pyspark_vision.executor.messages.form import Field, Kind, Layer, MessageForm
from pyspark_vision.executor.messages.schema_registry import (
    SchemaRegistry,
    SchemaRegistryError,
    UnknownSchemaError,
    check,
    schema_of,
)
from pyspark_vision.executor.messages.values import values_of
from pyspark_vision.executor.row_errors import RowError

FIRST = {"type": "record", "name": "F", "fields": [{"name": "id", "type": "string"}]}
# As a producer evolves it: a new field before the one that is read.
SECOND = {
    **FIRST,
    "fields": [{"name": "note", "type": ["null", "string"]}, {"name": "id", "type": "string"}],
}


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running_registry() as running:
        yield running


def client(registry: Registry, **more: Any) -> SchemaRegistry:
    return SchemaRegistry(registry.url, **{"patience_s": 5.0, **more})


def read(value: bytes, registry: SchemaRegistry) -> object:
    fields = (Field("camera_id", Kind.TEXT, ("id",)),)
    layers = frozenset({Layer.CONFLUENT})
    return values_of(value, (), MessageForm(fields, 1000, layers, registry=registry))["camera_id"]


def test_messages_of_several_schemas_in_one_topic_are_read_each_by_its_own(
    registry: Registry,
) -> None:
    registry.add(1, FIRST)
    registry.add(2, SECOND)
    old = framed(1, avro(FIRST, {"id": "a"}))
    new = framed(2, avro(SECOND, {"note": "n", "id": "b"}))

    assert [read(one, client(registry)) for one in (old, new, old, new)] == ["a", "b", "a", "b"]
    assert registry.asked == ["/schemas/ids/1", "/schemas/ids/2"]


def test_a_schema_is_read_with_those_that_it_refers_to(registry: Registry) -> None:
    part = {"type": "record", "name": "Part", "fields": [{"name": "id", "type": "string"}]}
    whole = {"type": "record", "name": "Whole", "fields": [{"name": "id", "type": "string"}]}
    whole["fields"].append({"name": "part", "type": "Part"})  # type: ignore[attr-defined]
    reference = {"name": "Part", "subject": "the part", "version": 3}
    registry.add(4, whole, references=[reference])
    registry.versions["the%20part", 3] = {"schema": json.dumps(part)}

    assert read(framed(4, b"\x02a\x02b"), client(registry)) == "a"


def test_json_of_a_schema_registry_is_read_and_protobuf_is_named(registry: Registry) -> None:
    registry.add(1, {"type": "object"}, schemaType="JSON")
    registry.add(2, {}, schemaType="PROTOBUF")

    assert read(framed(1, b'{"id": "a"}'), client(registry)) == "a"
    with pytest.raises(RowError, match="schema 2 of the registry is PROTOBUF"):
        read(framed(2, b"x"), client(registry))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (framed(9, b"x"), "the schema registry has no schema 9"),
        (b'{"id": "a"}', "no Confluent framing"),
        (b"\0\0", "no Confluent framing"),
        (framed(1, b"\x04a"), "not Avro by schema 1 of the registry"),
        (framed(3, b""), "holds itself"),
    ],
)
def test_what_the_registry_knows_not_or_the_schema_fits_not_is_a_bad_message(
    value: bytes, said: str, registry: Registry
) -> None:
    registry.add(1, FIRST)
    registry.add(3, {**FIRST, "fields": [{"name": "next", "type": ["null", "F"]}]})

    with pytest.raises(RowError, match=said) as raised:
        read(value, client(registry))

    assert raised.value.code == "bad_message"


def test_an_id_that_is_not_known_is_asked_for_again_after_a_while(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = client(registry)
    for _ in range(3):
        with pytest.raises(UnknownSchemaError):
            schema_of(where, 5)
    assert len(registry.asked) == 1
    registry.add(5, FIRST)
    monkeypatch.setattr(schema_registry, "UNKNOWN_FOR_S", 0.0)

    assert json.loads(schema_of(where, 5).text) == FIRST


def test_a_registry_that_is_away_for_a_moment_is_waited_for(registry: Registry) -> None:
    registry.add(1, FIRST)
    registry.failures = [503, 429, 500]

    assert read(framed(1, avro(FIRST, {"id": "a"})), client(registry)) == "a"
    assert len(registry.asked) == 4


@pytest.mark.parametrize(
    ("failures", "patience_s", "said"),
    [
        ([503] * 99, 0.3, "answers HTTP 503, for 0.3 s; no message is lost by it"),
        ([401], 60, re.escape("refuses the credentials (HTTP 401)")),
        ([302], 60, "answers HTTP 302: is it the registry's address?"),
        ([404], 60, "answers HTTP 404: is it the registry's address?"),
    ],
)
def test_a_registry_that_stays_away_or_refuses_us_is_no_messages_fault(
    failures: list[int], patience_s: float, said: str, registry: Registry
) -> None:
    registry.add(1, FIRST)
    registry.failures = failures

    with pytest.raises(SchemaRegistryError, match=said):
        read(framed(1, avro(FIRST, {"id": "a"})), client(registry, patience_s=patience_s))


def test_a_path_that_the_server_does_not_have_is_no_unknown_schema(registry: Registry) -> None:
    with pytest.raises(SchemaRegistryError, match="HTTP 404: is it the registry's address?"):
        check(SchemaRegistry(f"{registry.url}/api", patience_s=5.0))


def test_a_port_where_nobody_listens_is_a_registry_that_is_away() -> None:
    with running_registry() as gone:
        url = gone.url
    began = time.monotonic()

    with pytest.raises(SchemaRegistryError, match="does not answer: .*refused"):
        schema_of(SchemaRegistry(url, patience_s=0.3), 1)

    assert time.monotonic() - began < 5


def test_the_registry_is_asked_with_the_credentials_and_they_are_not_shown(
    registry: Registry,
) -> None:
    registry.authorization = "Basic c2VjcmV0"
    registry.add(1, FIRST)
    where = client(registry, authorization="Basic c2VjcmV0")

    check(where)

    assert json.loads(schema_of(where, 1).text) == FIRST
    assert "c2VjcmV0" not in repr(where)
    with pytest.raises(SchemaRegistryError, match="`schema_registry_config` has them"):
        check(client(registry, authorization="Basic other"))
