"""What is known of each camera: its last frames with their results, counts, rates, silences.

A thread that reads Kafka adds; the page's server looks. What is handed out is frozen.
"""

from __future__ import annotations

import hashlib
import re
import statistics
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pyspark_vision.clients.live.labels import LabelTotals
from pyspark_vision.clients.live.pictures import Picture, picture_of
from pyspark_vision.clients.pycturestream import Result

# One can step through so many frames of a camera.
STEPS = 100
# A result finds its frame among so many: ten seconds of 20 frames/s, three batches of the job.
_KEPT_FRAMES = 200
# All pictures together: four cameras of 1280x720 at 160 KB, twice.
_KEPT_BYTES = 256 * 1024 * 1024
# Of a point's name, its two places and its score.
_POINT_BYTES = 200
# Pictures that somebody has a link to.
_KEPT_LINKS = 100
# Camera ids are what messages say: there may be one in each.
MOST_CAMERAS = 64
_MAX_ID_CHARS = 1000

# A camera is silent after three of its usual pauses, and not before this.
SILENT_AFTER_S = 5.0
# The page says within 5 s that results have ceased; PyctureStream's job sends them every 3 s.
RESULTS_CEASED_AFTER_S = 3.5
# Of these the rate and the usual pause are made.
_RECENT_ARRIVALS = 64
_RATE_WINDOW_S = 10.0
# Frames of a camera are read out of order by so much where its topic has several partitions; what
# is older than this is a clock that was set back.
_OUT_OF_ORDER_MS = 10_000.0


@dataclass(frozen=True)
class CameraFrame:
    """A frame and what became of it. ``frame_id``: the same in each run of the page's server.

    ``taken_ms``: since 1970, ``None`` where ``timestamp`` is no time. ``changed_at``: seconds since
    1970, when the last part of it came. ``drawn``: the picture of a result, kept where the
    frame itself was not seen or the result has no boxes.
    """

    frame_id: str
    camera: int
    camera_id: str
    timestamp: str
    taken_ms: float | None
    version: int
    changed_at: float
    picture: Picture | None = None
    drawn: Picture | None = None
    result: Result | None = None
    failure: tuple[str, str] | None = None

    @property
    def needs_drawn(self) -> bool:
        """Whether the result can only be seen in the picture that it brought."""
        if self.picture is None:
            return True
        objects = self.result.objects if self.result else ()
        return bool(objects) and not any(item.has_place for item in objects)

    @property
    def shown(self) -> Picture | None:
        """The picture to show with the result."""
        return (self.drawn or self.picture) if self.needs_drawn else self.picture

    @property
    def size_bytes(self) -> int:
        pictures = (self.picture, self.drawn)
        shapes = _shapes_bytes(self.result) if self.result else 0
        return shapes + sum(len(picture.content) for picture in pictures if picture is not None)


@dataclass
class _Arrivals:
    """When something came, in seconds since 1970."""

    times: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT_ARRIVALS))
    last_at: float = 0.0

    def add(self, at: float, is_past: bool) -> None:
        self.last_at = max(self.last_at, at)
        if not is_past:
            self.times.append(at)

    def rate(self, now: float) -> float:
        """A second, over the last ten of them."""
        recent = [at for at in self.times if at > now - _RATE_WINDOW_S]
        if len(recent) < 2:
            return len(recent) / _RATE_WINDOW_S
        # A pause that lasts lowers it.
        span = max(recent[-1] - recent[0], now - recent[0] - 1.0)
        return (len(recent) - 1) / span if span > 0 else 0.0

    def usual_pause_s(self) -> float:
        pairs = zip(self.times, list(self.times)[1:], strict=False)
        pauses = [later - earlier for earlier, later in pairs]
        return statistics.median(pauses) if pauses else 0.0


@dataclass
class _Camera:
    number: int
    camera_id: str
    frames: dict[str, CameraFrame] = field(default_factory=dict)  # by timestamp, as they came
    newest: CameraFrame | None = None
    newest_result: CameraFrame | None = None
    kept_bytes: int = 0
    frames_seen: int = 0
    results_seen: int = 0
    matched: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    frame_arrivals: _Arrivals = field(default_factory=_Arrivals)
    result_arrivals: _Arrivals = field(default_factory=_Arrivals)

    @property
    def last_at(self) -> float:
        return max(self.frame_arrivals.last_at, self.result_arrivals.last_at)

    def silent_since(self, now: float) -> float | None:
        pauses = [self.frame_arrivals.usual_pause_s(), self.result_arrivals.usual_pause_s()]
        patience = max(SILENT_AFTER_S, 3 * max(pauses))
        return self.last_at if now - self.last_at > patience else None

    def waiting(self) -> int:
        """Frames after the last one that has a result: theirs may be on its way."""
        count = 0
        for frame in reversed(self.frames.values()):
            if frame.result is not None:
                break
            count += frame.picture is not None and frame.failure is None
        return count


