"""One open page: it gets what is new when it has drawn what it got, and skips what lies between.

A message to the page is a number of four bytes (big-endian), so many bytes of JSON, and the
pictures of its ``frames`` one after the other, as they came from Kafka. The page asks for the next
one when it has drawn this one, so a slow page holds one message, whatever the cameras send.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from pyspark_vision.clients.live.cameras import CameraFrame
from pyspark_vision.clients.live.live import Live
from pyspark_vision.clients.live.pictures import Picture
from pyspark_vision.clients.live.told import frame_json, letter_json, state_json

# So long what is new is gathered: 25 messages a second, of as many cameras as there are.
_TICK_S = 0.04
_STATE_EVERY_S = 1.0
_MAX_SHOWN = 256

BESIDE = "beside"
INPUT, RESULT = "input", "result"


class Viewer:
    """One page at the end of a WebSocket."""

    def __init__(self, live: Live, socket: WebSocket) -> None:
        self._live = live
        self._socket = socket
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._shown: list[int] = []
        self._is_beside = False
        self._sent: dict[tuple[int, str], int | str] = {}  # by camera and place
        self._state_at = 0.0
        self._changes: Any = None
        self._letters_told: int | None = -1
        self._answers: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Until the page is closed."""
        await self._socket.accept()
        try:
            # The first that ends, ends the other.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, tasks.cancel_scope)
                tasks.start_soon(self._send, tasks.cancel_scope)
        finally:
            self._live.hold(self, {})

    async def _listen(self, both: anyio.CancelScope) -> None:
        try:
            while True:
                said = json.loads(await self._socket.receive_text())
                if isinstance(said, dict):
                    self._hear(said)
        except (WebSocketDisconnect, ValueError, RecursionError, KeyError):
            both.cancel()

    def _hear(self, said: dict[str, Any]) -> None:
        """``next``; ``show``: numbers of cameras, ``view``; ``hold``: an id or null; ``keep``."""
        if "show" in said and isinstance(said["show"], list):
            self._shown = [n for n in said["show"][:_MAX_SHOWN] if isinstance(n, int)]
            self._is_beside = said.get("view") == BESIDE
            # What was sent for another view is not on the page any more.
            self._sent = {}
        if "hold" in said:
            self._hold(said["hold"])
        if isinstance(said.get("keep"), str):
            frame = self._live.find(said["keep"])
            if frame is not None:
                self._live.cameras.keep(frame)
            self._answers.append({"kept": {"id": said["keep"], "is_here": frame is not None}})
        if "next" in said:
            self._may_send.set()

    def _hold(self, frame_id: Any) -> None:
        frame = self._live.find(frame_id) if isinstance(frame_id, str) else None
        if frame is None:
            self._live.hold(self, {})
            if frame_id is not None:
                self._answers.append({"held": {"id": str(frame_id)[:40], "frames": []}})
            return
        last = {
            held_frame.frame_id: held_frame for held_frame in self._live.cameras.last(frame.camera)
        }
        held = last if frame_id in last else {frame_id: frame, **last}
        self._live.hold(self, held)
        told = [frame_json(held_frame) for held_frame in held.values()]
        self._answers.append({"held": {"id": frame_id, "frames": told}})

    async def _send(self, both: anyio.CancelScope) -> None:
        try:
            while True:
                await self._may_send.wait()
                message = self._next(time.time())
                if message is not None:
                    self._may_send.clear()
                    await self._socket.send_bytes(message)
                await anyio.sleep(_TICK_S)
        except (WebSocketDisconnect, RuntimeError):  # it went while something was sent
            both.cancel()

    def _next(self, now: float) -> bytes | None:
        """What is new for this page; ``None``: nothing."""
        told: dict[str, Any] = {"now": now * 1000}
        frames: list[dict[str, Any]] = []
        contents: list[bytes] = []
        for place, frame, picture in self._new_frames(now):
            is_known = picture is not None
            kind = {"type": picture.media_type, "bytes": len(picture.content)} if picture else {}
            frames.append({**frame_json(frame), "place": place, "has_picture": is_known, **kind})
            if picture is not None:
                contents.append(picture.content)
        if frames:
            told["frames"] = frames
        changes = self._signs_of_change()
        if now - self._state_at >= _STATE_EVERY_S or changes != self._changes:
            self._state_at, self._changes = now, changes
            told["state"] = state_json(self._live, now)
            newest = self._live.letters.last()[:1]
            number = newest[0].number if newest else None
            if self._live.options.letter_topic is not None and number != self._letters_told:
                self._letters_told = number
                told["letters"] = [letter_json(letter) for letter in self._live.letters.last()]
        if self._answers:
            told |= self._answers.pop(0)
        if len(told) == 1:
            return None
        header = json.dumps(told).encode("ascii")
        return b"".join([struct.pack(">I", len(header)), header, *contents])

    def _new_frames(self, now: float) -> list[tuple[str, CameraFrame, Picture | None]]:
        """Where it goes on the page, the frame, the picture to show of it."""
        cameras = self._live.cameras
        changed: list[tuple[str, CameraFrame, Picture | None]] = []
        for camera in self._shown:
            with_result = cameras.newest_result(camera, now)
            newest = cameras.newest(camera)
            if self._is_beside:
                given = [(INPUT, newest, newest.picture if newest else None)]
                if with_result is not None:
                    given.append((RESULT, with_result, with_result.shown))
            elif with_result is not None:
                given = [(RESULT, with_result, with_result.shown)]
            else:
                given = [(RESULT, newest, newest.shown if newest else None)]
            for place, frame, picture in given:
                if frame is None:
                    continue
                # The input stays as it is when its result comes.
                what = frame.frame_id if place == INPUT else frame.version
                if self._sent.get((camera, place)) != what:
                    self._sent[camera, place] = what
                    changed.append((place, frame, picture))
        return changed

    def _signs_of_change(self) -> Any:
        """What a person is to see at once and not within a second."""
        live = self._live
        feed = live.feed.status
        job = live.job.numbers.problem if live.job is not None else None
        replay = live.replay.status if live.replay is not None else None
        return feed.problem, feed.missing, job, replay
