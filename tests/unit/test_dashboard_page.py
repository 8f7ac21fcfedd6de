"""The dashboard's page: what is served to whom, what its callbacks answer, and the command."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guides
import pytest
from dashboard_rows import row, write_batch

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.clients import listening_socket
from pyspark_vision.clients.dashboard import figures, server
from pyspark_vision.clients.dashboard.answers import OverTime
from pyspark_vision.clients.dashboard.folder import Folder
from pyspark_vision.clients.dashboard.page import make_app
from pyspark_vision.clients.dashboard.places import find_place

HOSTILE = '<a href="https://evil.example">cat</a>'


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Folder]:
    write_batch(tmp_path, 0, [row(labels=("cat", HOSTILE)), row("yard", ("dog",))])
    folder = Folder(find_place(str(tmp_path)), "UTC")
    folder.look()
    yield folder
    folder.close()


def client(source: Folder, host: str = "127.0.0.1", token: str | None = None) -> Any:
    app = make_app(source, title="detections")
    server.guard(app, host, token)
    return app.server.test_client()


def asked(
    browser: Any,
    cameras: list[str],
    changed: str = "cameras.value",
    drawn: Any = None,
    menus: dict[str, Any] | None = None,
) -> Any:
    """What the page's main callback answers when these cameras are chosen.

    ``drawn``: what the page kept of the answer before; ``menus``: the choices that ``cameras`` and
    ``events`` have now.
    """
    known = browser.get("/_dash-dependencies").get_json()
    [main] = [one for one in known if "totals.children" in one["output"]]
    values = {"cameras": cameras, "events": None, "axis": "minute", "asked": 1}
    outputs = [part.rsplit(".", 1) for part in main["output"].strip(".").split("...")]
    return browser.post(
        "/_dash-update-component",
        json={
            "output": main["output"],
            "outputs": [{"id": name, "property": what} for name, what in outputs],
            "inputs": [{**i, "value": values[i["id"]]} for i in main["inputs"]],
            "state": [
                {"id": "drawn", "property": "data", "value": drawn},
                *(
                    {"id": name, "property": "options", "value": (menus or {}).get(name)}
                    for name in ("cameras", "events")
                ),
            ],
            "changedPropIds": [changed],
        },
    )


def test_the_page_is_served_whole_and_asks_nobody_else(source: Folder) -> None:
    browser = client(source)

    answer = browser.get("/")

    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    assert all(address.startswith(("/_dash-", "/_favicon", "/assets/")) for address in addresses)
    with browser.get("/assets/dashboard.css") as style:
        assert style.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-eval" not in policy
    assert '"disable_version_check":true' in page.replace(" ", "")


def test_a_camera_is_chosen(source: Folder) -> None:
    browser = client(source)

    whole, yard = (asked(browser, cameras).get_json() for cameras in ([], ["yard"]))

    def totals(answer: Any) -> list[str]:
        tiles = answer["response"]["totals"]["children"]
        return [tile["props"]["children"][0]["props"]["children"] for tile in tiles]

    assert totals(whole) == ["2", "3", "0", "2"]
    assert totals(yard) == ["1", "1", "0", "2"]
    assert yard["response"]["shares"]["figure"]["data"][0]["labels"] == ["dog"]


def test_a_menu_is_sent_anew_only_when_its_choices_change(source: Folder) -> None:
    browser = client(source)
    first = asked(browser, []).get_json()["response"]
    menus = {name: first[name]["options"] for name in ("cameras", "events")}

    again = asked(browser, ["yard"], menus=menus).get_json()["response"]
    fewer = asked(browser, [], menus={**menus, "cameras": menus["cameras"][:1]}).get_json()

    assert [option["value"] for option in menus["cameras"]] == ["hall", "yard"]
    assert not {"cameras", "events"} & {*again}
    assert fewer["response"]["cameras"]["options"] == menus["cameras"]


def test_a_question_is_answered_with_charts_unless_they_are_drawn_already(source: Folder) -> None:
    browser = client(source)
    first = asked(browser, ["yard"], "asked.data").get_json()["response"]
    drawn = first["drawn"]["data"]

    again = asked(browser, ["yard"], "asked.data", drawn).get_json()["response"]
    # Its own answer may have been given up for this one.
    other_choice = asked(browser, ["hall"], "asked.data", drawn).get_json()["response"]
    write_batch(Path(source.shown), 1, [row("yard")])
    source.look()
    news = asked(browser, ["yard"], "asked.data", drawn).get_json()["response"]

    assert again == {"answered": {"data": 1}}
    assert other_choice["totals"] != first["totals"]
    assert news["totals"] != first["totals"]


def test_a_token_is_wanted_where_others_can_come(source: Folder) -> None:
    browser = client(source, "0.0.0.0", "secret")

    assert browser.get("/").status_code == 403
    assert browser.get("/?token=other").status_code == 403
    assert browser.post("/_dash-update-component", json={}).status_code == 403
    entered = browser.get("/?token=secret")
    assert (entered.status_code, entered.headers["Location"]) == (302, "/")
    assert "HttpOnly" in entered.headers["Set-Cookie"]
    assert "SameSite=Strict" in entered.headers["Set-Cookie"]
    assert browser.get("/").status_code == 200


def test_a_name_of_another_site_is_refused(source: Folder) -> None:
    browser = client(source)

    assert browser.get("/", headers={"Host": "rebound.example"}).status_code == 403
    assert browser.get("/", headers={"Host": "localhost:8050"}).status_code == 200


def test_labels_are_text_to_plotly_and_lines_that_stand_still_are_drawn() -> None:
    assert figures.shown("<b>a</b> & b\u202e\x00") == "&lt;b&gt;a&lt;/b&gt; &amp; b��"
    counts = [(HOSTILE, 3), ("cat", 1)]
    ring = figures.shares(counts, figures.colors(counts))["data"][0]
    assert ring["labels"][1] == "cat"
    assert "<" not in json.dumps(ring["labels"])
    assert ring["values"] == [3, 1]


def test_figures_of_nothing_say_so() -> None:
    for figure in (
        figures.over_time(OverTime(15, ()), {}),
        figures.over_axis((), "hour", {}),
        figures.shares((), {}),
        figures.scores((), {}),
        figures.failures(()),
    ):
        assert figure["data"] == []
        assert figure["layout"]["annotations"][0]["text"] == "nothing here yet"


def test_labels_beyond_the_colours_are_one() -> None:
    counts = [(f"label {n}", 100 - n) for n in range(30)]

    ring = figures.shares(counts, figures.colors(counts))["data"][0]

    assert len(ring["labels"]) == len(figures.PALETTE) + 1
    assert ring["labels"][-1] == "others"
    assert sum(ring["values"]) == sum(n for _, n in counts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none/here"], "none/here is not there: name the folder or file that a job wrote"),
        (["ftp://bucket/x"], "ftp://bucket/x: ftp:// is not read here. Give a local path"),
        (["kafka:"], "kafka:: name the topic, as kafka:resultstream"),
        (
            ["kafka:resultstream", "--kafka-servers", "127.0.0.1:1"],
            "no broker of --kafka-servers 127.0.0.1:1 answers",
        ),
        (
            ["kafka:resultstream", "--kafka-servers", "camera..pc:9092,127.0.0.1:²"],
            "the name camera..pc is not known; it is not HOST:PORT",
        ),
        (["hdfs://name:node/x"], "hdfs://name:node/x: it is no address: port could not be cast"),
        ([".", "--host", "x" * 64], "it is no address of this machine"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pyspark_vision(["dashboard", *words, "--no-open"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("pyspark-vision dashboard: ")
    assert said in line


@pytest.mark.parametrize("words", [["--port", "x"], ["--port", "65536"], ["--refresh", "0"]])
def test_a_bad_number_is_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        pyspark_vision(["dashboard", str(tmp_path), *words])
    assert ended.value.code == 2


def test_a_port_that_is_taken_is_named_or_the_next_one_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["dashboard", str(tmp_path), "--no-open", "--port", str(port)]
        assert pyspark_vision(words) == 2
        assert f"--port {port}: another program has it" in capsys.readouterr().err
        with listening_socket.listen("127.0.0.1", None, port) as other:
            assert port < other.getsockname()[1]


@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_dashboard_md_the_command_serves_until_it_is_told_to_end(
    ends_by: int, tmp_path: Path
) -> None:
    write_batch(tmp_path / "build" / "demo" / "detections", 0, [row()])
    [command] = guides.block("dashboard.md", "pyspark-vision dashboard").commands
    words = [sys.executable, "-m", "pyspark_vision.cli.main", *command.split()[1:]]
    process = subprocess.Popen(
        [*words, "--no-open", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        url = first.split(" at ")[1].strip()
        assert urllib.request.urlopen(url, timeout=30).status == 200
        began = time.monotonic()
        process.send_signal(ends_by)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "dashboard: ended"
    assert time.monotonic() - began < 15
