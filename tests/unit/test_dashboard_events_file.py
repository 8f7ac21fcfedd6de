"""The dashboard over PyctureStream's events.json, which somebody appends to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyspark_vision.clients.dashboard.answers import Choice, Totals, answer
from pyspark_vision.clients.dashboard.events_file import EventsFile


def event(label: object, minute: int = 0, camera: object = "hall") -> dict[str, object]:
    text = f"2026-11-21 08:{minute:02}:00.250000"
    return {"event_type": label, "timestamp": text, "camera_id": camera}


def looked(path: Path) -> EventsFile:
    source = EventsFile(str(path))
    source.look()
    return source


def counted(source: EventsFile) -> dict[str, int]:
    return dict(answer(source.status.summary, Choice(), "hour").events)


def test_events_are_counted_by_the_local_time_that_they_have(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text(json.dumps([event("cat", 14), event("cat", 15), event("Nothing detected")]))
    source = looked(path)

    whole = answer(source.status.summary, Choice(), "hour")

    assert whole.totals == Totals(frames=0, failed=0, events=3, timeless=0)
    assert whole.cameras == (("hall", 3),)
    assert whole.over_axis == ((8, "Nothing detected", 1), (8, "cat", 2))
    assert [(at.minute, label, n) for at, label, n in whole.over_time.counts] == [
        (0, "Nothing detected", 1),
        (0, "cat", 1),
        (15, "cat", 1),
    ]
    source.close()


def test_what_is_appended_is_read_once_wherever_the_file_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    events = [event("cat {n}"), event('a "}" in } it'), event("dög", 3), event("cat {n}")]
    whole = json.dumps(events, ensure_ascii=False, indent=1).encode()
    source = EventsFile(str(path))

    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        source.look()
    path.write_bytes(whole)
    source.look()

    assert counted(source) == {"cat {n}": 2, 'a "}" in } it': 1, "dög": 1}
    assert source.status.notes == ()
    # The next event takes the place of the bracket at the end.
    path.write_bytes(whole[:-2] + b",\n" + json.dumps(event("fox")).encode() + b"]")
    before = source.status.version
    source.look()
    assert counted(source)["fox"] == 1
    assert source.status.version > before
    seen = source.status
    source.look()
    assert source.status is seen
    source.close()


def test_another_file_in_its_place_is_counted_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text(json.dumps([event("cat"), event("cat")]))
    source = looked(path)

    path.write_text(json.dumps([event("dog")]))
    source.look()
    assert counted(source) == {"dog": 1}
    path.write_text(json.dumps([event("fox"), event("fox"), event("fox"), event("fox")]))
    source.look()
    assert counted(source) == {"fox": 4}
    source.close()


@pytest.mark.parametrize(
    ("content", "counts", "note"),
    [
        ("", {}, "{path} has no events yet. The page shows them when they come."),
        ("[]", {}, "{path} has no events yet. The page shows them when they come."),
        ("[", {}, "{path} has no events yet. The page shows them when they come."),
        ("no JSON", {}, "{path} was read up to there only: it begins with no [ and so is no JSON "
         "array."),
        ('[{"event_type": "cat"}, 7]', {"cat": 1}, "{path} was read up to there only: what stands "
         "at byte 24 is no event."),
        ('[{"event_type": null}, {"event_type": "cat"}]', {"cat": 1}, "1 entries without a text "
         'event_type were left out; the first is {{"event_type": null}}.'),
    ],
)  # fmt: skip
def test_what_is_no_event_is_said(
    content: str, counts: dict[str, int], note: str, tmp_path: Path
) -> None:
    path = tmp_path / "events.json"
    path.write_text(content)
    source = looked(path)
    source.look()

    assert counted(source) == counts
    assert source.status.notes == (note.format(path=path),)
    source.close()


def test_bad_times_and_cameras_are_counted_without_them(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    odd = [{**event("cat"), "timestamp": "yesterday"}, event("cat", camera=None), event("cat")]
    path.write_text(json.dumps(odd))
    source = looked(path)

    whole = answer(source.status.summary, Choice(), "hour")

    assert whole.totals == Totals(frames=0, failed=0, events=3, timeless=1)
    assert whole.cameras == (("(no camera)", 1), ("hall", 2))
    source.close()


def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    source = looked(path)

    assert source.status.notes == (
        f"{path} cannot be read: No such file or directory; it is looked for again.",
    )
    path.write_text(json.dumps([event("cat")]))
    source.look()
    assert counted(source) == {"cat": 1}
    assert len(source.status.notes) == 0
    source.close()
