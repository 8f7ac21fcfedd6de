"""Whether a model fits: what settings give, what a worker needs, refused, warned, silent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from job_scripts import job
from killed_workers import last_line
from pyspark.sql import SparkSession
from stream_processes import detect_flags, draw_frames

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.memory import WorkerMemory, worker_memory
from pyspark_vision.bundles.spec import ModelFile
from pyspark_vision.clients import scenes
from pyspark_vision.errors import WorkerKilledError
from pyspark_vision.executor.models import machine_memory, shared_weights
from pyspark_vision.executor.models.machine_memory import Memory
from pyspark_vision.job.admission import (
    FITS,
    TIGHT,
    TOO_LITTLE,
    UNKNOWN,
    compared,
    deaths_explained,
)
from pyspark_vision.spark.error_texts import WORKER_GONE, killed_for_memory
from pyspark_vision.spark.executor_memory import of_settings

GB, GIB, MIB = 10**9, 2**30, 2**20
HERE = Memory(16 * GB, 12 * GB, is_container=False)
# VGG16 in TensorFlow, as in issue 22: 553 MB of weights.
VGG16 = WorkerMemory("tensorflow", 553_000_000, 1 * GB, 1_700_000_000, 0)
SHARED = WorkerMemory("litert", 553_000_000, 100_000_000, 1_200_000_000, 553_000_000)


def settings_of(master: str, here: Memory | None = HERE, /, **settings: str) -> Any:
    given = {f"spark.{key.replace('_', '.')}": value for key, value in settings.items()}
    return of_settings(master, given.get, lambda: here, cores_here=8)


@pytest.mark.parametrize(
    ("master", "settings", "workers", "total", "heap"),
    [
        ("local", {}, 1, 16 * GB, GIB),
        ("local[4]", {"task_cpus": "2"}, 2, 16 * GB, GIB),
        ("local[*,4]", {"driver_memory": "2g"}, 8, 16 * GB, 2 * GIB),
        ("local-cluster[2,3,1024]", {}, 6, 16 * GB, 3 * GIB),
        # Spark's defaults: 1 GiB, and 384 MiB or a tenth beside it, if that is more.
        ("yarn", {}, 1, GIB + 384 * MIB, GIB),
        ("yarn", {"executor_cores": "4", "executor_memory": "8g"}, 4, int(8.8 * GIB), 8 * GIB),
        ("yarn", {"executor_memoryOverhead": "2048"}, 1, 3 * GIB, GIB),
        ("yarn", {"executor_memoryOverheadFactor": "0.5"}, 1, GIB + 512 * MIB, GIB),
        ("yarn", {"executor_pyspark_memory": "1g"}, 1, 2 * GIB + 384 * MIB, GIB),
        # Of a job in Python: four tenths.
        ("k8s://https://h:6443", {}, 1, GIB + int(0.4 * GIB), GIB),
        ("spark://elsewhere:7077", {"executor_cores": "4"}, 4, None, GIB),
        ("spark://localhost:7077", {"executor_memory": "2g"}, 8, 16 * GB, 2 * GIB),
    ],
)
def test_what_settings_give(
    master: str, settings: dict[str, str], workers: int, total: int | None, heap: int
) -> None:
    have = settings_of(master, HERE, **settings)
    assert (have.workers, have.total, have.heap) == (workers, total, heap)


def test_an_unknown_master_and_an_unknown_machine_are_not_judged() -> None:
    assert settings_of("mesos://h:5050") is None
    assert compared(VGG16, None).state == UNKNOWN
    assert compared(VGG16, settings_of("local[64]", None)).state == UNKNOWN


@pytest.mark.parametrize(
    ("need", "master", "settings", "state"),
    [
        (VGG16, "local[4]", {}, FITS),
        # At rest it fits; if all load at once it does not: 8 x 1.7 GB and the heap.
        (VGG16, "local[8]", {}, TIGHT),
        (VGG16, "local[20]", {}, TOO_LITTLE),
        (VGG16, "yarn", {}, TIGHT),
        (VGG16, "yarn", {"executor_cores": "4"}, TOO_LITTLE),
        (VGG16, "yarn", {"executor_cores": "4", "executor_memoryOverhead": "8g"}, FITS),
        # Pages that are shared can be given back: they are no reason to refuse.
        (SHARED, "yarn", {"executor_cores": "4"}, TIGHT),
        # 1 GiB for an executor's two cores: half of it is less than a worker's addresses.
        (VGG16, "local[2]", {"executor_pyspark_memory": "1g"}, TOO_LITTLE),
        (SHARED, "local[2]", {"executor_pyspark_memory": "2g"}, FITS),
        # The workers of a standalone master may be elsewhere.
        (VGG16, "spark://localhost:7077", {"executor_cores": "8"}, TIGHT),
        (VGG16, "spark://elsewhere:7077", {}, UNKNOWN),
    ],
)
def test_a_model_is_refused_only_where_it_cannot_work(
    need: WorkerMemory, master: str, settings: dict[str, str], state: str
) -> None:
    assert compared(need, settings_of(master, HERE, **settings)).state == state


def test_the_numbers_and_what_to_change_stand_in_one_line() -> None:
    found = compared(VGG16, settings_of("yarn", executor_cores="4"))
    assert found.numbers == (
        "a worker on tensorflow holds about 1.0 GB (1.7 GB while it loads 553 MB of weights), 4 at "
        "a time 4.0 GB; an executor's container has 1.5 GB, of which the JVM's heap may take 1.1 GB"
    )
    for setting in ("spark.executor.memoryOverhead", "spark.executor.cores", "spark.task.cpus"):
        assert setting in found.advice
    assert "LiteRT twin" in found.advice


def spec_of(path: Path, engine: str, file_format: str) -> ModelSpec:
    file = ModelFile(engine, file_format, path.name, "", "image", (("embedding", "e"),))
    return ModelSpec("m", "embed", (file,), (8, 8), root=str(path.parent))


def test_a_large_models_weights_count_once_where_workers_share_them(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    small, large = shared_weights.LARGE_BYTES - 1, shared_weights.LARGE_BYTES
    needs = []
    for size in (small, large):
        with path.open("wb") as file:
            file.truncate(size)
        needs.append(worker_memory(spec_of(path, "litert", "tflite")))
    own, shared = needs
    assert (own.weights, own.shared) == (small, 0)
    assert (shared.weights, shared.shared) == (large, large)
    assert own.at_rest - shared.at_rest > 0.9 * large


def test_of_a_folder_counts_what_a_worker_on_pictures_loads(tmp_path: Path) -> None:
    for name, size in (("image.onnx", 1000), ("text.onnx", 5000), ("tokenizer.json", 70)):
        tmp_path.joinpath(name).write_bytes(bytes(size))
    towers = ModelFile("onnx", "dual_encoder", tmp_path.name, "", "x", (("embedding", "e"),))
    dual = ModelSpec("m", "dual_encoder", (towers,), (8, 8), score_kind="logit")
    parts = ModelFile(
        "onnx", "text_reader", tmp_path.name, "", "x", (("text_map", "m"), ("characters", "c"))
    )
    reader = ModelSpec("m", "ocr", (parts,), (8, 8))

    needs = [
        worker_memory(dataclasses.replace(spec, root=str(tmp_path.parent)))
        for spec in (dual, reader)
    ]

    assert [need.weights for need in needs] == [1000, 6070]
    assert needs[1].peak - needs[0].peak > 800_000_000


def test_an_optimizer_in_a_keras_file_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/dense/kernel"] = np.zeros(1000, np.float32)
        file["optimizer_weights/m"] = np.zeros(5000, np.float32)
    assert worker_memory(spec_of(path, "tensorflow", "h5")).weights == 4000


def test_a_damaged_or_missing_file_is_for_others_to_say(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    assert worker_memory(spec_of(path, "tensorflow", "keras")).weights == 0
    path.write_bytes(b"x" * 300)
    assert worker_memory(spec_of(path, "tensorflow", "keras")).weights == 100


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"{WORKER_GONE} (crashed): \n\nCaused by: java.io.EOFException", True),
        ("Container killed by YARN for exceeding physical memory limits. 1.5 GB used", True),
        ("Command exited with code 137", True),
        ("container status: OOMKilled, exit code 137", True),
        ("a process of its own could not be started: its process was ended by signal 9", True),
        (f"{WORKER_GONE} (crashed): Fatal Python error: Segmentation fault", False),
        ("Command exited with code 1371", False),
        ("[UNRESOLVED_COLUMN] no memory", False),
        ("", False),
    ],
)
def test_a_killed_worker_is_told_from_one_that_broke(said: str, expected: bool) -> None:
    assert killed_for_memory(said) is expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "first_words"),
    [
        ([3, 4], "memory ran out: the kernel of this machine ended a process"),
        ([3, 3], "memory ran out, most likely: a Python worker was ended from outside (signal 9)"),
        ([None, None], "memory ran out, most likely"),
    ],
)
def test_a_job_of_killed_workers_says_memory_first(
    kills: list[int | None],
    first_words: str,
    spark: SparkSession,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = ModelSpec.load(root / "models" / "demo-embedder")
    counts = iter(kills)
    monkeypatch.setattr("pyspark_vision.job.admission.oom_kills", lambda: next(counts))
    with pytest.raises(WorkerKilledError) as raised, deaths_explained(spark, spec):
        raise RuntimeError(f"{WORKER_GONE} (crashed)")
    assert str(raised.value).startswith(first_words)
    assert "a worker on litert holds about" in str(raised.value)


def test_another_failure_stays_what_it_is(spark: SparkSession, root: Path) -> None:
    spec = ModelSpec.load(root / "models" / "demo-embedder")
    with pytest.raises(ZeroDivisionError), deaths_explained(spark, spec):
        raise ZeroDivisionError


def arguments(root: Path, tmp_path: Path) -> list[str]:
    images = tmp_path / "images"
    images.mkdir()
    scenes.draw_scene(0, (160, 120))[0].save(images / "0.jpg")
    return [
        *("--images", str(images), "--settle", "0", "--output", str(tmp_path / "out")),
        *("--model", str(root / "models" / "demo-embedder")),
    ]


def test_a_job_is_refused_before_anything_is_written(
    spark: SparkSession, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    small = Memory(200_000_000, 100_000_000, is_container=True)
    monkeypatch.setattr(machine_memory, "memory", lambda: small)
    assert job(root, "batch_embed").main(arguments(root, tmp_path)) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "batch_embed:" in one]
    assert "does not fit in memory: a worker on litert holds about" in line
    assert "this container has 200 MB (100 MB free)" in line
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_the_numbers(
    spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    assert job(root, "batch_embed").main([*arguments(root, tmp_path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("memory fits: a w", "memory is tight: a w"))]


def assert_memory_first(line: str, name: str) -> None:
    assert line.startswith(f"{name}: memory ran out")
    assert "a worker on litert holds about" in line
    assert "--master local[N]" in line


@pytest.mark.slow
def test_a_job_whose_workers_are_killed_ends_with_memory_in_its_last_line(
    root: Path, tmp_path: Path
) -> None:
    flags = arguments(root, tmp_path)
    assert_memory_first(last_line(root, tmp_path, "batch_embed", *flags), "batch_embed")


@pytest.mark.slow
@pytest.mark.parametrize("trigger", ["available-now", "1 second"])
def test_a_stream_whose_workers_are_killed_ends_with_memory_in_its_last_line(
    trigger: str, root: Path, tmp_path: Path
) -> None:
    draw_frames(tmp_path / "frames", 3)
    flags = detect_flags(root, tmp_path, "--settle", "0", "--trigger", trigger)
    assert_memory_first(last_line(root, tmp_path, "stream_detect", *flags), "stream_detect")