@dataclass(frozen=True)
class CameraStatus:
    """A camera's numbers; times in seconds since 1970. Counts are of what came while we looked.

    ``passed_over``: frames that the job left out, or whose letter was not seen.
    """

    number: int
    camera_id: str
    last_at: float
    silent_since: float | None
    rate: float
    result_rate: float
    frames: int
    results: int
    waiting: int
    passed_over: int
    failed: Mapping[str, int]


class Cameras:
    """All cameras. One thread adds, others look."""

    def __init__(self) -> None:
        self.labels = LabelTotals()
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self._by_number: dict[int, _Camera] = {}
        self._by_id: dict[str, CameraFrame] = {}
        self._links: dict[str, CameraFrame] = {}
        self._version = 0
        self._next_number = 0
        self._forgotten = 0
        self._frames = _Arrivals()
        self._results = _Arrivals()

    def add_frame(
        self, camera_id: str, timestamp: str, content: bytes, at: float, *, is_past: bool = False
    ) -> None:
        """A frame as it was sent. ``is_past``: it was there before we looked, and is not counted.

        Raises :class:`ValueError` for a camera's name that is no name.
        """
        picture = picture_of(content)
        with self._lock:
            camera = self._camera(camera_id)
            self._frames.add(at, is_past)
            camera.frame_arrivals.add(at, is_past)
            known = camera.frames.get(timestamp)
            is_new = known is None or known.picture is None
            if not is_past and is_new:
                camera.frames_seen += 1
                camera.matched += known is not None and known.result is not None
            frame = self._kept(camera, timestamp, at, picture=picture)
            if _is_later(frame, camera.newest):
                camera.newest = frame
            if frame.result is not None and camera.newest_result is known:
                camera.newest_result = frame
            self._forget_old(camera)

    def add_result(self, result: Result, at: float, *, is_past: bool = False) -> None:
        """A result, once or more often; arguments and errors as in :meth:`add_frame`."""
        drawn = picture_of(result.jpeg)
        # The bytes would be kept twice.
        result = replace(result, jpeg=None)
        with self._lock:
            camera = self._camera(result.camera_id)
            self._results.add(at, is_past)
            camera.result_arrivals.add(at, is_past)
            known = camera.frames.get(result.timestamp)
            if not is_past and (known is None or known.result is None):
                camera.results_seen += 1
                camera.matched += known is not None and known.picture is not None
                self.labels.add((item.label for item in result.objects if item.label), at)
            frame = self._kept(camera, result.timestamp, at, result=result, drawn=drawn)
            if _is_later(frame, camera.newest_result):
                camera.newest_result = frame
            if camera.newest is None or camera.newest.timestamp == frame.timestamp:
                camera.newest = frame
            self._forget_old(camera)

    def add_failure(
        self,
        camera_id: str,
        timestamp: str | None,
        failure: tuple[str, str],
        at: float,
        *,
        is_past: bool = False,
    ) -> bool:
        """Code and message of a frame that failed; ``False`` if its camera is not known."""
        with self._lock:
            camera = self._cameras.get(camera_id)
            if camera is None:
                return False
            known = camera.frames.get(timestamp) if timestamp is not None else None
            if known is not None and known.failure is not None:
                return True  # by a result and a letter
            if not is_past:
                camera.failed[failure[0]] += 1
            if timestamp is not None and known is not None:
                self._kept(camera, timestamp, at, failure=failure)
            return True

    def statuses(self, now: float) -> list[CameraStatus]:
        """One for each camera, in the order of their names."""
        with self._lock:
            ordered = sorted(self._cameras.values(), key=lambda camera: _natural(camera.camera_id))
            return [_status(camera, now) for camera in ordered]

    @property
    def forgotten(self) -> int:
        """Cameras that are left out, for there are more than :data:`MOST_CAMERAS`."""
        return self._forgotten

    def results_ceased(self, now: float) -> str | None:
        """What is wrong with the results, for a person; ``None``: nothing."""
        with self._lock:
            pause_s = self._results.usual_pause_s()
            patience = max(RESULTS_CEASED_AFTER_S, 1.5 * pause_s + 0.5)
            frames_come = now - self._frames.last_at < patience
            if not frames_come or now - self._results.last_at <= patience:
                return None
            if not self._results.last_at:
                return "frames come and no result yet: does a job read this topic?"
            return "frames come and results do not: the job is silent"

    def newest(self, camera: int) -> CameraFrame | None:
        """The frame that came last."""
        with self._lock:
            known = self._by_number.get(camera)
            return known.newest if known else None

    def newest_result(self, camera: int, now: float) -> CameraFrame | None:
        """The last frame with a result; ``None`` if none came lately though frames do."""
        with self._lock:
            known = self._by_number.get(camera)
            if known is None or known.newest_result is None:
                return None
            results, frames = known.result_arrivals, known.frame_arrivals
            patience = max(SILENT_AFTER_S, 3 * results.usual_pause_s())
            has_ceased = min(now, frames.last_at) - results.last_at > patience
            return None if has_ceased else known.newest_result

    def last(self, camera: int) -> Sequence[CameraFrame]:
        """The last :data:`STEPS` frames, oldest first."""
        with self._lock:
            known = self._by_number.get(camera)
            return tuple(known.frames.values())[-STEPS:] if known else ()

    def find(self, frame_id: str) -> CameraFrame | None:
        """A frame that is still here."""
        with self._lock:
            return self._by_id.get(frame_id) or self._links.get(frame_id)

    def keep(self, frame: CameraFrame) -> None:
        """Somebody has a link to it: it stays longer, as one of the last hundred such."""
        with self._lock:
            self._links.pop(frame.frame_id, None)
            self._links[frame.frame_id] = frame
            while len(self._links) > _KEPT_LINKS:
                del self._links[next(iter(self._links))]

    def _camera(self, camera_id: str) -> _Camera:
        known = self._cameras.get(camera_id)
        if known is not None:
            return known
        if len(camera_id) > _MAX_ID_CHARS:
            raise ValueError(f"camera_id has {len(camera_id):,} characters")
        if len(self._cameras) >= MOST_CAMERAS:
            quietest = min(self._cameras.values(), key=lambda camera: camera.last_at)
            self._forget(quietest)
        added = _Camera(self._next_number, camera_id)
        self._next_number += 1
        self._cameras[camera_id] = self._by_number[added.number] = added
        return added

    def _forget(self, camera: _Camera) -> None:
        self._forgotten += 1
        del self._cameras[camera.camera_id], self._by_number[camera.number]
        for frame in camera.frames.values():
            self._by_id.pop(frame.frame_id, None)

    def _kept(
        self,
        camera: _Camera,
        timestamp: str,
        at: float,
        *,
        picture: Picture | None = None,
        drawn: Picture | None = None,
        result: Result | None = None,
        failure: tuple[str, str] | None = None,
    ) -> CameraFrame:
        """The frame of this time, with what is new about it."""
        self._version += 1
        known = camera.frames.get(timestamp)
        if known is None:
            known = CameraFrame(
                frame_id=_frame_id(camera.camera_id, timestamp),
                camera=camera.number,
                camera_id=camera.camera_id,
                timestamp=timestamp,
                taken_ms=taken_ms(timestamp),
                version=self._version,
                changed_at=at,
            )
        frame = replace(
            known,
            version=self._version,
            changed_at=at,
            picture=picture or known.picture,
            drawn=drawn or known.drawn,
            result=result or known.result,
            failure=failure or known.failure,
        )
        if not frame.needs_drawn:
            frame = replace(frame, drawn=None)
        camera.kept_bytes += frame.size_bytes - known.size_bytes
        camera.frames[timestamp] = self._by_id[frame.frame_id] = frame
        return frame

    def _forget_old(self, camera: _Camera) -> None:
        share = _KEPT_BYTES / len(self._cameras)
        while len(camera.frames) > _KEPT_FRAMES or (
            camera.kept_bytes > share and len(camera.frames) > 1
        ):
            oldest = camera.frames.pop(next(iter(camera.frames)))
            self._by_id.pop(oldest.frame_id, None)
            camera.kept_bytes -= oldest.size_bytes


