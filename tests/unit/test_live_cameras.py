"""What the live page knows of cameras: matching, counts, silences, bounds, hostile texts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import pytest
from live_pages import found, live_without_kafka, plain_jpeg, timestamps

from pyspark_vision.clients.live.cameras import MOST_CAMERAS, STEPS, Cameras, CameraStatus
from pyspark_vision.clients.live.labels import OTHERS, LabelTotals
from pyspark_vision.clients.live.pictures import picture_of
from pyspark_vision.clients.live.told import frame_json, state_json
from pyspark_vision.clients.object_shapes import Keypoint, Mask
from pyspark_vision.clients.pycturestream import DetectedObject, Result

JPEG = plain_jpeg(size_wh=(32, 24))
DRAWN = plain_jpeg((200, 0, 0), (32, 24))
NOW = 1_800_000_000.0


def result(timestamp: str, *labels: str, boxes: bool = True, jpeg: bytes | None = DRAWN) -> Result:
    objects = tuple(found(label, xyxy=(0, 0, 1, 1) if boxes else None) for label in labels)
    return Result("hall", timestamp, objects, jpeg)


def status(cameras: Cameras, now: float = NOW) -> CameraStatus:
    [only] = cameras.statuses(now)
    return only


@pytest.mark.parametrize("frame_first", [True, False], ids=["frame first", "result first"])
def test_a_result_is_shown_on_its_own_frame_in_whatever_order_both_come(frame_first: bool) -> None:
    cameras = Cameras()
    steps: list[Callable[[], None]] = [
        lambda: cameras.add_frame("hall", "2026-11-21T08:00:00", JPEG, NOW),
        lambda: cameras.add_result(result("2026-11-21T08:00:00", "car"), NOW),
    ]
    for step in steps if frame_first else reversed(steps):
        step()

    shown = cameras.newest_result(0, NOW)

    assert shown is not None
    assert shown.shown is not None
    assert shown.shown.content == JPEG
    assert shown.drawn is None  # it is not kept beside the input
    assert (status(cameras).frames, status(cameras).results, status(cameras).waiting) == (1, 1, 0)


@pytest.mark.parametrize(
    ("is_frame_seen", "boxes", "shows"),
    [(True, True, JPEG), (True, False, DRAWN), (False, True, DRAWN), (False, False, DRAWN)],
)
def test_the_jobs_own_picture_is_shown_where_boxes_or_the_input_are_missing(
    is_frame_seen: bool, boxes: bool, shows: bytes
) -> None:
    cameras = Cameras()
    if is_frame_seen:
        cameras.add_frame("hall", "t", JPEG, NOW)
    cameras.add_result(result("t", "car", boxes=boxes), NOW)

    shown = cameras.newest_result(0, NOW)

    assert shown is not None
    assert shown.shown is not None
    assert shown.shown.content == shows
    assert frame_json(shown)["is_drawn"] is (shows == DRAWN)


def test_a_result_that_is_sent_again_is_counted_once() -> None:
    cameras = Cameras()
    cameras.add_frame("hall", "t", JPEG, NOW)
    for _ in range(3):
        cameras.add_result(result("t", "car"), NOW)

    assert status(cameras).results == 1
    assert cameras.labels.totals(NOW) == {"car": 1}


def test_each_frame_is_in_one_count() -> None:
    cameras = Cameras()
    times = timestamps(6)
    for timestamp in times:
        cameras.add_frame("hall", timestamp, JPEG, NOW)
    cameras.add_result(result(times[3], "car"), NOW)
    cameras.add_failure("hall", times[1], ("truncated", "cut"), NOW)

    seen = status(cameras)

    # 0 and 2 were passed over, 4 and 5 wait.
    assert (seen.frames, seen.results, seen.failed) == (6, 1, {"truncated": 1})
    assert (seen.passed_over, seen.waiting) == (2, 2)


def test_a_failure_of_a_camera_that_was_never_seen_makes_no_camera() -> None:
    cameras = Cameras()

    assert not cameras.add_failure("hall", "t", ("truncated", "cut"), NOW)
    assert cameras.statuses(NOW) == []


def test_what_was_there_before_is_shown_and_not_counted() -> None:
    cameras = Cameras()
    cameras.add_frame("hall", "t", JPEG, NOW - 100, is_past=True)
    cameras.add_result(result("t", "car"), NOW - 100, is_past=True)

    seen = status(cameras)

    assert cameras.newest(0) is not None
    assert (seen.frames, seen.results, seen.rate) == (0, 0, 0.0)
    assert seen.silent_since == NOW - 100
    assert cameras.labels.totals(NOW) == {}


def test_a_camera_is_silent_after_three_of_its_pauses_and_not_before_five_seconds() -> None:
    cameras = Cameras()
    for number in range(10):
        cameras.add_frame("slow", f"s{number}", JPEG, NOW + 4 * number)
        cameras.add_frame("fast", f"f{number}", JPEG, NOW + 35 + number / 10)
    at = {camera.camera_id: camera for camera in cameras.statuses(NOW + 36)}
    later = {camera.camera_id: camera for camera in cameras.statuses(NOW + 44)}
    at_last = {camera.camera_id: camera for camera in cameras.statuses(NOW + 49)}

    assert (at["slow"].silent_since, at["fast"].silent_since) == (None, None)
    assert at["fast"].rate == pytest.approx(10, rel=0.2)
    assert (later["slow"].silent_since, later["fast"].silent_since) == (None, NOW + 35.9)
    assert at_last["slow"].silent_since == NOW + 36


@pytest.mark.parametrize(
    ("pause_s", "silent_for_s", "says"),
    [(0.1, 3.0, None), (0.1, 4.0, "silent"), (3.0, 4.5, None), (3.0, 5.1, "silent")],
)
def test_results_that_cease_while_frames_come_are_said_within_five_seconds(
    pause_s: float, silent_for_s: float, says: str | None
) -> None:
    cameras = Cameras()
    for number in range(8):
        cameras.add_result(result(f"r{number}", "car"), NOW + pause_s * number)
    now = NOW + pause_s * 7 + silent_for_s
    cameras.add_frame("hall", "f", JPEG, now)

    said = cameras.results_ceased(now)

    assert (says is None and said is None) or (said is not None and str(says) in said)


def test_frames_without_any_result_ask_for_a_job_and_no_frames_ask_for_nothing() -> None:
    cameras = Cameras()
    assert cameras.results_ceased(NOW) is None
    cameras.add_frame("hall", "f", JPEG, NOW)

    assert "does a job read this topic?" in str(cameras.results_ceased(NOW))
    assert cameras.results_ceased(NOW + 60) is None


def test_the_input_is_shown_when_results_have_ceased() -> None:
    cameras = Cameras()
    cameras.add_frame("hall", "a", JPEG, NOW)
    cameras.add_result(result("a", "car"), NOW)
    assert cameras.newest_result(0, NOW + 1) is not None
    cameras.add_frame("hall", "b", JPEG, NOW + 10)

    newest = cameras.newest(0)

    assert cameras.newest_result(0, NOW + 10) is None
    assert newest is not None
    assert newest.timestamp == "b"


def test_frames_out_of_order_do_not_jump_back_but_a_clock_that_was_set_back_counts() -> None:
    cameras = Cameras()
    for timestamp in ("2026-11-21T08:00:02", "2026-11-21T08:00:01"):
        cameras.add_result(result(timestamp, "car"), NOW)
    first = cameras.newest_result(0, NOW)
    cameras.add_result(result("2026-11-21T07:00:00", "car"), NOW)
    second = cameras.newest_result(0, NOW)

    assert first is not None
    assert second is not None
    assert (first.timestamp[-2:], second.timestamp[11:13]) == ("02", "07")


def test_the_last_hundred_are_stepped_through_and_older_ones_go_unless_linked() -> None:
    cameras = Cameras()
    ids = []
    for number in range(500):
        cameras.add_frame("hall", f"t{number}", JPEG, NOW)
        ids.append(cameras.last(0)[-1].frame_id)
        if number == 3:
            linked = cameras.find(ids[3])
            assert linked is not None
            cameras.keep(linked)

    assert [frame.timestamp for frame in cameras.last(0)] == [f"t{n}" for n in range(400, 500)]
    assert len(cameras.last(0)) == STEPS
    assert cameras.find(ids[0]) is None
    assert cameras.find(ids[3]) is not None
    assert cameras.find("no such frame") is None
    assert cameras.last(77) == ()


def test_a_frame_has_the_same_link_after_a_restart() -> None:
    links = []
    for _ in range(2):
        cameras = Cameras()
        cameras.add_frame("hall", "t", JPEG, NOW)
        links.append(cameras.last(0)[0].frame_id)

    assert links[0] == links[1]


def test_large_pictures_are_fewer_so_that_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyspark_vision.clients.live.cameras._KEPT_BYTES", 10 * len(JPEG))
    cameras = Cameras()
    for number in range(50):
        for name in ("a", "b"):
            cameras.add_frame(name, f"t{number}", JPEG, NOW)

    assert [len(cameras.last(number)) for number in (0, 1)] == [5, 5]


def test_cameras_beyond_the_most_push_out_the_one_that_is_silent_longest() -> None:
    cameras = Cameras()
    for number in range(MOST_CAMERAS + 1):
        cameras.add_frame(f"camera-{number}", "t", JPEG, NOW + number)

    names = [camera.camera_id for camera in cameras.statuses(NOW)]

    assert names == [f"camera-{n}" for n in range(1, MOST_CAMERAS + 1)]  # as people count
    assert cameras.forgotten == 1


def test_a_camera_with_an_endless_name_is_refused() -> None:
    with pytest.raises(ValueError, match="camera_id has 5,000 characters"):
        Cameras().add_frame("x" * 5000, "t", JPEG, NOW)


@pytest.mark.parametrize("content", [b"", b"<svg onload=x>", JPEG[:10], b"\x89PNG\r\n\x1a\n" * 3])
def test_what_is_no_picture_is_not_given_to_a_browser(content: bytes) -> None:
    assert picture_of(content) is None


def test_a_picture_that_a_browser_could_not_hold_is_not_given_to_it() -> None:
    from pictures import png_header

    assert picture_of(png_header(100_000, 100_000)) is None
    assert picture_of(png_header(10_000, 5_000)) is None
    small = picture_of(png_header(640, 480))
    assert small is not None
    assert (small.media_type, small.size_wh) == ("image/png", (640, 480))


def test_hostile_numbers_and_texts_are_json_of_bounded_length() -> None:
    live = live_without_kafka()
    objects = (
        found("\ud800" * 1000, math.nan, (math.nan, 0, 1, 1), class_id=10**400),
        found("b", math.inf, (0.9, 0.9, 0.1, 0.1), class_id=-5),
        found("c", 1e300, (-5, -5, 1e300, 7), class_id=None),
        *(found(f"label {n}", xyxy=None) for n in range(2000)),
    )
    live.cameras.add_result(Result("\x00<b>" * 200, "t" * 900, objects, None), time.time())

    [frame] = live.cameras.last(0)
    text = json.dumps(frame_json(frame), allow_nan=False)
    state = json.dumps(state_json(live, time.time()), allow_nan=False)

    first, second, third = json.loads(text)["objects"][:3]
    assert (len(first["label"]), first["score"], first["box"]) == (200, None, None)
    assert (second["score"], second["box"]) == (None, None)
    assert third["box"] == [0.0, 0.0, 1.0, 1.0]
    assert len(text) < 100_000
    assert len(state) < 20_000
    assert json.loads(text)["objects_total"] == 2003


def test_labels_are_counted_over_five_minutes_and_never_too_many() -> None:
    totals = LabelTotals()
    totals.add(["car", "cat", "car"], NOW)
    totals.add(["cat"], NOW + 250)
    totals.add((f"label {n}" for n in range(1000)), NOW + 260)

    assert totals.totals(NOW + 260)["car"] == 2
    assert totals.totals(NOW + 330).get("car") is None
    assert totals.totals(NOW + 330)[OTHERS] == 800
    assert totals.totals(NOW + 1000) == {}


def masked(chars: int) -> DetectedObject:
    return DetectedObject("sky", None, None, (0, 0, 1, 1), 2, Mask((40, 50), "0" * chars))


def test_the_page_is_told_of_so_many_masks_as_a_message_may_hold() -> None:
    cameras = Cameras()
    objects = (masked(200_000), masked(200_000), masked(50_000))
    cameras.add_result(Result("hall", "2026-11-21T08:00:00", objects, None), NOW)

    [frame] = cameras.last(0)
    told = frame_json(frame)["objects"]

    assert ["mask" in item for item in told] == [True, False, True]
    assert told[0]["mask"] == [40, 50, "0" * 200_000]
    assert [item["score"] for item in told] == [None] * 3


def test_frames_with_large_masks_are_kept_within_the_same_bound() -> None:
    cameras = Cameras()
    for number in range(40):
        objects = tuple(masked(1_000_000) for _ in range(10))
        cameras.add_result(Result("hall", f"2026-11-21T08:00:{number:02}", objects, None), NOW)

    assert len(cameras.last(0)) < 30


def test_points_and_corners_are_told_as_they_are_drawn() -> None:
    points = (
        Keypoint("left_hip", 0.25, 0.5, 0.9),
        Keypoint("nose", 3.0, 0.5, 0.9),
        Keypoint("right_hip", 0.75, 0.5, None),
        Keypoint("left_knee", 0.5, 0.5, 0.1),
    )
    corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    far = ((0.0, 0.0), (1e300, 0.0), (1.0, 1.0), (0.0, 1.0))
    objects = (
        DetectedObject("person", 0.9, None, keypoints=points),
        DetectedObject("Spark", 0.9, None, corners=corners),
        DetectedObject("42", 0.9, None, corners=far),
    )
    cameras = Cameras()
    cameras.add_result(Result("hall", "2026-11-21T08:00:00", objects, None), NOW)

    [frame] = cameras.last(0)
    person, text, odd = frame_json(frame)["objects"]

    assert (person["points"], person["lines"]) == ([(0.25, 0.5), (0.75, 0.5)], [(0, 1)])
    assert text["corners"] == [*corners]
    assert odd["corners"] is None
    assert text["color"] == odd["color"]


def test_a_failure_that_a_result_and_a_letter_tell_is_counted_once() -> None:
    cameras = Cameras()
    cameras.add_frame("hall", "2026-11-21T08:00:00", JPEG, NOW)

    for _ in range(2):
        assert cameras.add_failure("hall", "2026-11-21T08:00:00", ("truncated", "cut"), NOW)

    assert status(cameras).failed == {"truncated": 1}
