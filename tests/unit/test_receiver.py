"""What `receive` makes of results, without a broker: messages, lines, pictures, offsets."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from pyspark_vision.clients import camera_pictures, pycturestream
from pyspark_vision.clients.camera_pictures import CameraPictures, camera_folder
from pyspark_vision.clients.pycturestream import (
    BadMessageError,
    DetectedObject,
    Result,
    events_of,
    read_result,
)
from pyspark_vision.clients.receiver import lines
from pyspark_vision.clients.receiver.latest import LatestPictures
from pyspark_vision.clients.receiver.lines import printable, result_line
from pyspark_vision.clients.receiver.topic import without_lost
from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sinks import terminal

NOON = datetime(2026, 11, 21, 12)


@pytest.mark.parametrize("module", [camera_pictures, lines, pycturestream])
def test_the_examples_in_the_docstrings_print_what_they_show(module: ModuleType) -> None:
    tried = doctest.testmod(module)

    assert tried.failed == 0
    assert tried.attempted > 0


def test_receive_imports_no_spark() -> None:
    code = "import pyspark_vision.cli.receive, sys; print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"pyspark", "pandas", "numpy", "pyarrow"} & set(done.stdout.split())


def message(**fields: object) -> bytes:
    whole = {"timestamp": "2026-11-21T08:00:00", "camera_id": "hall", "objects": [], **fields}
    return json.dumps(whole).encode()


def test_stream_detects_own_fields_are_read() -> None:
    item = {"label": "cat", "score": 0.93, "sector": ["top", "left"], "box": [0, 0, 0.5, 1]}
    value = message(objects=[{**item, "class_id": 3}], model_name="demo", image="/9g=")

    assert read_result(value) == Result(
        "hall",
        "2026-11-21T08:00:00",
        (DetectedObject("cat", 0.93, ("top", "left"), (0, 0, 0.5, 1), 3),),
        b"\xff\xd8",
        "demo",
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "it has no value"),
        (b"", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"null", "it must be a JSON object, not null"),
        (message(objects=None), "objects must be a list, not null"),
        (message(objects=[1]), "an object must be a JSON object, not 1"),
        (message(objects=[{"label": "cat"}]), "score must be a number from 0 to 1, not null"),
        (message(objects=[{"label": "cat", "score": float("nan")}]), "not NaN"),
        (message(objects=[{"label": "cat", "score": 10**400}]), "score must be a number from 0"),
        (message(objects=[{"label": "", "score": 1}]), 'label must be a text, not ""'),
        (message(camera_id=7), "camera_id must be a text, not 7"),
        (message(image="%"), "image is not base64"),
        (message(image=7), "image is not base64"),
    ],
)
def test_what_is_no_result_says_which_field_and_why(value: bytes | None, said: str) -> None:
    with pytest.raises(BadMessageError, match=said):
        read_result(value)


@pytest.fixture
def zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Europe/Zurich."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("sent", "local"),
    [
        ("2026-11-21T08:00:00", "2026-11-21 08:00:00.000000"),
        ("2026-11-21T08:00:00.5", "2026-11-21 08:00:00.500000"),
        ("2026-11-21T08:00:00Z", "2026-11-21 09:00:00.000000"),
        ("2026-07-21T08:00:00+00:00", "2026-07-21 10:00:00.000000"),
        ("0001-01-01T00:00:00", "0001-01-01 00:00:00.000000"),
    ],
)
def test_an_events_time_is_local_with_six_digits(sent: str, local: str, zurich: None) -> None:
    [event] = events_of(Result("hall", sent, (), None))

    assert event == {"event_type": "Nothing detected", "timestamp": local, "camera_id": "hall"}


@pytest.mark.parametrize("sent", ["yesterday", "0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00"])
def test_a_time_that_is_none_is_a_bad_message(sent: str, zurich: None) -> None:
    with pytest.raises(BadMessageError, match="timestamp must be ISO-8601"):
        events_of(Result("hall", sent, (), None))


def test_a_line_has_each_object_with_score_and_sector_where_there_is_one() -> None:
    objects = (DetectedObject("cat", 1.0, ("top", "left")), DetectedObject("dog", 0.5, None))

    shown = result_line(Result("hall", "", objects, None), NOON)

    assert shown == "2026-11-21 12:00:00.000 hall: cat 1.00 (top left), dog 0.50"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
        ("Küche 7", "Küche 7"),
    ],
)
def test_what_could_steer_a_terminal_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("camera", "folder"),
    [
        ("hall", "hall"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("_camera_pictures", "%5Fcamera_pictures"),
        ("%2E", "%252E"),
        ("\x00", "%00"),
        ("-rf", "%2Drf"),
    ],
)
def test_a_cameras_folder_is_one_name(camera: str, folder: str) -> None:
    assert camera_folder(camera) == folder


def test_long_names_are_folders_of_their_own() -> None:
    first, second = camera_folder("x" * 5_000), camera_folder("x" * 5_001)

    assert first != second
    assert max(len(first), len(second)) < 200


def test_pictures_need_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(InvalidOptionError, match=r"--keep-output .* holds thesis.tex and no mark"):
        camera_pictures.claim(tmp_path, "--keep-output")

    camera_pictures.claim(tmp_path / "new", "--keep-output")
    camera_pictures.claim(tmp_path / "new", "--keep-output")
    with pytest.raises(InvalidOptionError, match="Not a directory"):
        camera_pictures.claim(tmp_path / "thesis.tex" / "new", "--keep-output")


def test_a_topic_that_names_many_cameras_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_pictures, "MAX_CAMERAS", 2)
    said: list[str] = []
    for _ in range(2):  # those of an earlier run count, too
        pictures = LatestPictures(tmp_path, said.append)
        for number in range(4):
            pictures.offer(Result(f"{number}", "", (), b"\xff"), 1)
        pictures.keep()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    assert len(said) == 2


def test_the_last_picture_is_the_one_that_was_sent_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    pictures = LatestPictures(tmp_path, print)

    def shown(*sent: tuple[int, bytes | None]) -> bytes:
        for sent_ms, jpeg in sent:
            pictures.offer(Result("hall", "", (), jpeg), sent_ms)
        pictures.keep()
        return (tmp_path / "hall" / "output.jpg").read_bytes()

    assert shown((20, b"second"), (10, b"first")) == b"second"
    assert shown((15, b"of another partition")) == b"second"
    assert shown((30, None)) == b"second"
    assert shown((30, b"third")) == b"third"
    clock[0] += 11  # the job's clock was set back
    assert shown((5, b"fourth")) == b"fourth"
    assert os.listdir(tmp_path / "hall") == ["output.jpg"]


def test_a_picture_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = CameraPictures(tmp_path, "output.jpg")
    pictures.keep("hall", b"first")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        pictures.keep("hall", b"second")

    assert (tmp_path / "hall" / "output.jpg").read_bytes() == b"first"


def test_reading_goes_on_where_it_can() -> None:
    kept = {0: 5, 1: 7}
    ends = {0: (0, 5), 1: (3, 9), 2: (4, 4)}  # the last came since

    assert without_lost("results", kept, ends, may_skip=False) == ({0: 5, 1: 7, 2: 4}, 0)


@pytest.mark.parametrize(
    ("ends", "said", "skipped"),
    [
        ((6, 9), "results-0: what stood at offset 5 is not there any more", ({0: 6}, 1)),
        ((0, 4), "results-0 ends at offset 4, and was read up to 5 before", ({0: 4}, 0)),
    ],
)
def test_what_is_lost_is_said_or_skipped_by_choice(
    ends: tuple[int, int], said: str, skipped: tuple[dict[int, int], int]
) -> None:
    with pytest.raises(StreamError, match=said):
        without_lost("results", {0: 5}, {0: ends}, may_skip=False)

    assert without_lost("results", {0: 5}, {0: ends}, may_skip=True) == skipped


def test_a_pipe_knows_that_its_reader_has_gone() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        assert terminal.is_read(stream)
        os.close(reader)
        assert not terminal.is_read(stream)
    assert terminal.is_read(stream)  # closed: nothing is known of it