def taken_ms(timestamp: str) -> float | None:
    """Milliseconds since 1970 of an ISO-8601 text, local if it has no offset; ``None``: it is none.

    >>> taken_ms("1970-01-01T00:00:01+00:00"), taken_ms("yesterday")
    (1000.0, None)
    """
    try:
        return datetime.fromisoformat(timestamp).timestamp() * 1000
    except (ValueError, OverflowError, OSError):
        return None


def _shapes_bytes(result: Result) -> int:
    """About what masks and points take."""
    masks = sum(len(item.mask.counts) for item in result.objects if item.mask is not None)
    return masks + _POINT_BYTES * sum(len(item.keypoints) for item in result.objects)


def _frame_id(camera_id: str, timestamp: str) -> str:
    text = f"{camera_id}\0{timestamp}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:20]


def _natural(name: str) -> list[str | int]:
    """camera-2 before camera-10."""
    parts = re.split(r"([0-9]{1,18})", name)  # text and digits by turns
    return [int(part) if turn % 2 else part for turn, part in enumerate(parts)]


def _is_later(frame: CameraFrame, than: CameraFrame | None) -> bool:
    if than is None or frame.taken_ms is None or than.taken_ms is None:
        return True
    return not 0 < than.taken_ms - frame.taken_ms < _OUT_OF_ORDER_MS


def _status(camera: _Camera, now: float) -> CameraStatus:
    waiting = camera.waiting()
    done = camera.matched + camera.failed.total()
    return CameraStatus(
        number=camera.number,
        camera_id=camera.camera_id,
        last_at=camera.last_at,
        silent_since=camera.silent_since(now),
        rate=camera.frame_arrivals.rate(now),
        result_rate=camera.result_arrivals.rate(now),
        frames=camera.frames_seen,
        results=camera.results_seen,
        waiting=min(waiting, max(0, camera.frames_seen - done)),
        passed_over=max(0, camera.frames_seen - done - waiting),
        failed=dict(camera.failed),
    )
