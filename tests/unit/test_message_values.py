"""Messages that are not the seeds', as a worker reads them, and what is said of bad ones."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from schema_registries import avro, framed

from pyspark_vision.executor.messages import arrays
from pyspark_vision.executor.messages.form import Field, Kind, Layer, MessageForm
from pyspark_vision.executor.messages.schema_registry import SchemaRegistryError
from pyspark_vision.executor.messages.values import Moment, values_of
from pyspark_vision.executor.row_errors import RowError

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(60))
GOOD = {
    "image": base64.b64encode(JPEG).decode(),
    "timestamp": "2026-11-21T08:00:00.5",
    "camera_id": "front",
}
FIELDS = (
    Field("image", Kind.PICTURE, ("image",)),
    Field("camera_id", Kind.TEXT, ("camera_id",)),
    Field("timestamp", Kind.TIMESTAMP, ("timestamp",)),
)
NESTED = (
    Field("image", Kind.PICTURE, ("payload", "frame", "data")),
    Field("camera_id", Kind.TEXT, ("device.id",)),
    Field("timestamp", Kind.TIMESTAMP, ("ts",)),
)
DOTTED = (Field("camera_id", Kind.TEXT, ("device", "id")),)
EXPECTED = {
    "image": JPEG,
    "timestamp": Moment(text="2026-11-21T08:00:00.5"),
    "camera_id": "front",
}


def message(**changed: Any) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def form(*layers: Layer, fields: tuple[Field, ...] = FIELDS, **more: Any) -> MessageForm:
    return MessageForm(fields, more.pop("max_bytes", 10_000), frozenset(layers), **more)


def refused(value: bytes | None, how: MessageForm, *headers: bytes | None) -> tuple[str, str]:
    with pytest.raises(RowError) as raised:
        values_of(value, headers, how)
    return raised.value.code.value, raised.value.message


ENVELOPE = json.dumps({"schema": {"a": 1}, "payload": GOOD}).encode()
TWICE = json.dumps({"payload": message().decode()}).encode()
CLOUD_EVENT = json.dumps({"data_base64": base64.b64encode(message()).decode()}).encode()
UTF16 = message(camera_id="Zürich").decode().encode("utf-16")
TWO_RECORDS = b'{"Records": [{}, {}]}'
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("value", "how"),
    [
        (message(), form()),
        (gzip.compress(message()), form(Layer.GZIP)),
        (gzip.compress(message()[:9]) + gzip.compress(message()[9:]), form(Layer.GZIP)),
        (framed(7, message()), form(Layer.CONFLUENT)),
        (BOM + message(), form(Layer.BOM)),
        (message().decode().encode("utf-16"), form(Layer.BOM)),
        (message().decode().encode("utf-32"), form(Layer.BOM)),
        (repr(message()).encode(), form(Layer.PYTHON_BYTES)),
        (repr(message(extra="it's")).encode(), form(Layer.PYTHON_BYTES)),
        (gzip.compress(framed(1, BOM + message())), form(Layer.BOM, Layer.CONFLUENT, Layer.GZIP)),
        (framed(1, gzip.compress(message())), form(Layer.CONFLUENT, Layer.GZIP)),
        (message(), form(*Layer)),
        (message(image=JPEG.hex()), form(Layer.HEX)),
        (message(image=JPEG.hex().upper()), form(Layer.HEX)),
        (message(image="0x" + JPEG.hex()), form(Layer.HEX)),
        (message(image="\\x" + JPEG.hex()), form(Layer.HEX)),
        (message(image=" data:image/jpeg;base64," + GOOD["image"]), form()),
        (message(image=str(JPEG)), form(Layer.PYTHON_BYTES)),
        (message(image=str(base64.b64encode(JPEG))), form(Layer.PYTHON_BYTES)),
        (message(image=str(base64.encodebytes(JPEG))), form(Layer.PYTHON_BYTES)),
        (message(image="data:image/jpeg;base64," + GOOD["image"]), form()),
        (message(image=GOOD["image"].rstrip("=").replace("/", "_").replace("+", "-")), form()),
        (ENVELOPE, form(unwrap=("payload",))),
        (TWICE, form(unwrap=("payload",))),
        (gzip.compress(ENVELOPE), form(Layer.GZIP, unwrap=("payload",))),
        (base64.b64encode(message()), form(Layer.BASE64)),
        (base64.b64encode(gzip.compress(message())) + b"\n", form(Layer.BASE64, Layer.GZIP)),
        (base64.urlsafe_b64encode(message()).rstrip(b"="), form(Layer.BASE64)),
        (json.dumps(message().decode()).encode(), form(Layer.JSON_TEXT)),
        (json.dumps(base64.b64encode(message()).decode()).encode(), form(*Layer)),
        (CLOUD_EVENT, form(Layer.BASE64, unwrap=("data_base64",))),
        (b"[" + message() + b"]", form(unwrap=("0",))),
        (b'{"Records": [{"body": ' + message() + b"}]}", form(unwrap=("Records", "0", "body"))),
        (message(score=float("nan"), other=[float("inf"), -float("inf")]), form()),
        (b" " + message() + b"\r\n", form()),
    ],
)
def test_a_message_in_any_wrapping_that_was_named_is_read(value: bytes, how: MessageForm) -> None:
    assert values_of(value, (), how) == EXPECTED


@pytest.mark.parametrize(
    ("value", "how", "code", "said"),
    [
        (None, form(), "null_input", "has no value"),
        (b"", form(), "empty_input", "is empty"),
        (gzip.compress(message()), form(), "bad_message", "`unpack` gzip"),
        (framed(7, message()), form(), "bad_message", "`unpack` confluent"),
        (framed(7, b"\x02\x04"), form(), "bad_message", "`schema_registry` URL"),
        (BOM + message(), form(), "bad_message", "`unpack` bom"),
        (UTF16, form(), "bad_message", "`unpack` bom"),
        (repr(message()).encode(), form(), "bad_message", "`unpack` python-bytes"),
        (framed(7, b"\x02\x04"), form(Layer.CONFLUENT), "bad_message", "Protobuf is not read"),
        (JPEG, form(), "bad_message", "`payload` image"),
        (message(image=JPEG.hex()), form(), "bad_base64", "`unpack` hex"),
        (message(image=str(b"abc")), form(), "bad_base64", "`unpack` python-bytes"),
        (message(image="a"), form(), "bad_base64", "is not base64"),
        (message(image="aG!k"), form(), "bad_base64", "is not base64"),
        (message(image="data:image/png,plain"), form(), "bad_base64", "is not base64"),
        (message(image="0x" + JPEG.hex()), form(), "bad_base64", "`unpack` hex"),
        (message(image="\\x" + JPEG.hex()), form(), "bad_base64", "`unpack` hex"),
        (message(image=7), form(), "bad_base64", "image is a number"),
        (message(image=None), form(), "bad_message", "no image: image is null"),
        (message(camera_id=7), form(), "bad_message", "`coerce` takes numbers as ids"),
        (message(camera_id=True), form(coerce=True), "bad_message", "is true or false"),
        (message(camera_id=["a"]), form(coerce=True), "bad_message", "is a list"),
        (message(timestamp=1.5), form(), "bad_message", "`timestamp_unit` s, ms, us or ns"),
        (message(timestamp="17"), form(timestamp_unit="s"), "bad_message", "`coerce` reads digits"),
        (message(timestamp="17"), form(coerce=True), "bad_message", "`timestamp_unit` s, ms"),
        (message(timestamp=True), form(timestamp_unit="s"), "bad_message", "is true or false"),
        (
            message(timestamp=1763712000123),
            form(timestamp_unit="s"),
            "bad_message",
            "beyond the year 9999 in s; by `timestamp_unit` ms it would be of this century",
        ),
        (
            message()[:-1] + b', "timestamp": 1e999999999}',
            form(timestamp_unit="s"),
            "bad_message",
            "beyond the year 9999 in s",
        ),
        (
            message(timestamp=1763712000123456789),
            form(timestamp_unit="us"),
            "bad_message",
            "beyond the year 9999 in us; by `timestamp_unit` ns it would be of this century",
        ),
        (
            message(timestamp=1763712000),
            form(timestamp_unit="ms"),
            "bad_message",
            "is of the year 1970 in ms; by `timestamp_unit` s it would be of this century",
        ),
        (
            message(timestamp=-62135596801),
            form(timestamp_unit="s"),
            "bad_message",
            "before the year 1 in s",
        ),
        (
            message(**{"device.id": "a"}),
            form(fields=DOTTED),
            "bad_message",
            r"=device\.id reads it",
        ),
        (message(), form(fields=NESTED), "bad_message", "no payload.frame.data: it has image, "),
        (message(payload=[1]), form(fields=NESTED), "bad_message", "payload is a list of 1"),
        (message(payload={"frame": "x"}), form(fields=NESTED), "bad_message", "frame is text"),
        (message(), form(unwrap=("payload",)), "bad_message", "no payload: it has image"),
        (message(payload=7), form(unwrap=("payload",)), "bad_message", "payload is a number"),
        (TWO_RECORDS, form(unwrap=("Records",)), "bad_message", "`unwrap` Records.0 reads a list"),
        (message(payload=None), form(unwrap=("payload",)), "bad_message", "payload is null; it"),
        (message(payload="x"), form(unwrap=("payload",)), "bad_message", "not a JSON object"),
        (b"[]", form(), "bad_message", "not an object, but a list"),
        (b"[" + message() + b"]", form(), "bad_message", "`unwrap` 0 reads a list of one"),
        (b"[{}, {}]", form(), "bad_message", "the message is a list of 2; a record is read that"),
        (b"[{}, {}]", form(unwrap=("0",)), "bad_message", "the message is a list of 2"),
        (TWO_RECORDS, form(unwrap=("Records", "1")), "bad_message", "Records is a list of 2"),
        (message() + message(), form(), "bad_message", "more behind its first JSON object"),
        (message() + b"\n" + message(), form(), "bad_message", "more behind its first JSON object"),
        (json.dumps(message().decode()).encode(), form(), "bad_message", "`unpack` json-text"),
        (base64.b64encode(message()), form(), "bad_message", "`unpack` base64"),
        (base64.b64encode(gzip.compress(b"{}")), form(), "bad_message", "`unpack` base64"),
        (b"abc==d", form(Layer.BASE64), "bad_message", "damaged base64"),
        (b'"{', form(Layer.JSON_TEXT), "bad_message", "begins as JSON's text and does not end so"),
        (b'"7"', form(Layer.JSON_TEXT), "bad_message", "not an object, but a number"),
        (message(camera_id=float("nan")), form(coerce=True), "bad_message", "must be text"),
        (message(timestamp=float("inf")), form(timestamp_unit="s"), "bad_message", "beyond"),
        (message(timestamp=float("nan")), form(timestamp_unit="s"), "bad_message", "no number"),
        (b'{"a": nan}', form(), "bad_message", "not a JSON object"),
        (message() + b" more", form(), "bad_message", "more behind its first JSON object"),
        (b"7 7", form(), "bad_message", "not a JSON object"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, form(), "bad_message", "not a JSON object"),
        (b"1" * 5_000, form(), "bad_message", "not a JSON object"),
        (b'{"a": "\xff"}', form(), "bad_message", "not UTF-8"),
        (b"b'" + b"\\xff'", form(Layer.PYTHON_BYTES), "bad_message", "not UTF-8"),
        (b"b'' + f()", form(Layer.PYTHON_BYTES), "bad_message", "does not end so"),
        (b"b'\\q'", form(Layer.PYTHON_BYTES), "bad_message", "does not end so"),
        (b"\xff\xfea", form(Layer.BOM), "bad_message", "is not UTF-16"),
        (gzip.compress(message())[:-9], form(Layer.GZIP), "bad_message", "gzip that is cut off"),
        (
            gzip.compress(gzip.compress(message())),
            form(Layer.GZIP),
            "bad_message",
            "gzip within gzip, or has it twice, and one of each is taken off",
        ),
        (BOM + BOM + message(), form(Layer.BOM), "bad_message", "bom within bom"),
        (b"\x1f\x8b\x08\xff" + b"x" * 9, form(Layer.GZIP), "bad_message", "gzip"),
        (
            gzip.compress(b" " * 1_000_000),
            form(Layer.GZIP),
            "too_many_bytes",
            "max_message_bytes=10000",
        ),
        (message(image="x" * 10_000), form(), "too_many_bytes", "max_message_bytes=10000"),
    ],
)
def test_what_is_not_read_says_what_it_is_and_which_option_reads_it(
    value: bytes | None, how: MessageForm, code: str, said: str
) -> None:
    found = refused(value, how)

    assert found[0] == code
    assert said in found[1]


@pytest.mark.parametrize(
    ("sent", "unit", "coerce", "micros"),
    [
        (1763712000, "s", False, 1763712000_000000),
        (1763712000.123456, "s", False, 1763712000_123456),
        (1763712000123, "ms", False, 1763712000_123000),
        (1763712000123.4, "ms", False, 1763712000_123400),
        (1763712000123456, "us", False, 1763712000_123456),
        (1763712000123456789, "ns", False, 1763712000_123457),
        (0, "s", False, 0),
        (0, "ms", False, 0),
        (-1.5, "s", False, -1_500_000),
        ("1763712000.25", "s", True, 1763712000_250000),
        (" 1763712000123 ", "ms", True, 1763712000_123000),
    ],
)
def test_numbers_are_moments_in_the_unit_that_was_named(
    sent: object, unit: str, coerce: bool, micros: int
) -> None:
    how = form(timestamp_unit=unit, coerce=coerce)

    assert values_of(message(timestamp=sent), (), how)["timestamp"] == Moment(micros=micros)


def test_a_time_that_is_not_required_is_handed_on_as_digits_as_without_options() -> None:
    fields = (Field("timestamp", Kind.TIMESTAMP, ("timestamp",), required=False),)
    value = b'{"timestamp": "1763712000"}'

    assert values_of(value, (), form(fields=fields)) == {"timestamp": Moment(text="1763712000")}
    how = form(fields=fields, timestamp_unit="s", coerce=True)
    assert values_of(value, (), how) == {"timestamp": Moment(micros=1763712000_000000)}
    assert "reads a number" in refused(b'{"timestamp": 1763712000}', form(fields=fields))[1]


def test_text_of_iso_8601_is_still_read_where_numbers_are() -> None:
    assert values_of(message(), (), form(timestamp_unit="ms", coerce=True)) == EXPECTED


@pytest.mark.parametrize(
    ("sent", "read"),
    [("7", "7"), ("7.10", "7.10"), ("12345678901234567890", "12345678901234567890"), ('"a"', "a")],
)
def test_a_number_that_is_coerced_is_the_id_as_it_was_sent(sent: str, read: str) -> None:
    value = message(camera_id="?").replace(b'"?"', sent.encode())

    assert values_of(value, (), form(coerce=True))["camera_id"] == read


def test_fields_come_from_paths_places_in_lists_and_headers() -> None:
    fields = (
        Field("image", Kind.PICTURE, ("payload", "frames", "1")),
        Field("camera_id", Kind.TEXT, ("camera",), is_header=True),
        Field("timestamp", Kind.TIMESTAMP, ("ts",), is_header=True),
    )
    value = json.dumps({"payload": {"frames": ["", GOOD["image"]]}}).encode()
    how = form(fields=fields, timestamp_unit="ms")

    found = values_of(value, (b"front", b"1763712000123"), how)

    assert how.headers == ("camera", "ts")
    assert found == {
        "image": JPEG,
        "camera_id": "front",
        "timestamp": Moment(micros=1763712000_123000),
    }
    assert "no header camera" in refused(value, how, None, b"1")[1]
    assert "not UTF-8" in refused(value, how, b"\xff", b"1")[1]


def test_fields_that_are_not_required_may_be_missing_and_metadata_is_text() -> None:
    fields = (
        Field("image_id", Kind.TEXT, ("meta", "id"), required=False),
        Field("metadata", Kind.MAP, ("meta",), required=False),
    )
    sent = {"meta": {"n": 1, "x": 1.50, "t": "a", "none": None, "o": {"a": [1.5, "é"]}}}

    found = values_of(json.dumps(sent).encode(), (), form(fields=fields))

    assert found == {
        "image_id": None,
        "metadata": {"n": "1", "x": "1.5", "t": "a", "none": None, "o": '{"a":[1.5,"é"]}'},
    }
    assert values_of(b"{}", (), form(fields=fields)) == {"image_id": None, "metadata": None}
    assert "must be an object" in refused(b'{"meta": "a"}', form(fields=fields))[1]


def test_half_of_a_character_is_no_id_and_a_question_mark_in_metadata() -> None:
    value = message(camera_id="?").replace(b'"?"', b'"\\ud800"')

    code, said = refused(value, form())

    assert (code, said) == ("bad_message", "camera_id has half of a character, which no text holds")
    fields = (Field("metadata", Kind.MAP, ("metadata",)),)
    value = b'{"metadata": {"a": "\\ud800", "b": ["\\udfff"]}}'
    assert values_of(value, (), form(fields=fields)) == {"metadata": {"a": "?", "b": '["?"]'}}


def test_numbers_within_metadata_keep_their_digits() -> None:
    fields = (Field("metadata", Kind.MAP, ("metadata",)),)
    inside = '{"id":12345678901234567890.123456789,"list":[1E+400,true,null,"ü"],"none":{}}'
    value = f'{{"metadata": {{"a": {inside}}}}}'.encode()

    assert values_of(value, (), form(fields=fields)) == {"metadata": {"a": inside}}


DEVICE = {"type": "record", "name": "Device", "fields": [{"name": "id", "type": ["null", "long"]}]}
SCHEMA = {
    "type": "record",
    "name": "Frame",
    "namespace": "org.example",
    "fields": [
        {"name": "device", "type": DEVICE},
        {"name": "picture", "type": ["null", "bytes"], "default": None},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
OF_AVRO = (
    Field("image", Kind.PICTURE, ("picture",)),
    Field("camera_id", Kind.TEXT, ("device", "id")),
    Field("timestamp", Kind.TIMESTAMP, ("ts",)),
)
WHEN = dt.datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=dt.UTC)
MICROS = 1795248000_250000
SENT = {"device": {"id": 7}, "picture": JPEG, "ts": WHEN}


def by_file(schema: Any = SCHEMA, *layers: Layer, **more: Any) -> MessageForm:
    more = {"fields": OF_AVRO, "coerce": True, **more}
    return form(*layers, avro_schema=json.dumps(schema), **more)


@pytest.mark.parametrize(
    ("value", "how"),
    [
        (avro(SCHEMA, SENT), by_file()),
        (gzip.compress(avro(SCHEMA, SENT)), by_file(SCHEMA, Layer.GZIP)),
        (framed(3, avro(SCHEMA, SENT)), by_file(SCHEMA, Layer.CONFLUENT)),
    ],
)
def test_avro_is_read_by_the_schema_of_a_file(value: bytes, how: MessageForm) -> None:
    assert values_of(value, (), how) == {
        "image": JPEG,
        "camera_id": "7",
        "timestamp": Moment(micros=MICROS),
    }


@pytest.mark.parametrize(
    ("kind", "sent", "moment"),
    [
        ({"type": "long", "logicalType": "timestamp-micros"}, WHEN, Moment(micros=MICROS)),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            WHEN.replace(tzinfo=None),
            Moment(text="2026-11-21T08:00:00.250000"),
        ),
        ("string", "2026-11-21T08:00:00Z", Moment(text="2026-11-21T08:00:00Z")),
        ("double", 1763712000.25, Moment(micros=1763712000_250000)),
        (["null", "long"], 1763712000, Moment(micros=1763712000_000000)),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            Decimal("1763712000.25"),
            Moment(micros=1763712000_250000),
        ),
    ],
)
def test_avros_own_timestamps_need_no_unit_and_its_numbers_do(
    kind: Any, sent: object, moment: Moment
) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "ts", "type": kind}]}
    fields = (Field("timestamp", Kind.TIMESTAMP, ("ts",)),)
    how = by_file(schema, fields=fields, timestamp_unit="s")

    assert values_of(avro(schema, {"ts": sent}), (), how) == {"timestamp": moment}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (avro(SCHEMA, SENT)[:-1], "not Avro by the schema of `avro_schema`"),
        (avro(SCHEMA, SENT) + b"x", "1 bytes are left over"),
        (framed(1, avro(SCHEMA, SENT)), "`avro_schema` FILE with `unpack` confluent"),
        (gzip.compress(avro(SCHEMA, SENT)), "`unpack` gzip"),
        (b"\x02\x0e\x02\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", "not Avro"),
        (b"\x04", "not Avro"),
        (message(), "not Avro"),
        (avro(SCHEMA, {**SENT, "picture": None}), "no image: image (picture) is null"),
        (avro(SCHEMA, {**SENT, "device": {"id": None}}), "camera_id (device.id) is null"),
    ],
)
def test_bytes_that_are_not_of_the_schema_are_bad_messages(value: bytes, said: str) -> None:
    assert refused(value, by_file())[0] == "bad_message"
    assert said in refused(value, by_file())[1]


def test_an_envelope_in_avro_may_hold_json() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "payload", "type": "bytes"}]}
    how = by_file(schema, fields=FIELDS, unwrap=("payload",))

    assert values_of(avro(schema, {"payload": message()}), (), how) == EXPECTED


def test_avro_that_is_text_alone_has_no_fields() -> None:
    said = refused(avro("string", "{}"), by_file("string"))

    assert said == ("bad_message", "the message is not an object, but text")


def batch(*values: bytes | None) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Records without headers, as Spark gives them."""
    headers = pa.array([[]] * len(values), pa.list_(pa.binary()))
    return iter([(pa.array(values, pa.binary()), headers)])


def test_a_message_that_nobody_thought_of_is_its_own_rows_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(value: bytes | None, *_: object) -> dict[str, Any]:
        if value == b"odd":
            raise ZeroDivisionError("odd")
        return EXPECTED

    monkeypatch.setattr(arrays, "values_of", fail)

    [read] = arrays.read_batches(batch(b"odd", b"good"), form())

    odd, good = read.to_pylist()
    assert odd["error"]["code"] == "bad_message"
    assert "cannot be read: ZeroDivisionError: odd" in odd["error"]["message"]
    assert (good["image"], good["error"]) == (JPEG, None)


def test_a_registry_that_is_away_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SchemaRegistryError("away")

    monkeypatch.setattr(arrays, "values_of", fail)

    with pytest.raises(SchemaRegistryError, match="away"):
        list(arrays.read_batches(batch(b"good"), form()))


def test_pieces_are_bounded_by_the_bytes_of_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_BYTES_PER_PIECE", 2 * len(JPEG))

    pieces = arrays.read_batches(batch(*[message()] * 5), form())

    assert [len(piece) for piece in pieces] == [2, 2, 1]
