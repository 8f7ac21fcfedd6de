"""Flags of messages that are not the seeds': what is wrong is said before Spark starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from job_scripts import job
from schema_registries import running_registry

from pyspark_vision.executor.messages.form import Kind, Layer

SCHEMA = {"type": "record", "name": "F", "fields": [{"name": "id", "type": "string"}]}
ENDLESS = {"type": "record", "name": "F", "fields": [{"name": "next", "type": ["null", "F"]}]}


def refused(name: str, root: Path, tmp_path: Path, arguments: list[str], capsys: Any) -> str:
    """The line of a job that ends with exit code 2 before it asks for a session."""
    script = job(root, name)
    model = {"stream_detect": "--model", "stream_classify": "--model-gcs-path"}[name]
    given = [*arguments, "--checkpoint", str(tmp_path / "c"), model, "none"]
    try:
        code = script.main([*given, "--kafka-servers", "127.0.0.1:1"])
    except SystemExit as exit_:
        code = exit_.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2, lines
    assert lines[-1].startswith(f"{name}: ")
    return str(lines[-1])


@pytest.mark.parametrize("name", ["stream_detect", "stream_classify"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--field picture=a", "no field 'picture'; choose from image"),
        ("--field image", "it must be NAME=PATH, as image=payload.frame.data"),
        ("--field image=a..b", "'a..b' is no path"),
        ("--field timestamp=a timestamp=b", "timestamp stands there twice"),
        ("--field image=header:x", "a header holds ids and times"),
        ("--field image=record:key", "of a record itself a job takes "),
        ("--field timestamp=record:key", "timestamp=record:timestamp"),
        ("--field timestamp=record:timestamp timestamp=a", "timestamp stands there twice"),
        ("--payload image --coerce", "--coerce is for messages that hold a document"),
        ("--unwrap a.", "--unwrap 'a.' is no path"),
        ("--unpack zip", "invalid choice: 'zip'"),
        ("--timestamp-unit min", "invalid choice: 'min'"),
        ("--header-columns a-b a.b", "both would be the column header_a_b"),
        ("--header-columns a a", "both would be the column header_a"),
        ("--avro-schema {tmp}/none.avsc", "none.avsc: No such file or directory"),
        ("--avro-schema {tmp}/text.avsc", "text.avsc: it is no Avro schema"),
        ("--avro-schema {tmp}/endless.avsc", "endless.avsc: the schema's F holds itself"),
        ("--avro-schema {tmp}/good.avsc --schema-registry http://h", "not both"),
        ("--avro-schema {tmp}/good.avsc --unpack bom", "--unpack bom is for text"),
        ("--avro-schema {tmp}/good.avsc --unpack gzip base64", "--unpack base64 is for text"),
        ("--avro-schema {tmp}/good.avsc --unpack json-text", "--unpack json-text is for text"),
        ("--schema-registry-config {tmp}/good", "is of --schema-registry URL"),
        ("--schema-registry h:80", "give http://HOST:PORT or https://HOST"),
        ("--schema-registry http://h/?a=b", "give http://HOST:PORT or https://HOST"),
        ("--schema-registry http://u:pw@h", "credentials never stand on a command line"),
        ("--schema-registry http://127.0.0.1:1", "does not answer"),
        (
            "--schema-registry http://h --schema-registry-config {tmp}/none",
            "cannot read Kafka properties",
        ),
        (
            "--schema-registry http://h --schema-registry-config {tmp}/both",
            "choose basic.auth.user.info or bearer.auth.token",
        ),
        ("--schema-registry http://h --schema-registry-config {tmp}/ca", "no file /none.pem"),
    ],
)
def test_what_is_wrong_is_one_line_before_spark_starts(
    name: str,
    arguments: str,
    said: str,
    no_session: None,
    root: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    (tmp_path / "text.avsc").write_text("nothing")
    (tmp_path / "good.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / "endless.avsc").write_text(json.dumps(ENDLESS))
    (tmp_path / "both").write_text("basic.auth.user.info=u:topsecret\nbearer.auth.token=topsecret")
    (tmp_path / "ca").write_text("ssl.ca.location=/none.pem")

    line = refused(name, root, tmp_path, arguments.format(tmp=tmp_path).split(), capsys)

    assert said in line
    assert "topsecret" not in line
    assert ":pw@" not in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--input {tmp} --output {tmp}/o --coerce", "--coerce is for messages of Kafka"),
        ("--payload image --unwrap payload", "--unwrap is for messages that hold a document"),
        ("--payload image --field camera_id=a", "or name a header (header:NAME)"),
        ("--payload image --timestamp-unit s", "needs --field timestamp=header:NAME"),
        ("--image-field a --field image=b", "choose --image-field NAME or --field image=PATH"),
    ],
)
def test_a_frame_that_is_no_document_has_no_fields_but_headers(
    arguments: str, said: str, no_session: None, root: Path, tmp_path: Path, capsys: Any
) -> None:
    given = arguments.format(tmp=tmp_path).split()

    assert said in refused("stream_detect", root, tmp_path, given, capsys)


def test_a_registry_that_refuses_the_credentials_is_said_at_once(
    no_session: None, root: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "registry").write_text("schema.registry.basic.auth.user.info=u:topsecret")
    with running_registry() as registry:
        registry.authorization = "Basic other"
        arguments = ["--schema-registry", registry.url]
        arguments += ["--schema-registry-config", str(tmp_path / "registry")]

        line = refused("stream_classify", root, tmp_path, arguments, capsys)

    assert "refuses the credentials (HTTP 401)" in line
    assert "topsecret" not in line


def test_a_job_without_these_flags_has_no_form_and_with_one_the_seeds_fields(root: Path) -> None:
    detect = job(root, "stream_detect")
    given = ["--model", "m", "--checkpoint", "c"]

    def form(*more: str) -> Any:
        return detect.message_form(detect.parser().parse_job([*given, *more]))

    assert form() is None
    assert form("--header-columns", "trace") is None
    assert form("--payload", "image") is None
    paths = {field.name: field.path for field in form("--unpack", "gzip").fields}
    assert paths == {
        "image": ("image",),
        "camera_id": ("camera_id",),
        "timestamp": ("timestamp",),
    }
    of_record = form("--field", "camera_id=record:key", "timestamp=record:timestamp")
    assert [field.name for field in of_record.fields] == ["image"]
    assert form("--payload", "image", "--field", "camera_id=record:key") is None
    uri = form("--payload", "uri", "--image-field", "a.b", "--field", "timestamp=header:ts")
    assert [(one.kind, one.path, one.is_header) for one in uri.fields] == [
        (Kind.URI, ("a.b",), False),
        (Kind.TEXT, ("camera_id",), False),
        (Kind.TIMESTAMP, ("ts",), True),
    ]
    assert form("--schema-registry", "http://h", "--dry-run").layers == {Layer.CONFLUENT}
