"""`pyspark-vision live`: flags, the job's numbers, the process of a replay, contrast."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from local_services.process import wait_until

from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.clients.brokers import Brokers, BrokersError
from pyspark_vision.clients.listening_socket import listen
from pyspark_vision.clients.live import replay, server
from pyspark_vision.clients.live.feed import Feed
from pyspark_vision.clients.live.job_numbers import JobWatch, checked_url, parsed
from pyspark_vision.clients.live.live import LiveOptions
from pyspark_vision.clients.live.replay import Replay
from pyspark_vision.clients.live.server import DEFAULT_PORT
from pyspark_vision.errors import InvalidOptionError

ROOT = Path(__file__).resolve().parents[2]
METRICS = """# HELP pyspark_vision_rows_total Rows read
# TYPE pyspark_vision_rows_total counter
pyspark_vision_rows_total{job_name="stream_detect"} 12.0
pyspark_vision_rows_failed_total{job_name="stream_detect",code="truncated"} 2.0
pyspark_vision_rows_dropped_total{job_name="stream_detect",reason="stale"} 3.0
pyspark_vision_result_age_p95_seconds{job_name="stream_detect"} 0.75
python_info{version="3.11"} 1.0
"""


@pytest.fixture(autouse=True)
def nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> list[LiveOptions]:
    """What would be served; the port is given back."""
    served: list[LiveOptions] = []

    def serve(options: LiveOptions, listening: socket.socket, *_: object, **__: object) -> int:
        listening.close()
        served.append(options)
        return 0

    monkeypatch.setattr(server, "serve", serve)
    return served


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--port", "70000"], "70000 is no port: give 0 to 65535"),
        (["--dead-letters", "letters"], "--dead-letters letters: the live page reads letters of a"),
        (["--dead-letters", "kafka:"], "--dead-letters kafka:: the live page reads letters of a"),
        (
            ["--metrics", "9108"],
            "--metrics 9108: it must be a URL as http://127.0.0.1:PORT/metrics",
        ),
        (["--metrics", "http://[::1"], "--metrics http://[::1: it must be a URL"),
        (["--result-topic", "pycturestream"], "must differ, not pycturestream, pycturestream"),
        (["--replay-checkpoint", "c"], "--replay-checkpoint needs --dead-letters kafka:TOPIC"),
        (["--kafka-config", "none"], "cannot read Kafka properties none"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1: it is no address of this machine"),
        (["--opne"], "there is no option --opne; did you mean --open?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = pyspark_vision(["live", "--no-open", *flags])
    except SystemExit as ended:
        code = ended.code

    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert says in said


def test_a_taken_port_is_said_and_the_default_goes_to_the_next_that_is_free() -> None:
    first, second = listen("127.0.0.1", None, DEFAULT_PORT), listen("127.0.0.1", None, DEFAULT_PORT)
    with first, second:
        taken = first.getsockname()[1]
        assert DEFAULT_PORT <= taken < second.getsockname()[1]
        with pytest.raises(InvalidOptionError, match=f"--port {taken}: another program has it"):
            listen("127.0.0.1", taken, DEFAULT_PORT)


def test_flags_become_what_is_served(
    nothing_is_served: list[LiveOptions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    flags = ["--port", "0", "--dead-letters", "kafka:dead", "--metrics", "http://127.0.0.1:9108"]
    assert pyspark_vision(["live", *flags, "--conf", "spark.jars=a.jar"]) == 0

    [options] = nothing_is_served
    assert (options.frame_topic, options.result_topic) == ("pycturestream", "resultstream")
    assert (options.letter_topic, options.metrics_url) == ("dead", "http://127.0.0.1:9108/metrics")
    words = options.replay_command
    assert words[1:5] == ("-m", "pyspark_vision.cli.main", "replay", "kafka:dead")
    assert words[words.index("--checkpoint") + 1].startswith(str(tmp_path))
    assert words[-2:] == ("--conf", "spark.jars=a.jar")
    assert options.replay_refusal is None


def test_the_button_is_refused_with_the_reason_where_replay_could_not_log_in(
    nothing_is_served: list[LiveOptions], tmp_path: Path
) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text("security.protocol=SASL_SSL\nsasl.password=s3cret\n")
    flags = ["--port", "0", "--dead-letters", "kafka:dead", "--kafka-config", str(config)]
    assert pyspark_vision(["live", *flags]) == 0

    [options] = nothing_is_served
    assert options.replay_command == ()
    assert "run pyspark-vision replay" in str(options.replay_refusal)
    assert "s3cret" not in repr(options)


def test_a_property_that_the_client_does_not_have_is_said_in_one_line() -> None:
    with pytest.raises(BrokersError, match="No such configuration property") as error:
        Feed(Brokers("127.0.0.1:9", {"securty.protocol": "SSL"}), {}).start()

    assert "\n" not in str(error.value)


def test_two_topics_or_brokers_have_two_checkpoints() -> None:
    places = {replay.default_checkpoint(*of) for of in (("a", "t"), ("b", "t"), ("a", "../t u"))}

    assert len(places) == 3
    assert len({Path(place).parent for place in places}) == 1


class Metrics(BaseHTTPRequestHandler):
    """Answers what the test wants next."""

    answer = (200, METRICS)

    def do_GET(self) -> None:
        code, text = self.answer
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metrics_server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_jobs_numbers_are_by_name_code_and_reason() -> None:
    numbers = parsed(METRICS, "url")

    assert numbers.job_name == "stream_detect"
    assert numbers.values == {"rows_total": 12.0, "result_age_p95_seconds": 0.75}
    assert (numbers.failed, numbers.dropped) == ({"truncated": 2.0}, {"stale": 3.0})
    assert parsed("", "url").values == {}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [((200, METRICS), None), ((503, ""), "it answers 503"), ((200, "<p>"), "are no metrics")],
    ids=["metrics", "refusal", "a page"],
)
def test_a_port_that_answers_otherwise_is_said(
    metrics_server: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, str],
    problem: str | None,
) -> None:
    monkeypatch.setattr(Metrics, "answer", answer)
    watch = JobWatch(checked_url(f"http://127.0.0.1:{metrics_server.server_port}"))
    watch.start()
    assert wait_until(lambda: watch.numbers.problem != "not asked yet", timeout_s=5)
    watch.stop()

    said = watch.numbers.problem
    assert said == problem or (problem is not None and said is not None and problem in said)


def test_a_job_that_is_not_there_is_said() -> None:
    watch = JobWatch("http://127.0.0.1:9/metrics")
    watch.start()
    assert wait_until(lambda: watch.numbers.problem != "not asked yet", timeout_s=5)
    watch.stop()

    assert watch.numbers.problem == "connection refused"
    assert watch.numbers.since > time.time() - 10


def run_replay(code: str) -> Replay:
    ran = Replay([sys.executable, "-c", code])
    assert ran.start()
    return ran


def has_ended(ran: Replay) -> bool:
    return ran.status is not None and ran.status.ended_at is not None


@pytest.mark.parametrize(
    ("code", "exit_code", "last"),
    [
        ("print('replay: 2 letters put back')", 0, "replay: 2 letters put back"),
        ("import sys; print(chr(27) + 'x' * 9999); sys.exit('no broker')", 1, "no broker"),
        ("print()", 0, None),
    ],
    ids=["good", "bad", "silent"],
)
def test_a_replays_outcome_is_kept(code: str, exit_code: int, last: str | None) -> None:
    ran = run_replay(code)
    assert wait_until(lambda: has_ended(ran), timeout_s=10)

    status = ran.status
    assert status is not None
    assert status.exit_code == exit_code
    assert (status.lines[-1] if status.lines else None) == last
    assert all(len(line) <= 400 for line in status.lines)
    assert ran.start()  # and it can be run again
    ran.stop()


def test_one_replay_runs_at_a_time_and_ends_with_the_page() -> None:
    ran = run_replay("import signal, time; signal.signal(15, print); print('on'); time.sleep(60)")
    assert not ran.start()
    began_at = time.monotonic()

    ran.stop()

    assert wait_until(lambda: has_ended(ran), timeout_s=5)
    assert time.monotonic() - began_at < 10


def test_a_replay_that_cannot_be_started_says_so() -> None:
    ran = Replay(["/no/such/python"])
    ran.start()

    assert ran.status is not None
    assert "No such file" in ran.status.lines[0]
    Replay(["/no/such/python"]).stop()


def tokens(scheme: str) -> dict[str, str]:
    """The colours of ``look.css`` by their names."""
    css = (ROOT / "pyspark_vision" / "contact_sheet" / "look.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    pairs = dict(re.findall(r"--([\w-]+): #([0-9a-f]+);", light))
    if scheme == "dark":
        pairs |= dict(re.findall(r"--([\w-]+): #([0-9a-f]+);", dark))
    return {
        name: value if len(value) == 6 else "".join(2 * c for c in value)
        for name, value in pairs.items()
    }


def contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""

    def luminance(color: str) -> float:
        parts = [byte / 255 for byte in bytes.fromhex(color)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


TEXTS = [
    *(("text", ground) for ground in ("page", "card", "stage", "bad-soft")),
    *(("soft", ground) for ground in ("page", "card", "stage")),
    *(("bad", ground) for ground in ("page", "card", "bad-soft")),
    ("card", "text"),  # the chosen one of two
]
SIGNS = [
    *((sign, ground) for sign in ("good", "bad", "ok", "focus") for ground in ("page", "card")),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "ground", "least"),
    [*((*pair, 4.5) for pair in TEXTS), *((*pair, 3.0) for pair in SIGNS)],
)
def test_contrast_is_that_of_level_aa(scheme: str, front: str, ground: str, least: float) -> None:
    colors = tokens(scheme)

    assert contrast(colors[front], colors[ground]) >= least


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21)
    assert contrast("777777", "ffffff") < 4.5
