"""Pace, cameras that fail, counts, progress lines and flags of the clients that send pictures."""

from __future__ import annotations

import argparse
import functools
import io
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pyspark_vision.clients import camera_pictures, filming, flag_values, pace, progress
from pyspark_vision.clients.bucket import open_bucket
from pyspark_vision.clients.camera_pictures import CameraPictures
from pyspark_vision.clients.capture.cameras import Camera
from pyspark_vision.clients.capture.source import BadPictureError, CaptureError, Shot
from pyspark_vision.clients.filming import Pacing, Take, film
from pyspark_vision.clients.pace import on_time
from pyspark_vision.clients.pycturestream import Frame
from pyspark_vision.clients.stopping import Stop
from pyspark_vision.clients.tally import Tally, counted
from pyspark_vision.clients.whole_file import write_whole
from pyspark_vision.errors import InvalidOptionError


class Clock(threading.Event):
    """A clock that goes on only when somebody waits, and the event that is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0.0
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def paced(count: int, rate: float) -> Iterator[Shot]:
    return (Shot(n / rate, lambda: b"") for n in range(count))


def live(clock: Clock, rate: float) -> Iterator[Shot]:
    while True:
        clock.now_s += 1 / rate
        yield Shot(None, lambda: b"")


def test_a_rate_holds_over_an_hour_whatever_each_picture_costs(clock: Clock) -> None:
    shots = on_time(paced(18_000, 5), clock, rate=5, duration_s=None, puts_off=False)
    moments = []
    for number, (_, is_late) in enumerate(shots):
        assert not is_late
        moments.append(clock.now_s - 1000)
        clock.now_s += 0.19 if number % 2 else 0.01

    assert moments == pytest.approx([n / 5 for n in range(18_000)])


def test_what_is_late_is_left_out_and_not_sent_in_a_burst(clock: Clock) -> None:
    sent: list[float] = []
    late: list[float] = []
    for shot, is_late in on_time(paced(20, 10), clock, rate=10, duration_s=None, puts_off=False):
        (late if is_late else sent).append(shot.due_s or 0.0)
        if shot.due_s == 0.5:
            clock.now_s += 0.72  # the machine stands still

    assert late == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0, 1.1])
    assert len(sent) == 14


def test_what_is_put_off_is_sent_later_at_the_same_pace(clock: Clock) -> None:
    moments = []
    shots = on_time(paced(10, 10), clock, rate=10, duration_s=None, puts_off=True)
    for number, (_, is_late) in enumerate(shots):
        assert not is_late
        moments.append(round(clock.now_s - 1000, 3))
        if number == 5:
            clock.now_s += 1

    assert moments == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 1.6, 1.7, 1.8]


@pytest.mark.parametrize(("own", "wanted", "taken"), [(30, 5, 50), (30, 30, 300), (4, 5, 40)])
def test_of_a_live_camera_so_many_a_second_are_taken(
    own: int, wanted: int, taken: int, clock: Clock
) -> None:
    shots = on_time(live(clock, own), clock, rate=wanted, duration_s=10, puts_off=False)

    assert len(list(shots)) == pytest.approx(taken, abs=1)


def test_a_live_camera_without_a_rate_is_taken_as_it_comes(clock: Clock) -> None:
    shots = on_time(live(clock, 30), clock, rate=None, duration_s=2, puts_off=False)

    assert len(list(shots)) == pytest.approx(60, abs=1)


def test_a_duration_is_of_the_sources_clock(clock: Clock) -> None:
    shots = on_time(paced(100, 5), clock, rate=5, duration_s=3, puts_off=False)

    assert len(list(shots)) == 15


@pytest.mark.parametrize("is_live", [True, False])
def test_a_stop_ends_it(is_live: bool, clock: Clock) -> None:
    shots = live(clock, 5) if is_live else paced(100, 5)
    taken = 0
    for _ in on_time(shots, clock, rate=5, duration_s=None, puts_off=False):
        taken += 1
        if taken == 3:
            clock.set()

    assert taken == 3


@dataclass
class Faulty:
    """A live camera: each call of ``shots`` takes the next entry, shots or an error."""

    entries: list[Any]
    is_tried_again: bool = True
    began: int = field(default=0)

    def shots(self) -> Iterator[Shot]:
        self.began += 1
        for entry in self.entries[self.began - 1]:
            if isinstance(entry, Exception):
                raise entry
            yield Shot(None, entry)


def bad() -> bytes:
    raise BadPictureError("undecodable", "it is damaged")


def _send(tally: Tally, frame: Frame) -> None:
    tally.send()


def filmed(*sources: Faulty) -> tuple[list[Tally], list[filming.Ending], list[str]]:
    """Tallies and endings of cameras "0", "1", …, and what was said."""
    tallies = [Tally() for _ in sources]
    said: list[str] = []
    takes = [
        Take(Camera(str(number), source), (tally,), functools.partial(_send, tally))
        for number, (source, tally) in enumerate(zip(sources, tallies, strict=True))
    ]
    pacing = Pacing(rate=None, duration_s=None, puts_off=False)
    endings = film(takes, pacing, Stop(), said.append, lambda _: None)
    return tallies, list(endings.values()), said


def test_a_camera_that_fails_is_tried_again_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filming, "FIRST_PAUSE_S", 0.01)
    away = CaptureError("it is unplugged")
    picture: Callable[[], bytes] = lambda: b"jpeg"  # noqa: E731
    faulty = Faulty([[picture, away], [away], [away], [picture, picture]])

    tallies, endings, said = filmed(faulty, Faulty([[picture] * 5]))

    assert [counted(tally) for tally in tallies] == [
        "frames 3, sent 3, dropped 0, failed 0",
        "frames 5, sent 5, dropped 0, failed 0",
    ]
    assert [ending.failed_times for ending in endings] == [3, 0]
    assert not any(ending.is_failing for ending in endings)
    assert said == [
        f"0: it is unplugged; tried again in {pause} s" for pause in ("0.01", "0.02", "0.04")
    ]


def test_a_camera_that_hangs_does_not_outlast_the_duration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filming, "_END_S", 0.1)
    hangs = threading.Event()
    source = Faulty([[lambda: b"jpeg", lambda: str(hangs.wait(60)).encode()]])
    tally = Tally()
    take = Take(Camera("0", source), (tally,), functools.partial(_send, tally))

    try:
        film([take], Pacing(None, 0.3, puts_off=False), Stop(), print, time.sleep)
        assert (tally.captured, tally.sent, tally.under_way) == (2, 1, 1)
    finally:
        hangs.set()


def test_a_file_that_ends_early_is_not_tried_again() -> None:
    broken = Faulty([[lambda: b"jpeg", CaptureError("it ends early")]], is_tried_again=False)

    [tally], [ending], said = filmed(broken)

    assert (tally.sent, broken.began, ending.is_failing) == (1, 1, True)
    assert said == ["0: it ends early"]


def test_a_bad_picture_is_counted_and_said_once() -> None:
    [tally], [ending], said = filmed(Faulty([[bad, lambda: b"jpeg", bad]]))

    assert counted(tally) == "frames 3, sent 1, dropped 0, failed 2 (undecodable 2)"
    assert (ending.failed_times, tally.under_way) == (0, 0)
    assert said == ["0: it is damaged; undecodable is counted"]


def test_a_folder_that_is_gone_is_said_once_and_costs_no_frame(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "gone"
    camera_pictures.claim(folder, "--keep-input")
    keep = camera_pictures.kept_if_possible("--keep-input", folder, "input.jpg", said.append)
    shutil.rmtree(folder)

    for _ in range(2):
        keep("hall", b"jpeg")

    assert said == [f"--keep-input {tmp_path}/gone: No such file or directory; others go on"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_progress_line_which_other_lines_push_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress, "_TERMINAL_S", 0.0)
    shown = progress.Progress("produce", iter(["frames 10", "frames 9", "end"]).__next__)

    shown.tick()
    shown.tick()
    shown.say("a line\nof trouble")
    shown.end()

    assert screen.getvalue() == (
        "\rproduce: frames 10\rproduce: frames 9 \r                 \rproduce: a line of trouble\n"
    )


def test_a_log_has_whole_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    shown = progress.Progress("produce", lambda: "frames 10")

    shown.tick()
    assert log.getvalue() == ""
    monkeypatch.setattr(shown, "_next", 0.0)
    shown.tick()
    shown.tick()
    shown.end()

    assert log.getvalue() == "produce: frames 10\n"


def test_a_second_signal_hurries_unless_it_is_the_first_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("pyspark_vision.clients.stopping.time", clock)
    stop = Stop()
    seen = [(stop.is_asked, stop.is_hurried)]
    for passes_s in (0.0, 0.5, 2.0):
        clock.now_s += passes_s
        stop.signalled(signal.SIGTERM)
        seen.append((stop.is_asked, stop.is_hurried))

    assert seen == [(False, False), (True, False), (True, False), (True, True)]


def test_a_folder_is_ours_if_it_is_new_or_empty_or_bears_our_mark(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "input.jpg").touch()
    (tmp_path / "file").touch()

    for name in ("new/deep", "empty", "new/deep"):
        camera_pictures.claim(tmp_path / name, "--keep-input")
        assert CameraPictures(tmp_path / name, "input.jpg").keep("hall", b"jpeg")

    with pytest.raises(InvalidOptionError, match=r"holds input.jpg and no mark of pictures"):
        camera_pictures.claim(tmp_path / "theirs", "--keep-input")
    with pytest.raises(InvalidOptionError, match="file: File exists"):
        camera_pictures.claim(tmp_path / "file", "--keep-input")
    kept = [path.relative_to(tmp_path / "empty") for path in (tmp_path / "empty").rglob("*.*")]
    assert kept == [Path("hall/input.jpg")]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "input.jpg").mkdir()

    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "input.jpg", b"jpeg")

    assert [path.name for path in tmp_path.iterdir()] == ["input.jpg"]


@pytest.mark.parametrize(
    ("place", "prefix", "said"),
    [
        ("gs://bucket/in", "input-images/", "must be a bucket's name .a prefix goes to --gcs-pref"),
        ("s3://bucket", "input-images/", "must be a bucket's name"),
        ("file://elsewhere/x", "input-images/", "must be file:///path/to/folder"),
        ("file:x", "input-images/", "must be file:///path/to/folder"),
        ("file:///tmp/x", "../y/", "must lie within the bucket"),
        ("file:///tmp/x", "/y/", "must lie within the bucket"),
        ("file:///proc/x", "", "No such file"),
        ("file:///tmp/x%00", "", "null byte"),
    ],
)
def test_a_bucket_that_cannot_be_is_refused(place: str, prefix: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        open_bucket("--gcs-bucket", place, prefix)


def test_an_object_is_a_file_of_the_folder(tmp_path: Path) -> None:
    bucket = open_bucket("--gcs-bucket", f"file://{tmp_path}/a%20b", "in/")

    bucket.upload("in/1.jpg", b"jpeg")

    assert (tmp_path / "a b" / "in" / "1.jpg").read_bytes() == b"jpeg"


@pytest.mark.parametrize(
    ("read", "good", "refused"),
    [
        (
            flag_values.above_zero,
            {"0.5": 0.5, "1e9": 1e9, "0.000001": 1e-6},
            ["0", "-1", "nan", "inf", "fast", "", "1e-12", "1e300"],
        ),
        (flag_values.quality, {"1": 1, "95": 95}, ["0", "96", "8.5", "-1", "²", ""]),
        (
            flag_values.size_wh,
            {"640x480": (640, 480), "1X1": (1, 1)},
            ["640", "0x480", "640x-1", "9000x1", "axb", ""],
        ),
    ],
)
def test_values_of_flags(
    read: Callable[[str], Any], good: dict[str, Any], refused: list[str]
) -> None:
    assert {text: read(text) for text in good} == good
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError, match=" must be "):
            read(text)
