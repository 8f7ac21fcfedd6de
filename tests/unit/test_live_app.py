"""The live page's addresses: who may look, what an open page is sent, letters put back."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from live_pages import (
    add,
    found,
    letter_record,
    live_without_kafka,
    plain_jpeg,
    timestamps,
    told,
)
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pyspark_vision.clients.live.app import live_app
from pyspark_vision.clients.live.guard import Door
from pyspark_vision.clients.live.live import Live

HERE = "http://127.0.0.1:8040"
SOCKET = "ws://127.0.0.1:8040"
SAME = {"Origin": HERE}


@pytest.fixture
def live() -> Live:
    return live_without_kafka(letter_topic="dead", replay_command=(sys.executable, "-c", "pass"))


@pytest.fixture
def client(live: Live) -> TestClient:
    return client_of(live)


def client_of(live: Live, host: str = "127.0.0.1", token: str | None = None) -> TestClient:
    app = live_app(live, Door(host, 8040, token))
    return TestClient(app, base_url=HERE, follow_redirects=False)


def next_frames(socket: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The next message with pictures; those without are asked away."""
    while True:
        said, pictures = told(socket.receive_bytes())
        socket.send_json({"next": True})
        if said.get("frames"):
            return said, pictures


def test_the_page_and_all_its_parts_are_ours_and_lead_nowhere_else(client: TestClient) -> None:
    page = client.get("/")
    parts = [word.split('"')[0] for word in page.text.split('"/parts/')[1:]]

    for part in parts:  # it grows by what the scripts import
        answer = client.get(f"/parts/{part}")
        assert answer.status_code == 200
        assert "https://" not in answer.text
        imported = [line.split('"./')[1] for line in answer.text.splitlines() if '"./' in line]
        names = [words.split('"')[0] for words in imported]
        parts += [name for name in dict.fromkeys(names) if name not in parts]
    assert len(parts) == 12
    assert "http" not in page.text
    assert client.get("/parts/no.css").status_code == 404
    assert client.get("/parts/..%2Fapp.py").status_code == 404


