"""What the page is told, as values of JSON: frames with their objects, and how everything is.

Only numbers that JSON has, and texts of bounded length: labels and camera ids can be anything.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

from pyspark_vision.clients.live.cameras import CameraFrame, CameraStatus
from pyspark_vision.clients.live.labels import WINDOW_S
from pyspark_vision.clients.live.letters import Letter
from pyspark_vision.clients.live.live import Live
from pyspark_vision.clients.pycturestream import DetectedObject
from pyspark_vision.executor.drawing.draw import class_color_rgb, clipped_xyxy, text_color_rgb
from pyspark_vision.executor.drawing.draw_keypoints import points_and_lines
from pyspark_vision.executor.drawing.draw_text_lines import CLASS_ID as TEXT_CLASS_ID
from pyspark_vision.executor.drawing.draw_text_lines import corners_of

MAX_TEXT = 200
_MAX_OBJECTS = 300
# Of all masks of a frame together: some kilobytes each.
_MAX_MASK_CHARS = 300_000
_MAX_LABELS = 40
# Classes that have no number get one of so many colours by their label.
_COLORS = 997


def frame_json(frame: CameraFrame) -> dict[str, Any]:
    """A frame and its objects; ``objects`` is ``None`` without a result."""
    picture = frame.shown
    result = frame.result
    return {
        "id": frame.frame_id,
        "camera": frame.camera,
        "name": clipped(frame.camera_id),
        "timestamp": clipped(frame.timestamp),
        "taken": frame.taken_ms,
        "changed": frame.changed_at * 1000,
        "has_picture": picture is not None,
        "is_drawn": picture is not None and picture is frame.drawn,
        "objects": _objects_json(result.objects[:_MAX_OBJECTS]) if result else None,
        "objects_total": len(result.objects) if result else 0,
        "model": clipped(result.model_name or "") if result else "",
        "failure": [clipped(text) for text in frame.failure] if frame.failure else None,
    }


def state_json(live: Live, now: float) -> dict[str, Any]:
    """How everything is; times in milliseconds since 1970."""
    feed = live.feed.status
    topics = live.options
    statuses = live.cameras.statuses(now)
    return {
        "kafka": {
            "servers": clipped(topics.brokers.servers),
            "topics": [clipped(topics.frame_topic), clipped(topics.result_topic)],
            "problem": feed.problem,
            "since": feed.since * 1000,
            "missing": [clipped(name) for name in feed.missing],
            "skipped": feed.skipped,
            "unreadable": [
                [clipped(topic), noted.count, clipped(noted.reason)]
                for topic, noted in list(live.unreadable.items())
            ],
        },
        "results": None if feed.problem else live.cameras.results_ceased(now),
        "cameras": [_camera_json(status) for status in statuses],
        "forgotten": live.cameras.forgotten,
        "failed_elsewhere": dict(live.failed_elsewhere),
        "labels": _labels_json(live.cameras.labels.totals(now), _class_ids(live, statuses, now)),
        "minutes": WINDOW_S / 60,
        "job": _job_json(live),
        "letters": _letters_json(live),
        "replay": _replay_json(live),
    }


def letter_json(letter: Letter) -> dict[str, Any]:
    """A dead letter; its picture has an address of its own."""
    return {
        "number": letter.number,
        "code": letter.code,
        "message": letter.message,
        "origin": letter.origin,
        "at": letter.at * 1000,
        "name": clipped(letter.camera_id) if letter.camera_id else None,
        "timestamp": clipped(letter.timestamp) if letter.timestamp else None,
        "has_picture": letter.picture is not None,
        "payload_bytes": letter.payload_bytes,
        "left_out_bytes": letter.left_out_bytes,
    }


def clipped(text: str) -> str:
    """At most so many characters, with an ellipsis for the rest.

    >>> len(clipped("x" * 1000))
    200
    """
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _objects_json(items: Sequence[DetectedObject]) -> list[dict[str, Any]]:
    """Objects with their shapes; of masks so many as the page can be told with each frame."""
    told, mask_chars = [], 0
    for item in items:
        shapes: dict[str, Any] = {}
        if item.mask is not None and mask_chars + len(item.mask.counts) <= _MAX_MASK_CHARS:
            mask_chars += len(item.mask.counts)
            shapes["mask"] = [*item.mask.size_hw, item.mask.counts]
        if item.keypoints:
            points, lines = points_and_lines([vars(point) for point in item.keypoints])
            shapes |= {"points": points, "lines": lines}
        if item.corners:
            shapes["corners"] = corners_of({"corners": [{"x": x, "y": y} for x, y in item.corners]})
        told.append({**_object_json(item), **shapes})
    return told


def _object_json(item: DetectedObject) -> dict[str, Any]:
    xyxy = None
    if item.xyxy is not None:
        xyxy = clipped_xyxy(dict(zip(("xmin", "ymin", "xmax", "ymax"), item.xyxy, strict=True)))
    return {
        "label": clipped(item.label),
        "score": item.score if item.score is not None and math.isfinite(item.score) else None,
        "box": xyxy,
        **_colors_json(item.label, _class_id(item)),
    }


def _class_id(item: DetectedObject) -> int | None:
    """A line of text has a colour, but no class."""
    return TEXT_CLASS_ID if item.corners else item.class_id


def _colors_json(label: str, class_id: int | None) -> dict[str, str]:
    """Of an object's box and of the text on its plate, as the contact sheet has them."""
    if class_id is None:
        class_id = zlib.crc32(label.encode("utf-8", "surrogatepass")) % _COLORS
    color = class_color_rgb(class_id % 1_000_000)
    return {"color": f"#{bytes(color).hex()}", "ink": f"#{bytes(text_color_rgb(color)).hex()}"}


