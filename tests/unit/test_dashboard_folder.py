"""The dashboard over folders of results: what is counted of which rows, and what is said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dashboard_rows import NOON, SCHEMA, item, row, write_batch
from PIL import Image

from pyspark_vision.clients.dashboard import files
from pyspark_vision.clients.dashboard.answers import (
    HOUR,
    MINUTE,
    WEEKDAY,
    Answers,
    Choice,
    Latency,
    OverTime,
    Totals,
    answer,
    examples,
)
from pyspark_vision.clients.dashboard.folder import Folder
from pyspark_vision.clients.dashboard.places import find_place
from pyspark_vision.clients.dashboard.source import PictureMissing

Open = Callable[..., Folder]


@pytest.fixture
def open_folder() -> Iterator[Open]:
    """``open_folder(path, zone="UTC")``: a source that has looked once."""
    opened: list[Folder] = []

    def open_it(path: Path, zone: str = "UTC") -> Folder:
        folder = Folder(find_place(str(path)), zone)
        opened.append(folder)
        folder.look()
        return folder

    yield open_it
    for folder in opened:
        folder.close()


def answers(folder: Folder, *cameras: str, events: tuple[str, ...] = (), axis: str = MINUTE) -> Any:
    return answer(folder.status.summary, Choice(cameras, events), axis)


def events(folder: Folder, *cameras: str) -> dict[str, int]:
    return dict(answers(folder, *cameras).events)


def test_each_object_is_an_event_and_a_frame_without_one_is_too(
    tmp_path: Path, open_folder: Open
) -> None:
    write_batch(tmp_path, 0, [row(labels=("cat", "cat", "dog")), row(labels=())])
    write_batch(tmp_path, 1, [row("yard", labels=("cat",)), row("yard", code="truncated")])

    whole = answers(open_folder(tmp_path))

    assert whole.totals == Totals(frames=4, failed=1, events=5, timeless=0)
    assert whole.events == (("cat", 3), ("Nothing detected", 1), ("dog", 1))
    assert whole.cameras == (("hall", 2), ("yard", 2))
    assert whole.failures == (("truncated", 1),)


def test_a_camera_and_an_event_are_chosen_together(tmp_path: Path, open_folder: Open) -> None:
    write_batch(tmp_path, 0, [row(labels=("cat", "dog")), row("yard", ("dog",))])
    folder = open_folder(tmp_path)

    chosen = answers(folder, "hall", events=("dog",))

    assert chosen.totals == Totals(frames=1, failed=0, events=1, timeless=0)
    assert chosen.events == (("dog", 1),)
    # What can be chosen stays the whole.
    assert chosen.labels == (("dog", 2), ("cat", 1))
    assert answers(folder, "nobody").totals == Totals(0, 0, 0, 0)


def test_rows_with_nulls_and_odd_scores_are_counted_where_they_can_be(
    tmp_path: Path, open_folder: Open
) -> None:
    rows = [
        row(camera=None, labels=(None,)),
        row(labels=("cat",), minute=None),
        row(labels=("cat",), score=None),
        row(labels=("cat",), score=float("nan")),
        row(labels=("cat",), score=7.5),
        row(labels=None),
        row(code="bad_message", camera=None, minute=None),
    ]
    write_batch(tmp_path, 0, rows)

    whole = answers(open_folder(tmp_path))

    assert whole.totals == Totals(frames=7, failed=2, events=5, timeless=1)
    assert whole.events == (("cat", 4), ("#1", 1))
    assert whole.failures == (("bad_message", 1), ("no_result", 1))
    assert whole.cameras == (("(no camera)", 2), ("hall", 5))
    # 0.9 as float32 is a little less; of the others the score is null, no number, or no share.
    assert whole.scores == ((89, "#1", 1), (89, "cat", 1))


@pytest.mark.parametrize(
    ("zone", "axis", "place"),
    [
        ("UTC", HOUR, 12),
        ("Europe/Zurich", HOUR, 13),
        ("-11:00", HOUR, 1),
        ("UTC", MINUTE, 7),
        ("Asia/Kolkata", MINUTE, 37),
        ("UTC", WEEKDAY, 5),
        ("Pacific/Kiritimati", WEEKDAY, 6),
    ],
)
def test_axes_are_of_local_time(
    zone: str, axis: str, place: int, tmp_path: Path, open_folder: Open
) -> None:
    # 2026-11-21 is a Saturday.
    write_batch(tmp_path, 0, [row(minute=7)])

    assert answers(open_folder(tmp_path, zone), axis=axis).over_axis == ((place, "cat", 1),)


def test_counts_over_time_are_by_quarters_of_an_hour(tmp_path: Path, open_folder: Open) -> None:
    rows = [row(minute=minute) for minute in (0, 14.99, 15, 31)]
    write_batch(tmp_path, 0, rows)

    over_time = answers(open_folder(tmp_path)).over_time

    assert over_time.minutes == 15
    assert [(at - NOON, label, n) for at, label, n in over_time.counts] == [
        (timedelta(0), "cat", 2),
        (timedelta(minutes=15), "cat", 1),
        (timedelta(minutes=30), "cat", 1),
    ]


def test_buckets_are_wider_where_they_would_be_too_many(tmp_path: Path, open_folder: Open) -> None:
    year = 365 * 24 * 60
    write_batch(tmp_path, 0, [row(minute=0), row(minute=year)])

    over_time = answers(open_folder(tmp_path)).over_time

    assert over_time.minutes == 6 * 60
    assert sum(n for _, _, n in over_time.counts) == 2


def test_an_hour_of_autumn_counts_twice_and_spring_has_none(
    tmp_path: Path, open_folder: Open
) -> None:
    # In Zurich 2026-10-25 03:00 becomes 02:00 at 01:00 UTC.
    before = (datetime(2026, 10, 25, 0, 30) - NOON).total_seconds() / 60
    write_batch(tmp_path, 0, [row(minute=before), row(minute=before + 60)])

    over_time = answers(open_folder(tmp_path, "Europe/Zurich")).over_time

    assert over_time.counts == ((datetime(2026, 10, 25, 2, 30), "cat", 2),)


def test_latencies_are_percentiles_right_to_one_percent(tmp_path: Path, open_folder: Open) -> None:
    late = [row(late_ms=ms) for ms in range(1, 101)] + [row(late_ms=-5)]
    write_batch(tmp_path, 0, late)

    [latency] = answers(open_folder(tmp_path)).latencies

    assert (latency.camera, latency.definition) == ("hall", "camera to broker")
    assert (latency.frames, latency.before_sent) == (101, 1)
    for given, expected in ((latency.p50, 50), (latency.p95, 95), (latency.slowest, 100)):
        assert given == pytest.approx(expected, rel=0.011)


def test_an_empty_folder_and_a_missing_one_say_so_and_are_seen_when_they_come(
    tmp_path: Path, open_folder: Open
) -> None:
    empty, missing = open_folder(tmp_path), open_folder(tmp_path / "none")

    nothing = Answers((), (), Totals(0, 0, 0, 0), (), OverTime(15, ()), (), (), (), ())
    assert answers(empty) == nothing
    assert "holds no *.parquet and no *.json file yet" in empty.status.notes[0]
    assert missing.status.notes == (f"{tmp_path}/none is not there; it is looked for again.",)

    write_batch(tmp_path / "none", 0, [row()])
    for folder in (empty, missing):
        folder.look()
        assert (events(folder), folder.status.notes) == ({"cat": 1}, ())


def test_a_look_without_anything_new_changes_nothing(tmp_path: Path, open_folder: Open) -> None:
    write_batch(tmp_path, 0, [row()])
    folder = open_folder(tmp_path)
    before = folder.status

    folder.look()

    assert folder.status is before


def test_a_file_that_is_no_parquet_is_named_and_read_once_it_is_whole(
    tmp_path: Path, open_folder: Open
) -> None:
    good = write_batch(tmp_path, 0, [row()])
    bad = tmp_path / "batch_id=1" / "part-0.parquet"
    bad.parent.mkdir()
    bad.write_bytes(good.read_bytes()[:-20])
    folder = open_folder(tmp_path)

    assert events(folder) == {"cat": 1}
    assert folder.status.notes == (
        "1 file is left out. part-0.parquet: it is no Parquet file, or not a whole one.",
    )
    bad.write_bytes(good.read_bytes())
    folder.look()
    assert events(folder) == {"cat": 2}
    assert len(folder.status.notes) == 0


def test_damaged_pages_leave_nothing_of_their_file(tmp_path: Path, open_folder: Open) -> None:
    write_batch(tmp_path, 0, [row()])
    damaged = write_batch(tmp_path, 1, [row() for _ in range(100)])
    content = bytearray(damaged.read_bytes())
    content[4:400] = bytes(396)
    damaged.write_bytes(content)

    folder = open_folder(tmp_path)

    assert events(folder) == {"cat": 1}
    assert folder.status.notes[0].startswith("1 file is left out")


def test_a_batch_that_is_replaced_counts_once_and_one_that_is_gone_not_at_all(
    tmp_path: Path, open_folder: Open
) -> None:
    write_batch(tmp_path, 0, [row()])
    write_batch(tmp_path, 1, [row(labels=("dog",))])
    folder = open_folder(tmp_path)

    # As a replay does: the folder is removed, then another renamed into its place.
    shutil.rmtree(tmp_path / "batch_id=1")
    folder.look()
    assert events(folder) == {"cat": 1}
    staging = write_batch(tmp_path / "_staging", 1, [row(labels=("dog",)), row(labels=("dog",))])
    folder.look()
    assert events(folder) == {"cat": 1}
    os.rename(staging.parent, tmp_path / "batch_id=1")
    folder.look()
    assert events(folder) == {"dog": 2, "cat": 1}


def test_a_file_that_is_gone_when_it_is_opened_is_no_fault(
    tmp_path: Path, open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batch(tmp_path, 0, [row()])
    gone = write_batch(tmp_path, 1, [row()])
    listed = files.list_files

    def list_then_remove(place: Any) -> Any:
        there = listed(place)
        shutil.rmtree(gone.parent, ignore_errors=True)
        return there

    monkeypatch.setattr("pyspark_vision.clients.dashboard.folder.list_files", list_then_remove)
    folder = open_folder(tmp_path)

    assert (events(folder), folder.status.notes) == ({"cat": 1}, ())


@pytest.mark.parametrize(
    ("without", "note"),
    [
        ("camera_id", "No column camera_id: all is shown as one camera."),
        ("error", "No column error: failures are not known."),
        (
            "received",
            "No columns received, processed_at or processing_time_ms: no latencies.",
        ),
        (
            "detections",
            "No column detections, segments, poses, lines, predictions or label: there are no "
            "events.",
        ),
    ],
)
def test_a_missing_column_is_said_and_the_rest_is_shown(
    without: str, note: str, tmp_path: Path, open_folder: Open
) -> None:
    table = pa.Table.from_pylist([row(), row(code="truncated")], schema=SCHEMA)
    pq.write_table(table.drop_columns([without]), tmp_path / "a.parquet")

    folder = open_folder(tmp_path)

    assert folder.status.notes == (note,)
    assert answers(folder).totals.frames == 2


def test_a_column_that_only_some_files_have_is_said_with_their_number(
    tmp_path: Path, open_folder: Open
) -> None:
    table = pa.Table.from_pylist([row()], schema=SCHEMA)
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.drop_columns(["camera_id"]), tmp_path / "b.parquet")

    folder = open_folder(tmp_path)

    assert folder.status.notes == (
        "No column camera_id: all is shown as one camera (in 1 of 2 files).",
    )
    assert answers(folder).cameras == (("(no camera)", 1), ("hall", 1))


def test_a_table_of_other_things_says_which_columns_it_has(
    tmp_path: Path, open_folder: Open
) -> None:
    pq.write_table(pa.table({"price": [1.5], "day": ["Mon"]}), tmp_path / "prices.parquet")

    [note] = open_folder(tmp_path).status.notes

    assert (
        "prices.parquet: it has no column detections, segments, poses, lines, predictions, label"
        in note
    )
    assert "its columns are price, day" in note


def test_results_in_a_struct_and_predictions_are_read(tmp_path: Path, open_folder: Open) -> None:
    inside = [{"path": "a/1.jpg", "result": {"detections": [item("cat")], "error": None}}]
    kind = pa.struct([("detections", SCHEMA.field("detections").type), SCHEMA.field("error")])
    schema = pa.schema([("path", pa.string()), ("result", kind)])
    pq.write_table(pa.Table.from_pylist(inside, schema=schema), tmp_path / "a.parquet")
    best_first = [{"class_id": 3, "label": "dog", "score": 0.8}, {"class_id": 4, "label": "fox"}]
    pq.write_table(pa.table({"predictions": [best_first, []]}), tmp_path / "b.parquet")

    whole = answers(open_folder(tmp_path))

    assert whole.events == (("Nothing detected", 1), ("cat", 1), ("dog", 1))


@pytest.mark.parametrize("column", ["segments", "poses", "lines"])
def test_segments_poses_and_lines_of_text_are_events(
    column: str, tmp_path: Path, open_folder: Open
) -> None:
    name = "text" if column == "lines" else "label"
    found = [{name: "cat", "score": 0.5}, {name: "cat", "score": None}, {name: "dog"}]
    pq.write_table(pa.table({column: [found, []]}), tmp_path / "a.parquet")

    assert events(open_folder(tmp_path)) == {"cat": 2, "Nothing detected": 1, "dog": 1}


def test_json_lines_of_the_classifier_are_read(tmp_path: Path, open_folder: Open) -> None:
    sent = datetime(2026, 11, 21, 12, tzinfo=UTC)
    good = {
        "image_id": "1",
        "timestamp": sent.isoformat(),
        "label": "cat",
        "confidence": 0.75,
        "processing_time_ms": 40,
        "error_message": None,
        "processed_at": (sent + timedelta(seconds=2)).isoformat(),
    }
    failed = {**good, "label": None, "confidence": None, "error_message": "truncated: it ends"}
    (tmp_path / "part-0.json").write_text(f"{json.dumps(good)}\n{json.dumps(failed)}\n")
    (tmp_path / "part-1.json").touch()

    whole = answers(open_folder(tmp_path), axis=HOUR)

    assert whole.totals == Totals(frames=2, failed=1, events=1, timeless=0)
    assert whole.over_axis == ((12, "cat", 1),)
    assert whole.failures == (("truncated", 1),)
    assert [(one.definition, one.p50) for one in whole.latencies] == [
        ("camera to result", pytest.approx(2000, rel=0.011)),
        ("decoding and model", pytest.approx(40, rel=0.011)),
    ]


def test_dead_letters_are_failures_with_their_pictures(tmp_path: Path, open_folder: Open) -> None:
    letter = {
        "payload": b"the picture",
        "origin": "frames-0-7",
        "timestamp": NOON,
        "error_code": "model_failed",
    }
    pq.write_table(pa.Table.from_pylist([letter]), tmp_path / "letters.parquet")
    folder = open_folder(tmp_path)

    assert answers(folder).failures == (("model_failed", 1),)
    [example] = examples(folder.status.summary, Choice(), ["model_failed"], failed=True)
    assert folder.picture(example).encoded == b"the picture"


def test_examples_are_the_newest_frames_of_a_label_with_their_pictures(
    tmp_path: Path, open_folder: Open
) -> None:
    picture = tmp_path / "frame 1.jpg"
    Image.new("RGB", (64, 48)).save(picture)
    rows = [row(minute=n, origin=f"frames-0-{n}") for n in range(9)]
    rows.append(row(minute=60, origin=f"file:{picture}"))
    write_batch(tmp_path, 0, rows)
    folder = open_folder(tmp_path)

    found = examples(folder.status.summary, Choice(), ["cat", "none"], failed=False)

    assert [one.origin for one in found] == [
        f"file:{picture}",
        *("frames-0-8", "frames-0-7", "frames-0-6"),
    ]
    with_boxes = folder.picture(found[0])
    assert with_boxes.encoded == picture.read_bytes()
    assert with_boxes.boxes == ((0.25, 0.25, 0.75, 0.75),)
    with pytest.raises(PictureMissing, match="no such local file, and the rows hold no picture"):
        folder.picture(found[1])


def test_annotated_pictures_come_from_the_rows_and_are_not_drawn_again(
    tmp_path: Path, open_folder: Open
) -> None:
    table = pa.Table.from_pylist([row(origin=f"f-0-{n}") for n in range(40)], schema=SCHEMA)
    images = pa.array([f"jpeg {n}".encode() for n in range(40)])
    pq.write_table(table.append_column("image", images), tmp_path / "a.parquet", row_group_size=7)
    folder = open_folder(tmp_path)

    for example in examples(folder.status.summary, Choice(), ["cat"], failed=False):
        picture = folder.picture(example)
        assert picture.encoded == f"jpeg {example.origin.removeprefix('f-0-')}".encode()
        assert picture.boxes == ()


@pytest.mark.slow
def test_a_rare_label_of_a_large_file_has_its_example(tmp_path: Path, open_folder: Open) -> None:
    many = [row(minute=n / 1000, origin=str(n)) for n in range(25_000)]
    many[3] = row(minute=0, labels=("heron",), origin="the heron")
    write_batch(tmp_path, 0, many)
    folder = open_folder(tmp_path)

    found = examples(folder.status.summary, Choice(), ["heron"], failed=False)

    assert [one.origin for one in found] == ["the heron"]


def test_latency_of_a_camera_without_others_is_null() -> None:
    from pyspark_vision.clients.dashboard.answers import _latency

    assert _latency("camera to broker", "hall", [(-1, 3)]) == Latency(
        "hall", "camera to broker", 3, 3, None, None, None, None
    )