def test_no_other_page_reads_frames_or_embeds_anything(client: TestClient) -> None:
    for path in ("/", "/parts/main.js", "/frames/none", "/frames/none/picture"):
        headers = client.get(path).headers
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8040"}, 200),
        ({"Host": "[::1]:8040"}, 200),
        ({"Host": "evil.example:8040"}, 421),
        ({"Host": "127.0.0.1.evil.example:8040"}, 421),
        ({"Host": "127.0.0.1:9999"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "a:b:c"}, 421),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
    ids=str,
)
def test_only_our_own_address_and_no_other_site_is_answered(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.get("/", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (SAME, 202),
        ({}, 403),
        ({"Origin": "http://127.0.0.1:8050"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=str,
)
def test_letters_are_put_back_by_this_page_alone(
    live: Live, client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.post("/replay", headers=headers).status_code == status
    assert live.replay is not None
    assert (live.replay.status is not None) is (status == 202)


def test_reading_an_address_starts_nothing(live: Live, client: TestClient) -> None:
    assert client.get("/replay", headers=SAME).status_code == 405
    assert live.replay is not None
    assert live.replay.status is None


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8050", "null"])
def test_another_page_gets_no_socket(client: TestClient, origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f"{SOCKET}/live", headers={"Origin": origin}),
    ):
        pass


def test_a_page_that_others_can_reach_needs_its_token_which_leaves_the_address() -> None:
    client = client_of(live_without_kafka(), "0.0.0.0", "s3cret")

    assert client.get("/").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/frames/none/picture?token=").status_code == 401
    assert client.post("/replay?token=s3cret", headers=SAME).status_code == 401
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f"{SOCKET}/live?token=s3cret"),
    ):
        pass

    moved = client.get("/?token=s3cret")

    assert (moved.status_code, moved.headers["location"]) == (303, "/")
    cookie = moved.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/").status_code == 200  # by the cookie
    other = client_of(live_without_kafka(), "0.0.0.0", "s3cret")
    bearer = {"Authorization": "Bearer s3cret"}
    assert other.get("/", headers=bearer).status_code == 200
    assert other.get("/", headers=[(b"authorization", "Bearer é".encode())]).status_code == 401
    # Whoever has the token still comes by an address of this machine, not by another's name.
    assert other.get("/", headers={**bearer, "Host": "evil.example:8040"}).status_code == 421


def test_an_open_page_gets_pictures_as_they_came_with_their_objects(
    live: Live, client: TestClient
) -> None:
    [timestamp] = timestamps(1)
    add(live, "hall", timestamp, found("car"))

    with client.websocket_connect(f"{SOCKET}/live") as socket:
        socket.send_json({"show": [0], "view": "top"})
        said, pictures = next_frames(socket)

    [frame] = said["frames"]
    assert pictures == [plain_jpeg()]
    assert (frame["name"], frame["timestamp"], frame["place"]) == ("hall", timestamp, "result")
    assert frame["objects"] == [
        {
            "label": "car",
            "score": 0.9,
            "box": [0.25, 0.5, 0.75, 1.0],
            "color": "#de9d17",
            "ink": "#000000",
        }
    ]


def test_side_by_side_the_input_goes_on_while_its_result_is_awaited(
    live: Live, client: TestClient
) -> None:
    old, new = timestamps(2)
    add(live, "hall", old, found("car"))
    add(live, "hall", new, content=plain_jpeg((9, 9, 9)), has_result=False)

    with client.websocket_connect(f"{SOCKET}/live") as socket:
        socket.send_json({"show": [0], "view": "beside"})
        said, pictures = next_frames(socket)

    assert [(frame["place"], frame["timestamp"]) for frame in said["frames"]] == [
        ("input", new),
        ("result", old),
    ]
    assert pictures == [plain_jpeg((9, 9, 9)), plain_jpeg()]


def test_a_slow_page_skips_frames_and_holds_up_no_other(live: Live, client: TestClient) -> None:
    times = timestamps(30)
    add(live, "hall", times[0])
    with (
        client.websocket_connect(f"{SOCKET}/live") as slow,
        client.websocket_connect(f"{SOCKET}/live") as fast,
    ):
        for socket in (slow, fast):
            socket.send_json({"show": [0], "view": "top"})
            next_frames(socket)
        got = []
        for timestamp in times[1:]:
            add(live, "hall", timestamp)
            said, _ = next_frames(fast)
            got += [frame["timestamp"] for frame in said["frames"]]
        waiting = [told(slow.receive_bytes())[0]]  # it was on its way before it was asked for
        slow.send_json({"next": True})
        while waiting[-1].get("frames", [{}])[0].get("timestamp") != times[-1]:
            waiting.append(told(slow.receive_bytes())[0])
            slow.send_json({"next": True})

    skipped = [said for said in waiting if said.get("frames")]
    assert got == times[1:]
    assert len(skipped) <= 2


def test_pictures_of_cameras_that_are_not_to_be_seen_are_not_sent(
    live: Live, client: TestClient
) -> None:
    for name in ("a", "b"):
        add(live, name, timestamps(1)[0])
    with client.websocket_connect(f"{SOCKET}/live") as socket:
        socket.send_json({"show": [1, 99, "x", None], "view": "top"})
        said, _ = next_frames(socket)

    assert [frame["name"] for frame in said["frames"]] == ["b"]


@pytest.mark.parametrize("text", ["no json", "[" * 50_000, "[]", '{"show": 5, "hold": 7}'])
def test_what_a_page_says_wrongly_ends_at_most_its_own_connection(
    client: TestClient, text: str
) -> None:
    with client.websocket_connect(f"{SOCKET}/live") as socket:
        socket.send_text(text)
    with client.websocket_connect(f"{SOCKET}/live") as socket:
        said, _ = told(socket.receive_bytes())

    assert said["state"]["cameras"] == []


def test_held_frames_stay_while_they_are_held(live: Live, client: TestClient) -> None:
    times = timestamps(500)
    for timestamp in times[:120]:
        add(live, "hall", timestamp, content=plain_jpeg(size_wh=(8, 8)))
    held_id = live.cameras.last(0)[50].frame_id
    with client.websocket_connect(f"{SOCKET}/live") as socket:
        socket.send_json({"hold": held_id})
        said: dict[str, Any] = {}
        while "held" not in said:
            said, _ = told(socket.receive_bytes())
            socket.send_json({"next": True})
        for timestamp in times[120:]:
            add(live, "hall", timestamp, content=plain_jpeg(size_wh=(8, 8)))
        here = client.get(f"/frames/{held_id}/picture")
    deadline = time.monotonic() + 5
    while client.get(f"/frames/{held_id}").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.02)

    assert said["held"]["id"] == held_id
    assert [frame["timestamp"] for frame in said["held"]["frames"]] == times[20:120]
    assert (here.status_code, here.headers["content-type"]) == (200, "image/jpeg")
    assert client.get(f"/frames/{held_id}/picture").status_code == 404
    assert client.get(f"/frames/{held_id}").json() == {"why": "this frame is gone"}


def test_a_letter_has_its_reason_and_its_picture(live: Live, client: TestClient) -> None:
    import base64
    import json

    message = {"camera_id": "hall", "image": base64.b64encode(plain_jpeg()).decode()}
    origin = "kafka:frames/0/7"
    for value in (json.dumps(message).encode(), b"<script>", None):
        fields = {"error_code": "truncated", "error_message": "cut", "origin": origin}
        more = {} if value else {"payload_left_out": "7340032"}
        live.add_letter(letter_record(value, fields={**fields, **more}))

    left_out, script, whole = live.letters.last()

    assert (whole.code, whole.message, whole.origin) == ("truncated", "cut", origin)
    assert (whole.camera_id, whole.picture is not None) == ("hall", True)
    assert client.get(f"/letters/{whole.number}/picture").content == plain_jpeg()
    assert client.get(f"/letters/{script.number}/picture").status_code == 404
    assert (script.camera_id, script.picture) == (None, None)
    assert left_out.left_out_bytes == 7_340_032
    assert live.failed_elsewhere == {"truncated": 3}  # no camera was seen yet


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"camera_id": 5}']
)
def test_messages_that_cannot_be_read_are_counted_with_the_reason(
    live: Live, value: bytes | None
) -> None:
    live.add_frame(letter_record(value, topic="frames"))
    live.add_result(letter_record(value, topic="results"))

    assert {topic: noted.count for topic, noted in live.unreadable.items()} == {
        "frames": 1,
        "results": 1,
    }
    assert all(noted.reason for noted in live.unreadable.values())


def test_the_template_and_the_look_are_shared_with_the_contact_sheet(client: TestClient) -> None:
    sheet = Path(sys.modules["pyspark_vision"].__file__ or "").parent / "contact_sheet"

    assert client.get("/parts/look.css").text == (sheet / "look.css").read_text(encoding="utf-8")
    assert client.get("/").text.splitlines()[:2] == ["<!DOCTYPE html>", '<html lang="en">']
