"""What a stream is sent that is no frame: each message has a result or a reason, nothing fails."""

from __future__ import annotations

import base64
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numbered_frames as frames
import pyarrow.dataset
import pytest
from detect_job import DetectJob
from fault_cases import Case, Size
from local_services import kafka as local_kafka
from local_services import proc
from local_services.kafka import MESSAGE_MAX_BYTES, Kafka
from mutated_images import mutated
from pictures import scene_jpeg

_MAX_WORKER_MB = 1000
_HUGE_BYTES = 100 * 1024 * 1024
_PAYLOAD_LIMIT = 5 * 1024 * 1024


@pytest.mark.full_size
def test_hostile_and_mutated_files_each_have_a_result_or_a_reason(
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    shared_data: Path,
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    files = sorted(
        file for folder in ("hostile", "pngsuite") for file in (shared_data / folder).rglob("*")
    )
    pictures = [file.read_bytes() for file in files if file.is_file()]
    broken = list(mutated(size.mutants, rng))
    case.injected = f"{len(pictures)} hostile and {len(broken)} mutated files"
    case.expected = f"each a result or a reason, no task fails, no worker above {_MAX_WORKER_MB} MB"
    # Those that are too large for a message are for other tests.
    pictures = [data for data in pictures if len(data) < _PAYLOAD_LIMIT]

    look(case, root, tmp_path, kafka, [*pictures, *broken], "--payload", "image")


def test_malformed_messages_of_each_field_each_have_a_reason(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case
) -> None:
    values = list(malformed())
    case.injected = f"{len(values)} malformed messages, with good ones between them"
    case.expected = "each a reason, the good ones a result, no task fails"
    good = message()
    sent = [value for one in values for value in (one, good)]

    codes = look(case, root, tmp_path, kafka, sent)

    assert codes.pop(None) >= len(values)
    assert set(codes) <= {
        *("bad_message", "bad_base64", "empty_input", "null_input", "undecodable", "truncated"),
        *("unsupported_format", "too_many_bytes"),
    }


@pytest.mark.full_size
def test_a_hundred_megabytes_of_base64_have_a_reason_and_the_stream_goes_on(
    root: Path, tmp_path: Path, case: Case
) -> None:
    huge = b'{"image": "' + b"A" * _HUGE_BYTES + b'", "camera_id": "front"}'
    case.injected = "a message with 100 MB of base64 between good ones, JVM with 4 GB"
    case.expected = "too_many_bytes for it, results for the others, the whole of it a dead letter"
    (tmp_path / "kafka").mkdir()
    limit = _HUGE_BYTES + 1024 * 1024

    with local_kafka.running(tmp_path / "kafka", message_max_bytes=limit) as kafka:
        codes = look(
            *(case, root, tmp_path, kafka, [message(), huge, message()]),
            conf={"spark.driver.memory": "4g"},
            max_bytes=limit,
        )

    letters = pyarrow.dataset.dataset(tmp_path / "dead").to_table(columns=["payload"])
    assert codes == {None: 2, "too_many_bytes": 1}
    assert [len(letter["payload"]) for letter in letters.to_pylist()] == [len(huge)]


def look(
    case: Case,
    root: Path,
    folder: Path,
    kafka: Kafka,
    values: Sequence[bytes],
    *flags: str,
    conf: Mapping[str, str] | None = None,
    max_bytes: int = MESSAGE_MAX_BYTES,
) -> Counter[str | None]:
    """Run the job over them; how many rows have each error code."""
    topic, results = frames.topics(kafka.bootstrap_servers)
    frames.produce(kafka.bootstrap_servers, topic, ((0, value) for value in values), max_bytes)
    places = {(0, offset): offset for offset in range(len(values))}
    sent = frames.Sent(topic, results, places, frozenset())
    job = DetectJob(
        *(root, folder, kafka.bootstrap_servers, sent),
        batch_rows=500,
        flags=flags,
        conf=conf or {},
    )
    most_mb = 0.0
    with job.running("available-now") as process:
        while process.poll() is None:
            held = (proc.memory_mb(pid, "VmHWM") for pid in job.workers(process))
            most_mb = max(most_mb, *held, 0.0)
            time.sleep(0.1)
        assert process.wait() == 0, job.tail()
    found = frames.rows(job.output)
    codes = Counter(row["error"] and row["error"]["code"] for row in found)
    places_found = Counter((row["partition"], row["offset"]) for row in found)
    case.found = (
        f"{len(found)} rows of {len(values)}, worker's peak {most_mb:.0f} MB, "
        f"{codes[None]} results, {dict(sorted((k, v) for k, v in codes.items() if k))}"
    )
    assert places_found == Counter(dict.fromkeys(places, 1))
    assert "Lost task" not in job.log.read_text(errors="replace")
    assert 0 < most_mb < _MAX_WORKER_MB
    return codes


def message(**changes: Any) -> bytes:
    """A frame that is right, but for what is changed."""
    fields = {
        "image": base64.b64encode(scene_jpeg(1, 96, 64)).decode(),
        "timestamp": "2026-11-21T08:00:00",
        "camera_id": "front",
    }
    return json.dumps(fields | changes).encode()


def malformed() -> Iterator[bytes]:
    """Each field of a frame wrong in each way, and what is no frame at all."""
    wrong: tuple[Any, ...] = (None, 0, -1.5, True, [], {}, [1], {"a": 1}, "")
    for field, values in {
        "image": (*wrong, "!", "=", "AAAA", "A" * 10_000, "\ud800", "\x00"),
        "timestamp": (*wrong, "soon", "0000-00-00T00:00:00", "99999-01-01T00:00:00"),
        "camera_id": (None, [], {}, [1], {"a": 1}),
    }.items():
        for value in values:
            yield message(**{field: value})
        whole = json.loads(message())
        del whole[field]
        yield json.dumps(whole).encode()
    yield from (b"", b" ", b"null", b"[]", b"{}", b"0", b'"frame"', b"{", b"\x00" * 100)
    yield b"[" * 10_000 + b"]" * 10_000
    yield b'{"image":' * 10_000 + b"1" + b"}" * 10_000
    yield b'{"image": "' + b"A" * (8 * 1024 * 1024) + b'"}'  # above --max-message-bytes
    yield b'{"image": "\xff\xfe", "timestamp": "2026-11-21T08:00:00", "camera_id": "front"}'
    yield bytes(range(256)) * 10
    yield message() + b"trailing"
