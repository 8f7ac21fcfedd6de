"""What one page's server holds: cameras, letters, the job's numbers, and who reads them."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.live.cameras import CameraFrame, Cameras
from pyspark_vision.clients.live.feed import Feed, Record
from pyspark_vision.clients.live.job_numbers import JobWatch
from pyspark_vision.clients.live.letters import Letters
from pyspark_vision.clients.live.replay import Replay
from pyspark_vision.clients.pycturestream import BadMessageError
from pyspark_vision.clients.stream_messages import FailedResultError, read_frame, read_result

_MAX_REASON = 200


@dataclass(frozen=True)
class LiveOptions:
    """``replay_refusal``: why the button to put letters back is not offered."""

    brokers: Brokers
    frame_topic: str
    result_topic: str
    letter_topic: str | None = None
    metrics_url: str | None = None
    replay_command: tuple[str, ...] = ()
    replay_refusal: str | None = None


@dataclass
class Unreadable:
    """Messages of a topic that are none of its format."""

    count: int = 0
    reason: str = ""


class Live:
    """All of it, from :meth:`start` to :meth:`stop`."""

    def __init__(self, options: LiveOptions) -> None:
        self.options = options
        self.cameras = Cameras()
        self.letters = Letters()
        self.unreadable: dict[str, Unreadable] = {}
        # Failures of frames whose camera cannot be told, by code.
        self.failed_elsewhere: Counter[str] = Counter()
        readers = {options.frame_topic: self.add_frame, options.result_topic: self.add_result}
        if options.letter_topic is not None:
            readers[options.letter_topic] = self.add_letter
        self.feed = Feed(options.brokers, readers)
        self.job = JobWatch(options.metrics_url) if options.metrics_url else None
        self.replay = Replay(options.replay_command) if options.replay_command else None
        self._lock = threading.Lock()
        self._held: dict[object, dict[str, CameraFrame]] = {}

    def start(self) -> None:
        """Begin to read; brokers and job may be away."""
        self.feed.start()
        if self.job is not None:
            self.job.start()

    def stop(self) -> None:
        """End all threads and processes."""
        if self.job is not None:
            self.job.stop()
        if self.replay is not None:
            self.replay.stop()
        self.feed.stop()

    def add_frame(self, record: Record) -> None:
        """A record of the frames' topic."""
        try:
            camera_id, timestamp, content = read_frame(record.value or b"")
            self.cameras.add_frame(camera_id, timestamp, content, record.at, is_past=record.is_past)
        except (BadMessageError, ValueError) as error:
            self._note_unreadable(record, str(error))

    def add_result(self, record: Record) -> None:
        """A record of the results' topic."""
        try:
            result = read_result(record.value or b"")
            self.cameras.add_result(result, record.at, is_past=record.is_past)
        except FailedResultError as error:
            self._add_failure(error.camera_id, error.timestamp, (error.code, error.message), record)
        except (BadMessageError, ValueError) as error:
            self._note_unreadable(record, str(error))

    def add_letter(self, record: Record) -> None:
        """A record of the dead letters' topic."""
        letter = self.letters.add(record)
        failure = (letter.code, letter.message)
        self._add_failure(letter.camera_id, letter.timestamp, failure, record)

    def hold(self, viewer: object, frames: dict[str, CameraFrame]) -> None:
        """What a viewer steps through stays until it lets go, which is with no frames."""
        with self._lock:
            self._held[viewer] = frames
            if not frames:
                del self._held[viewer]

    def find(self, frame_id: str) -> CameraFrame | None:
        """A frame that is here: of the last, held by a viewer, or linked."""
        with self._lock:
            held = [frames[frame_id] for frames in self._held.values() if frame_id in frames]
        return self.cameras.find(frame_id) or (held[0] if held else None)

    def _add_failure(
        self,
        camera_id: str | None,
        timestamp: str | None,
        failure: tuple[str, str],
        record: Record,
    ) -> None:
        is_known = camera_id is not None and self.cameras.add_failure(
            camera_id, timestamp, failure, record.at, is_past=record.is_past
        )
        if not is_known and not record.is_past:
            self.failed_elsewhere[failure[0]] += 1

    def _note_unreadable(self, record: Record, reason: str) -> None:
        noted = self.unreadable.setdefault(record.topic, Unreadable())
        noted.count += 1
        noted.reason = reason[:_MAX_REASON]
