"""`pyspark-vision produce` with a real broker, read back by consumers that are written here."""

from __future__ import annotations

import base64
import json
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import client_runs as clients
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services.kafka import Kafka
from videos import SIZE_WH, http_camera, rtsp_camera, write_video

# A pause of the broker that is longer than what the producer has room for.
PAUSE_S = 6.0


def pycturestream_frames(servers: str, topic: str) -> list[tuple[str, str, bytes]]:
    """PyctureStream's consumer, by hand: camera, timestamp and JPEG of each message without key."""
    frames = []
    for record in clients.in_topic(servers, topic):
        assert record.key() is None
        message = json.loads(record.value())
        assert sorted(message) == ["camera_id", "image", "timestamp"]
        frames.append(
            (message["camera_id"], message["timestamp"], base64.b64decode(message["image"]))
        )
    return frames


def test_drawn_cameras_are_read_by_pycturestreams_consumer(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    before = datetime.now()

    done = clients.run(
        *("produce", "--source", "drawn", "door=drawn:7", "--rate", 5, "--duration", 2),
        *("--size", "320x240", "--when-behind", "wait", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "produce: camera-0: frames 10, sent 10, dropped 0, failed 0",
        "produce: door: frames 10, sent 10, dropped 0, failed 0",
        f"produce: frames 20, sent 20, dropped 0, failed 0 to {topic}",
    ]
    frames = pycturestream_frames(kafka.bootstrap_servers, topic)
    assert Counter(camera for camera, _, _ in frames) == {"camera-0": 10, "door": 10}
    assert {clients.size_wh(jpeg) for _, _, jpeg in frames} == {(320, 240)}
    assert len({jpeg for _, _, jpeg in frames}) == 20
    times = [datetime.fromisoformat(time) for _, time, _ in frames]
    assert all(time.tzinfo is None for time in times)
    assert before <= min(times) < max(times) < before + timedelta(seconds=60)
    for camera in ("camera-0", "door"):
        kept = (tmp_path / "kept" / camera / "input.jpg").read_bytes()
        assert kept in [jpeg for sender, _, jpeg in frames if sender == camera]


def test_a_video_is_read_in_week_9s_messages(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    write_video(str(tmp_path / "clip.mp4"), count=12, rate=10)

    done = clients.run(
        *("produce", "--source", f"hall={tmp_path}/clip.mp4", "--message", "image-stream"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
        *("--when-behind", "wait"),
    )

    assert (done.returncode, done.stderr) == (0, "")
    records = clients.in_topic(kafka.bootstrap_servers, topic)
    assert len(records) == 12
    for record in records:
        message = json.loads(record.value())
        assert list(message) == ["image_id", "image_data", "timestamp", "metadata"]
        assert record.key().decode() == message["image_id"]
        assert message["metadata"] == {"source": "camera", "camera_id": "hall"}
        assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
        assert clients.size_wh(base64.b64decode(message["image_data"])) == SIZE_WH
    assert len({record.key() for record in records}) == 12


def test_a_folder_and_a_stream_are_raw_bytes_under_their_camera(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "shots").mkdir()
    picture = (Path(__file__).parents[2] / "docs" / "detections.jpg").read_bytes()
    (tmp_path / "shots" / "1.jpg").write_bytes(picture)
    (tmp_path / "shots" / "2.png").write_bytes(b"no picture")

    with http_camera(tmp_path, frames=10, rate=20) as address:
        done = clients.run(
            *("produce", "--source", f"files={tmp_path}/shots", f"cam={address}/live?key=hunter2"),
            *("--message", "raw", "--duration", 3, "--kafka-topic", topic),
            *("--kafka-servers", kafka.bootstrap_servers),
        )

    assert done.returncode == 1  # the file that is no picture
    assert f"files: {tmp_path}/shots/2.png: " in done.stderr
    # A camera that ends is tried again; what may be secret in its address is not shown.
    assert f"cam: {address}/live: " in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    records = clients.in_topic(kafka.bootstrap_servers, topic)
    assert [r.value() for r in records if r.key() == b"files"] == [picture]
    of_stream = [record.value() for record in records if record.key() == b"cam"]
    assert len(of_stream) >= 10
    assert {clients.size_wh(jpeg) for jpeg in of_stream} == {SIZE_WH}
    first, second, whole = map(clients.counts, done.stdout.splitlines())
    assert first == {"captured": 2, "sent": 1, "dropped": 0, "failed": 1}
    assert second["sent"] == len(of_stream)
    assert clients.adds_up(whole)


def test_a_camera_that_is_away_does_not_stop_another(kafka: Kafka, topic: str) -> None:
    with rtsp_camera(frames=30, rate=10) as address:
        done = clients.run(
            *("produce", "--source", "away=rtsp://127.0.0.1:1/x", f"there={address}"),
            *("--rate", 5, "--duration", 4, "--message", "raw", "--kafka-topic", topic),
            *("--kafka-servers", kafka.bootstrap_servers),
        )

    assert done.returncode == 1
    assert "away: rtsp://127.0.0.1:1/x: connection refused; tried again in 1 s" in done.stderr
    assert "tried again in 2 s" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    records = clients.in_topic(kafka.bootstrap_servers, topic)
    assert {record.key() for record in records} == {b"there"}
    # 3 s of pictures, of which five a second are taken; the first ones come at once.
    assert 5 <= len(records) <= 20
    assert {clients.size_wh(record.value()) for record in records} == {SIZE_WH}


@pytest.mark.slow
@pytest.mark.parametrize("when_behind", ["drop", "wait"])
def test_counts_add_up_when_the_broker_stands_still_for_a_while(
    when_behind: str, kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "camera-0" / "input.jpg"
    with clients.running(
        *("produce", "--source", "drawn", "--rate", 20, "--duration", 9, "--size", "64x48"),
        *("--when-behind", when_behind, "--message", "raw", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    ) as process:
        clients.wait_for(kept.exists)
        with clients.paused(kafka.broker.pid, PAUSE_S):
            pass
        printed, said = process.communicate(timeout=clients.TIMEOUT_S)

    assert process.returncode == 0
    counted = clients.counts(printed)
    assert clients.adds_up(counted)
    assert counted["captured"] == 180
    records = clients.in_topic(kafka.bootstrap_servers, topic)
    assert len(records) == counted["sent"]
    assert len({record.value() for record in records}) == len(records)
    if when_behind == "drop":
        assert counted["dropped"] > 20
        assert "queue_full" in printed
    else:
        assert counted["dropped"] == 0
    assert "has confirmed nothing for 3 s" in said
    assert "confirms again, after " in said


@pytest.mark.slow
def test_a_topic_that_is_deleted_meanwhile_is_named_and_written_again_when_it_is_back(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    kept = tmp_path / "kept" / "camera-0" / "input.jpg"
    with clients.running(
        *("produce", "--source", "drawn", "--rate", 5, "--duration", 20, "--size", "64x48"),
        *("--message", "raw", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    ) as process:
        clients.wait_for(kept.exists)
        admin.delete_topics([topic])[topic].result(30)
        assert process.stderr is not None
        said = process.stderr.readline()
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        printed, said_later = process.communicate(timeout=clients.TIMEOUT_S)

    assert f"topic {topic} does not exist on {kafka.bootstrap_servers} any more: " in said
    assert "newer ones are dropped until it is there again" in said
    assert "confirms again, after " in said_later
    counted = clients.counts(printed)
    assert clients.adds_up(counted)
    in_topic = len(clients.in_topic(kafka.bootstrap_servers, topic))
    assert 0 < in_topic <= counted["sent"]


@pytest.mark.slow
def test_a_broker_that_is_killed_and_comes_back_costs_nothing_twice(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "camera-0" / "input.jpg"
    with clients.running(
        *("produce", "--source", "drawn", "--rate", 10, "--size", "64x48", "--message", "raw"),
        *("--when-behind", "wait", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    ) as process:
        clients.wait_for(kept.exists)
        kafka.broker.kill()
        kafka.broker.start()
        known = len(clients.in_topic(kafka.bootstrap_servers, topic))
        # More than it has room for: frames that were captured when the broker was back.
        clients.wait_for(lambda: len(clients.in_topic(kafka.bootstrap_servers, topic)) > known + 30)
        printed, _ = clients.end(process, signal.SIGTERM)

    counted = clients.counts(printed)
    assert process.returncode == 0
    assert clients.adds_up(counted)
    assert counted["failed"] == 0
    values = [record.value() for record in clients.in_topic(kafka.bootstrap_servers, topic)]
    assert len(values) == len(set(values)) == counted["sent"]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_a_signal_sends_what_is_under_way_and_prints_the_counts(
    number: signal.Signals, kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "camera-0" / "input.jpg"
    with clients.running(
        *("produce", "--source", "drawn", "--size", "64x48", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    ) as process:
        clients.wait_for(kept.exists)
        printed, said = clients.end(process, number)

    assert (process.returncode, said) == (0, "")
    counted = clients.counts(printed)
    assert clients.adds_up(counted)
    assert counted["sent"] == len(clients.in_topic(kafka.bootstrap_servers, topic)) > 0


@pytest.mark.slow
def test_frames_that_no_broker_takes_any_more_have_failed_when_ctrl_c_ends_it(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept" / "camera-0" / "input.jpg"
    with clients.running(
        *("produce", "--source", "drawn", "--size", "64x48", "--keep-input", tmp_path / "kept"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", topic),
    ) as process:
        clients.wait_for(lambda: clients.in_topic(kafka.bootstrap_servers, topic))
        with clients.paused(kafka.broker.pid, 0):
            first = kept.stat().st_ino
            clients.wait_for(lambda: kept.stat().st_ino != first)
            printed, _ = clients.end(process, signal.SIGINT)

    assert process.returncode == 1
    counted = clients.counts(printed)
    assert clients.adds_up(counted)
    assert counted["failed"] > 0
    assert "unconfirmed" in printed


def test_what_cannot_be_is_one_line_that_says_how_to_go_on(
    kafka: Kafka, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "input.jpg").write_bytes(b"of somebody")
    (tmp_path / "properties").write_text("nonsense.key=1\n")
    there = ("--kafka-servers", kafka.bootstrap_servers)
    theirs = f"{tmp_path}/theirs"

    said = {
        words: clients.run("produce", "--source", "drawn", "--duration", 1, *words)
        for words in (
            ("--kafka-servers", "127.0.0.1:1"),
            (*there, "--kafka-topic", "missing"),
            (*there, "--keep-input", theirs),
            (*there, "--kafka-config", f"{tmp_path}/properties"),
        )
    }

    assert {done.returncode for done in said.values()} == {2}
    assert {done.stdout for done in said.values()} == {""}
    lines = [done.stderr for done in said.values()]
    assert all(line.count("\n") == 1 for line in lines)
    assert "no broker of --kafka-servers 127.0.0.1:1 answers: connection refused. Start" in lines[0]
    assert "topic missing cannot be written" in lines[1]
    assert "Create the topic, or correct its name" in lines[1]
    assert "holds input.jpg and no mark of pictures" in lines[2]
    assert '--kafka-config: No such configuration property: "nonsense.key"' in lines[3]
    assert (tmp_path / "theirs" / "input.jpg").read_bytes() == b"of somebody"


def test_frames_above_the_topics_limit_fail_and_others_go_on(
    kafka: Kafka, new_topic: Callable[..., str]
) -> None:
    small = new_topic(max_message_bytes="20000")

    done = clients.run(
        *("produce", "--source", "drawn", "--duration", 1, "--when-behind", "wait"),
        *("--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", small),
    )
    smaller = clients.run(
        *("produce", "--source", "drawn", "--duration", 1, "--when-behind", "wait"),
        *("--size", "64x48", "--kafka-servers", kafka.bootstrap_servers, "--kafka-topic", small),
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Raise max.message.bytes of the topic" in done.stderr
    assert "or send smaller pictures" in done.stderr
    assert f"sent 0, dropped 0, failed 5 (too_large 5) to {small}" in done.stdout
    assert (smaller.returncode, smaller.stderr) == (0, "")
    assert len(clients.in_topic(kafka.bootstrap_servers, small)) == 5
