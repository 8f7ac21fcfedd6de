"""events.json: a whole array for every reader, each event once, nobody else's file touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dashboard_cells
import pandas as pd
import pytest

from pyspark_vision.clients.pycturestream import Result
from pyspark_vision.clients.receiver import array_file, record
from pyspark_vision.clients.receiver.events_file import EventsFile, open_events
from pyspark_vision.clients.receiver.record import Owner
from pyspark_vision.clients.receiver.repeats import WINDOW_RESULTS, Window, digest
from pyspark_vision.errors import InvalidOptionError, StreamError

OWNER = Owner("cluster", "results", "id-1", "group", ("hall",))
KEY = b"pycturestream-0-17-demo@0123456789ab"
RESULT = Result("hall", "2026-11-21T08:00:00", (), None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.json"


def opened(path: Path, owner: Owner = OWNER, begin: Mapping[int, int] | None = None) -> EventsFile:
    return open_events(path, owner, lambda: begin or {0: 0})


def add(events: EventsFile, *names: str, digests: Sequence[str | None] = ()) -> None:
    """An event each, at the next offsets of partition 0, and flushed."""
    for number, name in enumerate(names):
        events.add([{"event_type": name}], digests[number] if digests else None)
    events.advance(0, events.offsets[0] + len(names))
    events.flush()


def names(path: Path) -> list[str]:
    return [event["event_type"] for event in json.loads(path.read_text())]


def test_killed_at_any_call_and_byte_the_file_is_an_array_and_goes_on_without_gap_or_repeat(
    root: Path,
) -> None:
    # A disk makes thousands of files slow, and proves no more: the machine is not switched off.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        done = subprocess.run(
            [sys.executable, str(root / "tests" / "support" / "killed_writer.py"), folder],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    counted = dict(line.removesuffix(" places").split(": ") for line in done.stdout.splitlines())
    assert list(counted) == ["spare file", "copies", "record written anew"]
    assert all(int(count) > 100 for count in counted.values()), counted


def test_a_new_file_is_an_empty_array_that_pandas_reads(path: Path) -> None:
    opened(path).close()

    assert json.loads(path.read_text()) == []
    assert len(pd.read_json(path)) == 0


def test_hostile_labels_stay_labels(path: Path) -> None:
    hostile = ["]", '"}]', "\u2028é", "\x00", "\ud800", "</script>"]
    events = opened(path)

    add(events, *hostile)
    events.close()

    assert names(path) == hostile
    assert path.read_bytes().isascii()


def test_a_second_start_goes_on_behind_what_is_there(path: Path) -> None:
    events = opened(path, begin={0: 7, 1: 2})
    add(events, "cat", "dog")
    events.close()

    again = opened(path)

    assert (again.events, dict(again.offsets)) == (2, {0: 9, 1: 2})
    add(again, "car")
    again.close()
    assert names(path) == ["cat", "dog", "car"]


def test_messages_without_events_move_the_offsets_on(path: Path) -> None:
    events = opened(path)
    events.advance(0, 5)
    events.close()

    assert opened(path).offsets == {0: 5}
    assert names(path) == []


@pytest.mark.parametrize("kind", ["open", "linked"])
def test_who_reads_slowly_reads_the_array_that_was_there_when_the_file_was_opened(
    kind: str, path: Path, tmp_path: Path
) -> None:
    events = opened(path)
    for number in range(8):
        add(events, f"{number}")
        if number == 3:
            slow = path if kind == "open" else tmp_path / "linked"
            if kind == "linked":
                os.link(path, slow)
            reader = slow.open() if kind == "open" else None

    text = reader.read() if reader else slow.read_text()

    assert [event["event_type"] for event in json.loads(text)] == ["0", "1", "2", "3"]
    assert names(path) == [str(number) for number in range(8)]
    if reader:
        reader.close()
    events.close()


@pytest.mark.parametrize("lacking", ["link", "copy_file_range"])
def test_where_a_file_system_lacks_something_the_file_is_copied(
    lacking: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, lacking, refuse)
    monkeypatch.setattr(array_file, "_BLOCK_BYTES", 10)
    events = opened(path)
    for number in range(4):
        add(events, f"{number}")
    events.close()

    assert names(path) == ["0", "1", "2", "3"]


def test_flushes_that_take_long_come_seldom(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    events = opened(path)

    def fsync(_: int) -> None:
        clock[0] += 1.0

    monkeypatch.setattr(os, "fsync", fsync)
    add(events, "cat")
    took_s = clock[0] - 100.0
    events.advance(0, 9)

    clock[0] += 8.9 * took_s
    assert not events.is_due()
    clock[0] += 0.2 * took_s
    assert events.is_due()


def test_somebody_elses_file_is_refused_and_stays(path: Path) -> None:
    path.write_text("[]")

    with pytest.raises(InvalidOptionError, match="is there already and receive did not make it"):
        opened(path)

    assert path.read_text() == "[]"
    assert os.listdir(path.parent) == ["events.json"]


def test_a_folder_is_no_events_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="is a folder"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"cluster_id": "other"}, "belongs to cluster cluster, not other"),
        ({"topic": "other"}, "belongs to topic results, not other"),
        ({"topic_id": "id-2"}, "belongs to topic with the id id-1, not id-2 .it was made anew"),
        ({"group": "other"}, "belongs to consumer group group, not other"),
        ({"cameras": ()}, r"belongs to cameras hall, not \(all\)"),
    ],
)
def test_a_file_of_another_topic_or_group_is_refused(
    other: dict[str, Any], said: str, path: Path
) -> None:
    opened(path).close()

    with pytest.raises(InvalidOptionError, match=said):
        opened(path, replace(OWNER, **other))


def test_two_processes_do_not_add_to_one_file(path: Path) -> None:
    events = opened(path)

    with pytest.raises(InvalidOptionError, match="another receive adds to it now"):
        opened(path)

    events.close()
    opened(path).close()


def test_a_file_that_was_edited_is_refused(path: Path) -> None:
    events = opened(path)
    add(events, "cat")
    events.close()
    path.write_text(path.read_text().replace("cat", "dog"))

    with pytest.raises(InvalidOptionError, match=r"not as receive left it \(1 events\)"):
        opened(path)

    assert names(path) == ["dog"]


def test_a_file_that_is_replaced_while_it_is_written_is_left_alone(path: Path) -> None:
    events = opened(path)
    add(events, "cat")
    path.unlink()
    path.write_text("[]")

    with pytest.raises(StreamError, match="was changed by something else"):
        add(events, "dog")

    events.close()
    assert path.read_text() == "[]"


def test_a_file_that_is_removed_while_it_is_written_comes_back_whole(path: Path) -> None:
    events = opened(path)
    add(events, "cat")
    path.unlink()

    add(events, "dog")

    events.close()
    assert names(path) == ["cat", "dog"]
    opened(path).close()


def test_a_file_that_is_taken_away_after_a_stop_is_begun_anew_where_it_ended(
    path: Path, tmp_path: Path
) -> None:
    events = opened(path)
    add(events, "cat", digests=["00"])
    events.close()
    path.rename(tmp_path / "november.json")

    again = opened(path)

    assert (again.events, dict(again.offsets), list(again.window)) == (0, {0: 1}, ["00"])
    add(again, "dog")
    again.close()
    assert (names(tmp_path / "november.json"), names(path)) == (["cat"], ["dog"])


def test_a_file_that_is_taken_away_after_a_kill_is_asked_for(path: Path) -> None:
    events = opened(path)
    add(events, "cat")
    os.close(events._lock)  # as a kill does
    path.unlink()

    with pytest.raises(InvalidOptionError, match=r"is gone, and receive did not end in order"):
        opened(path)


@pytest.mark.parametrize("text", ["", "no record\n", '{"format": 2}\n', "[]\n"])
def test_a_record_that_is_none_is_refused(text: str, path: Path) -> None:
    opened(path).close()
    (path.parent / "events.json.state" / "record").write_text(text)

    with pytest.raises(InvalidOptionError, match=r"record, which says whose .* cannot be read"):
        opened(path)


def test_a_record_that_grew_long_is_written_anew_with_the_whole_window(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_REWRITE_BYTES", 1_000)
    events = opened(path)
    for number in range(30):
        add(events, "cat", digests=[f"{number:02}"])
    events.close()

    assert (path.parent / "events.json.state" / "record").stat().st_size < 3_000
    assert list(opened(path).window) == [f"{number:02}" for number in range(30)]


def test_the_file_behind_a_symbolic_link_is_written_and_the_link_stays(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    path.symlink_to(tmp_path / "data" / "events.json")
    events = opened(path)
    add(events, "cat")
    events.close()

    assert path.is_symlink()
    assert names(tmp_path / "data" / "events.json") == ["cat"]


def test_the_rights_that_a_file_was_given_stay(path: Path) -> None:
    events = opened(path)
    path.chmod(0o604)
    for number in range(3):
        add(events, f"{number}")
    events.close()

    assert path.stat().st_mode & 0o777 == 0o604


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = opened(path)
    add(events, "cat")

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            add(events, "dog")
    events.close()

    assert names(path) == ["cat"]
    assert opened(path).offsets == {0: 1}


@pytest.mark.parametrize(
    ("key", "result", "is_same"),
    [
        (KEY, RESULT, True),
        (KEY.replace(b"17", b"18"), RESULT, False),
        (KEY.replace(b"ab", b"ac"), RESULT, False),
        # Of a topic of frames that was made anew.
        (KEY, replace(RESULT, timestamp="2026-11-21T09:00:00"), False),
        (KEY, replace(RESULT, camera_id="yard"), False),
    ],
)
def test_a_repeat_has_the_key_and_the_frame(key: bytes, result: Result, is_same: bool) -> None:
    assert (digest(key, result) == digest(KEY, RESULT)) is is_same


@pytest.mark.parametrize("key", [None, b"", b"hall", b"pycturestream-0-17", b"\xff"])
def test_a_message_without_a_key_of_ours_is_no_repeat(key: bytes | None) -> None:
    assert digest(key, RESULT) is None


def test_a_prediction_is_known_by_its_id() -> None:
    key = b"1f0c2d3e-0000-8123-a456-0123456789ab"

    assert digest(key, RESULT) == digest(key, RESULT) != digest(KEY, RESULT)
    assert digest(b"1f0c2d3e-0000-4123-a456-0123456789ab", RESULT) is None  # anybody's


def test_the_window_forgets_the_oldest() -> None:
    window = Window(str(number) for number in range(WINDOW_RESULTS))
    window.add("new")

    assert ("0" in window, "1" in window, "new" in window) == (False, True, True)
    assert len(list(window)) == WINDOW_RESULTS


def test_pycturestreams_dashboard_reads_it(path: Path) -> None:
    events = opened(path)
    for day, minute, name in ((20, 14, "cat"), (20, 15, "cat"), (21, 16, "Nothing detected")):
        timestamp = f"2026-11-{day} 08:{minute}:00.500000"
        events.add([{"event_type": name, "timestamp": timestamp, "camera_id": "7"}], None)
    events.advance(0, 3)
    events.close()

    frame = dashboard_cells.read_events(path)

    assert list(frame["event_type"]) == ["cat", "cat", "Nothing detected"]
    assert dashboard_cells.histogram(frame, "weekday") == {"Friday": 2, "Saturday": 1}
    assert dashboard_cells.histogram(frame, "hour") == {8: 3}
    assert dashboard_cells.histogram(frame, "minute") == {14: 1, 15: 1, 16: 1}
    assert dashboard_cells.counts_over_time(frame) == {
        ("2026-11-20 08:00", "cat"): 1,
        ("2026-11-20 08:15", "cat"): 1,
        ("2026-11-21 08:15", "Nothing detected"): 1,
    }
