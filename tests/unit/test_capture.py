"""Sources of pictures: folders, drawn scenes, videos, webcams, and what a person calls them."""

from __future__ import annotations

import errno
import io
import itertools
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.device
import av.error
import numpy as np
import pytest
from client_runs import size_wh
from pictures import asymmetric, encoded, pixels, plain_png
from PIL import Image
from videos import SIZE_WH, write_video

from pyspark_vision.clients.capture import cameras, webcam
from pyspark_vision.clients.capture.cameras import Camera, Wish, read_cameras
from pyspark_vision.clients.capture.drawn import DrawnScenes
from pyspark_vision.clients.capture.encoding import Encoding, fitted_wh
from pyspark_vision.clients.capture.folder import PictureFolder
from pyspark_vision.clients.capture.network import NetworkStream, shown
from pyspark_vision.clients.capture.source import BadPictureError, CaptureError
from pyspark_vision.clients.capture.video import VideoFile
from pyspark_vision.clients.capture.webcam import Webcam
from pyspark_vision.clients.scenes import draw_frame
from pyspark_vision.errors import InvalidOptionError


def decoded(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of video, ten frames."""
    write_video(str(tmp_path / "clip.mp4"), count=10, rate=10)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize(
    ("picture_wh", "wanted_wh", "fits_wh"),
    [
        ((640, 480), None, (640, 480)),
        ((640, 480), (320, 240), (320, 240)),
        ((1920, 1080), (640, 480), (640, 360)),
        ((1080, 1920), (640, 480), (270, 480)),
        ((320, 240), (640, 480), (640, 480)),
        ((1000, 1), (10, 10), (10, 1)),
    ],
)
def test_a_size_is_what_pictures_fit_into(
    picture_wh: tuple[int, int], wanted_wh: tuple[int, int] | None, fits_wh: tuple[int, int]
) -> None:
    assert fitted_wh(picture_wh, wanted_wh) == fits_wh


def test_a_folder_gives_its_pictures_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"{n}.jpg": encoded(asymmetric(8, 8 + n), "JPEG") for n in (10, 9, 1)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("no picture")

    shots = list(PictureFolder(tmp_path, rate=4).shots())

    assert [shot.due_s for shot in shots] == [0, 0.25, 0.5]
    assert [shot.jpeg() for shot in shots] == [files["1.jpg"], files["9.jpg"], files["10.jpg"]]


def test_a_folders_jpeg_is_encoded_anew_only_for_a_size_or_quality(tmp_path: Path) -> None:
    data = encoded(asymmetric(64, 48), "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.png").write_bytes(plain_png("red", (64, 48)))

    def sent(encoding: Encoding) -> list[bytes]:
        return [shot.jpeg() for shot in PictureFolder(tmp_path, encoding).shots()]

    kept, png = sent(Encoding())
    assert kept == data
    assert decoded(png).format == "JPEG"
    assert [size_wh(jpeg) for jpeg in sent(Encoding((32, 32)))] == [(32, 24), (32, 24)]
    assert len(sent(Encoding(quality=10))[0]) < len(data)


def test_a_bad_file_of_a_folder_is_a_picture_that_fails(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").mkdir()
    os.mkfifo(tmp_path / "4.png")  # nobody writes into it: reading would wait for ever
    (tmp_path / "5.png").symlink_to("away.png")
    codes = []
    for shot in PictureFolder(tmp_path).shots():
        with pytest.raises(BadPictureError) as caught:
            shot.jpeg()
        codes.append(caught.value.code)

    assert codes == ["unsupported_format", "empty_input", *["unreadable"] * 3]


def test_a_folder_that_loops_takes_what_has_come_since(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(plain_png("red"))
    shots = PictureFolder(tmp_path, rate=1, loop=True).shots()

    first = next(shots)
    (tmp_path / "2.png").write_bytes(plain_png("blue"))
    after = list(itertools.islice(shots, 3))

    assert [shot.due_s for shot in (first, *after)] == [0, 1, 2, 3]
    assert after[0].jpeg() == first.jpeg() != after[1].jpeg()


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_pictures_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(CaptureError, match="has no picture|cannot be read"):
        next(PictureFolder(tmp_path / name).shots())


def test_drawn_scenes_move_by_the_clock_and_not_by_the_rate() -> None:
    slow = list(itertools.islice(DrawnScenes(3, Encoding((64, 48)), rate=1).shots(), 3))
    fast = list(itertools.islice(DrawnScenes(3, Encoding((64, 48)), rate=5).shots(), 11))

    assert [shot.due_s for shot in slow] == [0, 1, 2]
    assert [shot.jpeg() for shot in slow] == [shot.jpeg() for shot in fast[::5]]
    assert len({shot.jpeg() for shot in fast}) == 11
    assert size_wh(fast[0].jpeg()) == (64, 48)


def test_a_video_has_all_its_frames_at_its_own_speed(clip: Path) -> None:
    shots = list(VideoFile(clip).shots())

    assert [shot.due_s for shot in shots] == pytest.approx([n / 10 for n in range(10)])
    for index, shot in enumerate(shots):
        drawn = pixels(draw_frame(1, index, SIZE_WH)[0])
        assert np.abs(pixels(decoded(shot.jpeg())) - drawn).mean() < 12


def test_a_rate_is_a_videos_speed_and_a_loop_begins_again(clip: Path) -> None:
    at_rate = list(itertools.islice(VideoFile(clip, rate=50, loop=True).shots(), 25))
    own = list(itertools.islice(VideoFile(clip, loop=True).shots(), 25))

    assert [shot.due_s for shot in at_rate] == pytest.approx([n / 50 for n in range(25)])
    assert [shot.due_s for shot in own] == pytest.approx([n / 10 for n in range(25)])
    assert own[0].jpeg() == own[10].jpeg() == own[20].jpeg()


def test_a_phones_turned_video_is_sent_upright(clip: Path) -> None:
    plain = next(VideoFile(clip).shots()).jpeg()
    data = bytearray(clip.read_bytes())
    # The matrix of a track's header (ISO 14496-12, 8.3.2): a quarter turn to the right.
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    clip.write_bytes(data)

    turned = next(VideoFile(clip, Encoding((60, 60))).shots()).jpeg()

    expected = decoded(plain).resize((60, 45)).rotate(-90, expand=True)
    assert decoded(turned).size == (45, 60)
    assert np.abs(pixels(decoded(turned)) - pixels(expected)).mean() < 12


def test_a_damaged_part_of_a_video_fails_and_the_rest_is_sent(clip: Path) -> None:
    with av.open(str(clip)) as container:
        places = [packet.pos for packet in container.demux() if packet.pos is not None]
    data = bytearray(clip.read_bytes())
    data[places[4] : places[5]] = bytes(places[5] - places[4])
    clip.write_bytes(data)
    sent, failed = 0, []
    for shot in VideoFile(clip).shots():
        try:
            shot.jpeg()
            sent += 1
        except BadPictureError as error:
            failed.append(error.code)

    assert failed == ["undecodable"]
    assert sent == 9


def test_what_is_no_video_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))

    for name in ("text.mp4", "empty.mp4", "missing.mp4"):
        with pytest.raises(CaptureError, match=f"{name} cannot be read as a video: "):
            VideoFile(tmp_path / name).check()
    with pytest.raises(CaptureError, match="has no pictures"):
        VideoFile(tmp_path / "sound.wav").check()


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Webcams in the place of this machine's: by name an error, or a video that plays."""
    known: dict[str, Any] = {}
    real = av.open

    def opened(name: str, *args: Any, format: str, **kwargs: Any) -> Any:
        assert format == "v4l2"
        what = known.get(name, FileNotFoundError(errno.ENOENT, "No such file or directory"))
        if isinstance(what, Exception):
            raise what
        return real(str(what))

    stand_in = SimpleNamespace(open=opened, error=av.error, device=av.device)
    monkeypatch.setattr(webcam, "av", stand_in)
    monkeypatch.setattr("sys.platform", "linux")
    return known


def test_the_first_webcam_that_gives_a_picture_is_taken(
    devices: dict[str, Any], clip: Path
) -> None:
    devices["/dev/video0"] = PermissionError(errno.EACCES, "Permission denied")
    devices["/dev/video1"] = OSError(errno.EBUSY, "Device or resource busy")
    devices["/dev/video2"] = devices["/dev/video3"] = clip

    [first, second], said = read_cameras(["webcam", "webcam"], Wish())

    assert (first.source, second.source) == (Webcam(2), Webcam(3))
    assert said == [
        "not /dev/video0: this user may not read it. Add the user to the group video, or allow "
        "the camera in the system's settings",
        "not /dev/video1: another program uses it. Close that program",
    ]
    shots = list(itertools.islice(first.source.shots(), 2))
    assert [shot.due_s for shot in shots] == [None, None]
    assert [size_wh(shot.jpeg()) for shot in shots] == [SIZE_WH, SIZE_WH]


def test_without_a_webcam_each_device_says_why(devices: dict[str, Any]) -> None:
    devices["/dev/video1"] = OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    with pytest.raises(InvalidOptionError) as caught:
        read_cameras(["webcam"], Wish())

    said = str(caught.value)
    assert "/dev/video0, /dev/video2, /dev/video3: there is no such device. Connect" in said
    assert "/dev/video1: it is no camera" in said
    assert said.endswith("Without a camera: --source drawn")


def test_a_webcam_that_is_unplugged_says_so(devices: dict[str, Any], clip: Path) -> None:
    devices["/dev/video0"] = clip

    with pytest.raises(CaptureError, match="/dev/video0: it gives no pictures any more"):
        list(Webcam(0).shots())


def test_sources_are_told_apart(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    (tmp_path / "a=b" / "1.png").write_bytes(plain_png("red"))
    encoding = Encoding((32, 24), 50)

    found, said = read_cameras(
        [
            *("drawn", "drawn:7", "hall=drawn", "webcam:2", "/dev/video1"),
            *("rtsp://u:p@cam/x?a=b", "door=HTTP://cam/y", str(clip), str(tmp_path / "a=b")),
        ],
        Wish(rate=2, encoding=encoding, loop=True),
    )

    assert said == []
    assert found == [
        Camera("camera-0", DrawnScenes(0, encoding, 2)),
        Camera("camera-1", DrawnScenes(7, encoding, 2)),
        Camera("hall", DrawnScenes(2, encoding, 2)),
        Camera("camera-3", Webcam(2, encoding)),
        Camera("camera-4", Webcam(1, encoding)),
        Camera("camera-5", NetworkStream("rtsp://u:p@cam/x?a=b", encoding, 2)),
        Camera("door", NetworkStream("HTTP://cam/y", encoding, 2)),
        Camera("camera-7", VideoFile(clip, encoding, 2, loop=True)),
        Camera("camera-8", PictureFolder(tmp_path / "a=b", encoding, 2, loop=True)),
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["nothing.mp4"], "there is no such file; it must be webcam, webcam:N, drawn"),
        (["a=drawn", "a=drawn:2"], "two cameras are called a"),
        (["camera-1=drawn", "drawn"], "two cameras are called camera-1"),
        (["../x=drawn"], "there is no such file"),
        (["drawn:-1"], "there is no such file"),
        ([""], "there is no such file"),
        (["rtsp://"], "there is no such file"),
        (["ftp://host/x.mp4"], "there is no such file"),
        (["x" * 300], "there is no such file"),  # longer than a file's name can be
        (["rtsp://[10.0.0.7/x"], "it is no address: invalid ipv6 url"),
        (["rtsp://10.0.0.7:port/x"], "it is no address: port could not be cast"),
    ],
)
def test_a_source_that_cannot_be_is_refused(
    texts: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidOptionError, match=said):
        read_cameras(texts, Wish())


def test_an_address_is_shown_without_its_secrets() -> None:
    shown_url = shown("rtsp://admin:hunter2@10.0.0.7:554/stream?key=hunter2")

    assert shown_url == "rtsp://10.0.0.7:554/stream"
    with pytest.raises(CaptureError) as caught:
        next(NetworkStream("rtsp://admin:hunter2@127.0.0.1:1/x?k=hunter2").shots())
    assert str(caught.value) == "rtsp://127.0.0.1:1/x: connection refused"


def test_choices_name_each_kind() -> None:
    assert all(word in cameras.CHOICES for word in ("webcam", "drawn", "rtsp", "video", "folder"))
