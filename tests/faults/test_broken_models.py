"""A bundle that is broken under the job, and bundles that nobody means well by."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import FULL, Case, Size
from local_services.kafka import Kafka
from local_services.process import wait_until
from pictures import scene_jpeg

_FRAMES_EACH = 4


def write_version(root: Path, bundle: Path, padding: int) -> str:
    """The demo detector in other bytes, which run as before; its sha256."""
    source = root / "models" / "demo-detector"
    bundle.mkdir(exist_ok=True)
    model = (source / "model.tflite").read_bytes() + b"\0" * padding
    record = json.loads((source / "model.json").read_text())
    record["files"][0]["sha256"] = hashlib.sha256(model).hexdigest()
    shutil.copyfile(source / "labels.txt", bundle / "labels.txt")
    (bundle / "model.tflite").write_bytes(model)
    (bundle / "model.json").write_text(json.dumps(record))
    return str(record["files"][0]["sha256"])


def cut_short(bundle: Path) -> None:
    content = (bundle / "model.tflite").read_bytes()
    (bundle / "model.tflite").write_bytes(content[: len(content) // 2])


def swap(bundle: Path) -> None:
    """Other bytes of the same length, as someone would who knew what is looked at."""
    content = bytearray((bundle / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (bundle / "model.tflite").write_bytes(content)


def give_a_wrong_sha256(bundle: Path) -> None:
    record = json.loads((bundle / "model.json").read_text())
    record["files"][0]["sha256"] = "0" * 64
    (bundle / "model.json").write_text(json.dumps(record))


def remove_labels(bundle: Path) -> None:
    (bundle / "labels.txt").unlink()


_BREAKS: tuple[Callable[[Path], None], ...] = (cut_short, swap, give_a_wrong_sha256, remove_labels)


def test_a_bundle_that_breaks_under_the_job_is_refused_and_the_last_good_one_stays(
    root: Path, tmp_path: Path, kafka: Kafka, case: Case, size: Size, rng: random.Random
) -> None:
    breaks = rng.sample(_BREAKS, len(_BREAKS) if size is FULL else 1)
    case.injected = ", ".join(one.__name__ for one in breaks) + ", each mended by a new version"
    case.expected = "each row by the last good version, one line of the log for each refusal"
    bundle = tmp_path / "bundle"
    made_by = [write_version(root, bundle, 1)]
    topic, results = frames.topics(kafka.bootstrap_servers)
    job = DetectJob(
        *(root, tmp_path, kafka.bootstrap_servers),
        frames.Sent(topic, results, {(0, 0): 0}, frozenset()),
        model=bundle,
    )

    def send() -> None:
        sent = _FRAMES_EACH * len(made_by)
        picture = scene_jpeg(1, 96, 64)
        messages = [(0, frames.message(number, picture)) for number in range(_FRAMES_EACH)]
        frames.produce(job.servers, topic, messages)
        assert wait_until(lambda: job.rows() == sent, timeout_s=90), job.tail()

    with job.running() as process:
        send()
        for number, break_it in enumerate(breaks):
            break_it(bundle)
            made_by.append(made_by[-1])
            send()
            made_by.append(write_version(root, bundle, 2 + number))
            send()
        process.terminate()
        assert process.wait(60) == 0, job.tail()

    rows = frames.rows(job.output, "model_sha256")
    found = {row["offset"]: row["model_sha256"] for row in rows}
    refusals = job.tail(None).count("is refused, ")
    case.found = f"{len(rows)} rows by {len(set(found.values()))} versions, {refusals} refusals"
    assert len(rows) == len(found) == _FRAMES_EACH * len(made_by)
    assert [found[at] for at in sorted(found)] == [
        sha256 for sha256 in made_by for _ in range(_FRAMES_EACH)
    ]
    assert refusals == len(breaks)


@pytest.mark.parametrize("break_it", [cut_short, remove_labels], ids=lambda one: one.__name__)
@pytest.mark.full_size
def test_a_broken_bundle_is_refused_at_the_start_in_one_line(
    break_it: Callable[[Path], None], root: Path, tmp_path: Path, kafka: Kafka, case: Case
) -> None:
    case.injected, case.expected = break_it.__name__, "exit code 2, one line, nothing read"
    bundle = tmp_path / "bundle"
    write_version(root, bundle, 1)
    break_it(bundle)

    code, lines = started_with(bundle, root, tmp_path, kafka)

    case.found = f"exit code {code}: {' '.join(lines)[:200]}"
    assert code == 2
    assert len(lines) == 1
    assert not (tmp_path / "checkpoint" / "offsets").exists()


def path_out(bundle: Path) -> None:
    """``model.json`` names a file outside."""
    shutil.copyfile(bundle / "model.tflite", bundle.parent / "outside.tflite")
    record = json.loads((bundle / "model.json").read_text())
    record["files"][0]["path"] = "../outside.tflite"
    (bundle / "model.json").write_text(json.dumps(record))


def link_out(bundle: Path) -> None:
    """The model is a link to a file outside."""
    shutil.move(bundle / "model.tflite", bundle.parent / "outside.tflite")
    (bundle / "model.tflite").symlink_to(bundle.parent / "outside.tflite")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self._path), "w")


def pickled(bundle: Path) -> None:
    """The model is a pickle that makes a file when it is read, with the sha256 it ought to have."""
    content = pickle.dumps(Touch(bundle.parent / "executed"))
    (bundle / "model.tflite").write_bytes(content)
    record = json.loads((bundle / "model.json").read_text())
    record["files"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "model.json").write_text(json.dumps(record))


def lambda_layer(bundle: Path) -> None:
    """A Keras model whose Lambda layer makes a file when it is loaded or run."""
    import keras

    image = keras.Input((8, 8, 3), name="image")
    target = str(bundle.parent / "executed")
    scores = keras.layers.Lambda(lambda x: Path(target).write_bytes(b"") or x, name="runs_code")(
        image
    )
    (bundle.parent / "executed").unlink()
    shutil.rmtree(bundle)
    keras.Model(image, keras.layers.Flatten()(scores)).save(bundle.with_suffix(".keras"))
    bundle.with_suffix(".keras").rename(bundle)


def zip_slip(bundle: Path) -> None:
    """A zip with a member that would be written outside."""
    packed = bundle.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w") as archive:
        for file in bundle.iterdir():
            archive.write(file, file.name)
        archive.writestr("../executed", "out")
    shutil.rmtree(bundle)
    packed.rename(bundle)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (path_out, "bundle"),
        (link_out, "bundle"),
        (pickled, "bundle"),
        (lambda_layer, "bundle.keras"),
        (zip_slip, "bundle.zip"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
@pytest.mark.full_size
def test_a_hostile_bundle_is_refused_and_nothing_of_it_runs(
    make: Callable[[Path], None], name: str, root: Path, tmp_path: Path, kafka: Kafka, case: Case
) -> None:
    case.injected, case.expected = make.__doc__ or "", "exit code 2, one line, nothing of it runs"
    bundle = tmp_path / "models" / "bundle"
    bundle.parent.mkdir()
    write_version(root, bundle, 1)
    make(bundle)
    named = bundle.parent / name
    bundle.rename(named)

    code, lines = started_with(named, root, tmp_path, kafka)

    case.found = f"exit code {code}: {' '.join(lines)[:200]}"
    assert code == 2
    assert len(lines) == 1
    assert Counter(file.name for file in tmp_path.rglob("executed")) == {}


def started_with(bundle: Path, root: Path, folder: Path, kafka: Kafka) -> tuple[int, list[str]]:
    """The exit code of a job with this model, and what it says in its own name."""
    topic, results = frames.topics(kafka.bootstrap_servers)
    sent = frames.Sent(topic, results, {}, frozenset())
    job = DetectJob(root, folder, kafka.bootstrap_servers, sent, model=bundle)
    code = job.finish(120)
    said = [line for line in job.tail(None).splitlines() if line.startswith("stream_detect: ")]
    assert "Traceback" not in job.tail(None)
    return code, said