def _camera_json(status: CameraStatus) -> dict[str, Any]:
    silent = status.silent_since
    return {
        "number": status.number,
        "name": clipped(status.camera_id),
        "last": status.last_at * 1000,
        "silent_since": None if silent is None else silent * 1000,
        "rate": round(status.rate, 2),
        "result_rate": round(status.result_rate, 2),
        "frames": status.frames,
        "results": status.results,
        "waiting": status.waiting,
        "passed_over": status.passed_over,
        "failed": {clipped(code): count for code, count in list(status.failed.items())[:20]},
    }


def _class_ids(live: Live, statuses: Sequence[CameraStatus], now: float) -> dict[str, int | None]:
    """Of the labels that are in a camera's picture, also of cameras that are out of sight."""
    frames = [live.cameras.newest_result(status.number, now) for status in statuses]
    results = [frame.result for frame in frames if frame is not None and frame.result is not None]
    return {item.label: _class_id(item) for result in results for item in result.objects}


def _labels_json(totals: dict[str, int], class_ids: dict[str, int | None]) -> dict[str, Any]:
    """Rows of label, count and colour; without a class's number the page keeps what it had."""
    shown = list(totals.items())[:_MAX_LABELS]
    colors = {
        label: _colors_json(label, class_ids[label])["color"]
        for label, _ in shown
        if label in class_ids
    }
    return {
        "rows": [[clipped(label), count, colors.get(label)] for label, count in shown],
        "more": len(totals) - len(shown),
        "objects": sum(totals.values()),
    }


def _job_json(live: Live) -> dict[str, Any] | None:
    if live.job is None:
        return None
    numbers = live.job.numbers
    return {
        "url": clipped(numbers.url),
        "name": clipped(numbers.job_name),
        "values": {name: value for name, value in numbers.values.items() if math.isfinite(value)},
        "failed": {clipped(code): n for code, n in list(numbers.failed.items())[:30]},
        "dropped": {clipped(reason): n for reason, n in list(numbers.dropped.items())[:30]},
        "problem": numbers.problem,
        "since": numbers.since * 1000,
    }


def _letters_json(live: Live) -> dict[str, Any] | None:
    topic = live.options.letter_topic
    if topic is None:
        return None
    # The brokers' own number comes some time after the records.
    total = max(live.feed.records_in(topic), len(live.letters.last()))
    return {"topic": clipped(topic), "total": total}


def _replay_json(live: Live) -> dict[str, Any] | None:
    if live.options.letter_topic is None:
        return None
    status = live.replay.status if live.replay is not None else None
    return {
        "refusal": live.options.replay_refusal,
        "started": status.started_at * 1000 if status else None,
        "ended": status.ended_at * 1000 if status and status.ended_at is not None else None,
        "exit_code": status.exit_code if status else None,
        "lines": list(status.lines) if status else [],
    }
