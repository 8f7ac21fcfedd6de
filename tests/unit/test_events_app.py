"""The events API's answers, without Kafka: refusals, keys, text and JSON, the page."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from events_service import Running, running

from pyspark_vision.clients.events_api.answers import prefers_json
from pyspark_vision.clients.events_api.messages import shown_headers

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("api") / "journal") as service:
        yield service


def ask(
    api: Running, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read().decode()
    finally:
        connection.close()


DEEP = b'{"a":' * 40 + b"1" + b"}" * 40


@pytest.mark.parametrize(
    ("target", "content_type", "body", "status", "reason"),
    [
        ("/join_guild", JSON, b'{"a": ', 400, "the body is not JSON: "),
        ("/join_guild", JSON, b"[1]", 400, "the body must be a JSON object, not [1]"),
        ("/join_guild", JSON, b"null", 400, "the body must be a JSON object, not null"),
        ("/join_guild", JSON, b'{"a": 1, "a": 2}', 400, '"a" is given twice in one object'),
        ("/join_guild", JSON, b'{"a": NaN}', 400, "NaN is no number of JSON"),
        ("/join_guild", JSON, b'{"a": 1e999}', 400, 'the number "1e999" is too large'),
        ("/join_guild", JSON, b'{"a": "\\ud800"}', 400, "has half of a surrogate pair"),
        ("/join_guild", JSON, b'{"": 1}', 400, "a parameter of the body has no name"),
        ("/join_guild", JSON, b"\xff{}", 400, "the body is not UTF-8"),
        ("/join_guild", JSON, DEEP, 400, "more than 32 deep"),
        ("/join_guild", JSON, b'{"a":' * 12000, 400, "more than 32 deep"),
        ("/join_guild", JSON, b'{"description": 7}', 400, "description must be a text, not 7"),
        ("/join_guild", JSON, b'{"description": null}', 400, "must be a text, not null"),
        ("/?description=" + "x" * 1001, "", b"", 400, "description has 1001 characters; at most 1"),
        ("/join_guild?a=1", JSON, b'{"a": 1}', 400, '"a" is given twice'),
        ("/?a=1&a=2", "", b"", 400, '"a" is given twice'),
        ("/?a=%ff", "", b"", 400, "the query is not percent-encoded UTF-8"),
        ("/join_guild", FORM, b'{"a": 1}', 400, "send it with the header Content-Type: applic"),
        ("/join_guild", "text/plain", b"hello", 415, "Content-Type is text/plain; it must be"),
        ("/join_guild", "", b"hello", 415, "Content-Type is missing; it must be"),
        ("/join_guild", JSON, bytes(65537), 413, "the body has more than 65536 bytes"),
        ("/purchase", "", b"", 404, "there is no /purchase; there are /, /purchase_a_sword"),
        ("/join_guild/", "", b"", 404, "there is no /join_guild/"),
    ],
)
def test_bad_input_is_refused_with_the_reason_and_is_no_event(
    api: Running, target: str, content_type: str, body: bytes, status: int, reason: str
) -> None:
    before = api.events()
    headers = {"Content-Type": content_type} if content_type else {}

    as_text = ask(api, "POST", target, body, headers)
    as_json = ask(api, "POST", target, body, {**headers, "Accept": JSON})

    assert (as_text[0], as_json[0]) == (status, status)
    assert reason in as_text[2]
    assert as_text[1]["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(as_json[2])["error"]["message"] == as_text[2].removesuffix("\n")
    assert api.events() == before


def test_a_body_without_a_length_is_bounded_too(api: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(66):
            yield bytes(1024)

    status, _, said = ask(api, "POST", "/join_guild", chunks(), {"Content-Type": JSON})

    assert (status, said) == (413, "the body has more than 65536 bytes\n")


@pytest.mark.parametrize("path", ["/", "/join_guild", "/docs"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "BREW"])
def test_other_methods_are_refused_with_those_that_are_not(
    api: Running, path: str, method: str
) -> None:
    status, headers, _ = ask(api, method, path)

    assert (status, headers["allow"]) == (405, "GET" if path == "/docs" else "GET, POST")


def test_what_is_no_http_or_has_too_large_a_head_is_refused(api: Running) -> None:
    for sent in (b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
            try:
                connection.sendall(sent)
                assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(1000))
            except ConnectionError:
                pass  # it was not even read to its end
    assert ask(api, "GET", "/")[0] == 200


def test_kafka_away_is_503_with_what_to_do_and_a_repeat_with_the_event_id_is_the_same_event(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "j") as api:
        api.sender.is_away = True
        first = ask(api, "GET", "/purchase_a_sword")
        event_id = first[1]["event-id"]
        again = ask(api, "GET", "/purchase_a_sword", headers={"Idempotency-Key": event_id})
        as_json = ask(api, "GET", "/purchase_a_sword", headers={"Accept": JSON})
        unknown = ask(
            *(api, "GET", "/purchase_a_sword", None),
            {"Idempotency-Key": f"{api.journal.name}-99"},
        )
        events = len(api.events())

    assert (first[0], first[1]["retry-after"]) == (503, "5")
    assert first[2].startswith(f"Kafka is away. Event {event_id} is kept and will be sent.")
    assert (again[0], again[1]["event-id"], unknown[0]) == (503, event_id, 503)
    assert {k: v for k, v in json.loads(as_json[2]).items() if k != "message"} == {
        "event_id": as_json[1]["event-id"],
        "event_type": "purchase_sword",
        "status": "kept",
    }
    assert events == 3


def test_a_larger_event_than_its_topic_takes_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "j") as api:
        api.sender.max_message_bytes = 300
        small, large = ask(api, "GET", "/"), ask(api, "GET", "/?a=" + "x" * 300)

    assert (small[0], large[0]) == (200, 413)
    assert re.fullmatch(r"the event has \d+ bytes; its topic takes 300\n", large[2])


@pytest.mark.parametrize(
    ("accept", "json_first"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, text/plain, */*", False),
        ("application/json, */*;q=0.8", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/*;q=0.9, text/*;q=0.5", True),
        ("application/json;q=0", False),
        ("application/json;q=oops", False),
    ],
)
def test_json_is_for_those_that_prefer_it(accept: str, json_first: bool) -> None:
    assert prefers_json(accept) is json_first


def test_headers_have_the_names_that_flask_gives_them_and_no_credentials() -> None:
    raw = [
        *((b"host", b"h"), (b"USER-AGENT", b"curl"), (b"x-forwarded-for", b"a")),
        *((b"x-forwarded-for", b"b"), (b"dnt", b"1"), (b"x-name", b"\xe9")),
        *((b"cookie", b"c"), (b"authorization", b"Basic x"), (b"proxy-authorization", b"y")),
    ]

    assert shown_headers(raw) == {
        "Host": "h",
        "User-Agent": "curl",
        "X-Forwarded-For": "a,b",
        "Dnt": "1",
        "X-Name": "é",
    }
    assert shown_headers([]) == {}


def test_the_page_has_each_path_and_loads_and_runs_nothing(api: Running) -> None:
    status, headers, page = ask(api, "GET", "/docs")
    described = json.loads(ask(api, "GET", "/openapi.json")[2])

    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert all(f"GET, POST {path}<" in page for path in described["paths"])
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert re.findall(r'href="([^"]*)"', page) == ["/openapi.json"]


def test_schemathesis_finds_nothing(api: Running, tmp_path: Path) -> None:
    """A few examples of each operation; `schemathesis run` with more of them is a person's."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--max-examples", "4"]
    url = f"http://127.0.0.1:{api.port}/openapi.json"

    done = subprocess.run(
        [*command, "--no-color", url],
        cwd=tmp_path,  # where it keeps what it found
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "No issues found" in done.stdout
