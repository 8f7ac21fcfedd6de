"""Videos of drawn scenes, and servers on 127.0.0.1 that give them as cameras do."""

from __future__ import annotations

import http.server
import io
import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from pictures import scene_jpeg

from pyspark_vision.clients.scenes import draw_frame

SIZE_WH = (160, 120)


def write_video(target: Any, count: int, rate: int, kind: str = "mp4") -> None:
    """``count`` frames of a moving scene, to a path or a file object."""
    options = {"movflags": "faststart"} if kind == "mp4" else {}
    with av.open(target, "w", format=kind, options=options) as container:
        stream = container.add_stream("mpeg4" if kind == "mp4" else "mpeg2video", rate=rate)
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        for index in range(count):
            image, _ = draw_frame(1, index, SIZE_WH)
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@contextmanager
def http_camera(folder: Path, frames: int, rate: float) -> Iterator[str]:
    """A server's address: ``/live`` gives MJPEG, ``frames`` at a time, else files of ``folder``."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/live":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for seed in range(frames):
                jpeg = scene_jpeg(seed, *SIZE_WH)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:  # the reader has gone
                    return
                time.sleep(1 / rate)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def rtsp_camera(frames: int, rate: int) -> Iterator[str]:
    """The address of a camera that gives ``frames`` to whoever plays it, then ends.

    RTSP 1.0 with its pictures within the connection (RFC 2326, 10.12), as an MPEG transport stream
    (RFC 2250, 2).
    """
    file = io.BytesIO()
    write_video(file, frames, rate, "mpegts")
    stream = file.getvalue()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                try:
                    _answer(connection, stream, frames / rate)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rtsp://viewer:hunter2@127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _answer(connection: socket.socket, stream: bytes, length_s: float) -> None:
    sdp = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
    answers = {
        "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN", b""),
        "DESCRIBE": ("Content-Type: application/sdp", sdp),
        "SETUP": ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1", b""),
        "PLAY": ("Session: 1", b""),
        "TEARDOWN": ("Session: 1", b""),
    }
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            more = connection.recv(4096)
            if not more:
                return
            received += more
        request, _, received = received.partition(b"\r\n\r\n")
        lines = request.decode().splitlines()
        method = lines[0].split()[0]
        number = next(line for line in lines if line.lower().startswith("cseq"))
        head, body = answers[method]
        length = f"\r\nContent-Length: {len(body)}" if body else ""
        connection.sendall(f"RTSP/1.0 200 OK\r\n{number}\r\n{head}{length}\r\n\r\n".encode() + body)
        if method == "PLAY":
            _send_pictures(connection, stream, length_s)
            return


def _send_pictures(connection: socket.socket, stream: bytes, length_s: float) -> None:
    packets = [stream[start : start + 7 * 188] for start in range(0, len(stream), 7 * 188)]
    for number, payload in zip(itertools.count(), packets, strict=False):
        clock = int(number / len(packets) * length_s * 90_000)
        rtp = struct.pack("!BBHII", 0x80, 33, number % 65536, clock, 1) + payload
        connection.sendall(struct.pack("!cBH", b"$", 0, len(rtp)) + rtp)
        time.sleep(length_s / len(packets))
