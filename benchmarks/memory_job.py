"""A large model in a whole job: `python -m benchmarks.memory_job [--only tensorflow]`.

VGG16 (Keras, random weights) up to ``fc2`` embeds 200 pictures of a local S3 server by
`batch_embed` on two cores, once by TensorFlow and once by a LiteRT twin. Printed are the most
memory that all processes of each step held together (the sum of their proportional set sizes: a
page that several map counts once), and how far the vectors are from plain Keras'. Exit code 1 if
that is more than 1e-4 of the largest number, or if a picture has no vector.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from local_services import s3
from local_services.proc import members, signal_all

from benchmarks.figures import table
from benchmarks.material import VGA_WH, pictures
from benchmarks.memory import made
from benchmarks.places import ROOT, WORK

IMAGES, CORES, TOLERANCE = 200, 2, 1e-4
LAYER = "fc2"
_BUCKET = "pictures"
_SAMPLE_S = 0.2
_MB = 1_000_000
_TWIN_OPTIONS: Mapping[str, Sequence[str]] = {"tensorflow": ("--no-twin",), "litert": ()}


@dataclass(frozen=True)
class Taken:
    """What a command and all that it started took."""

    seconds: float
    peak_mb: int
    processes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(_TWIN_OPTIONS))
    parser.add_argument("--images", type=int, default=IMAGES)
    only, count = parser.parse_args().only, parser.parse_args().images
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    model = made("VGG16") / "model.keras"
    photos = pictures(VGA_WH)[:count]
    rows = []
    is_wrong = False
    with tempfile.TemporaryDirectory(dir=WORK) as name:
        folder = Path(name)
        server_folder = folder / "s3"
        server_folder.mkdir()
        sample = folder / "sample"
        sample.mkdir()
        for photo in photos[:8]:
            shutil.copy(photo, sample)
        reference = folder / "reference.npy"
        code = [sys.executable, "-c", _REFERENCE, str(model), str(reference), *map(str, photos)]
        rows.append(_row("plain Keras, all in one process", _watched(code)))
        with s3.running(server_folder, s3.random_credentials()) as server:
            bucket = server.folder / _BUCKET
            bucket.mkdir()
            for photo in photos:
                shutil.copy(photo, bucket)
            for engine, options in _TWIN_OPTIONS.items():
                if only in (None, engine):
                    bundle = folder / engine
                    build = _build(model, bundle, sample, options)
                    rows.append(_row(f"{engine}: bundle build", _watched(build)))
                    out = folder / f"{engine}-vectors"
                    job = _watched(_job(bundle, out), _environment(server))
                    difference = _difference(out, reference, photos)
                    is_wrong |= not difference <= TOLERANCE
                    rows.append(_row(f"{engine}: batch_embed", job, f"{difference:.1e}"))
                    print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = ["", "all processes, MB", "of them at once", "s", "from plain Keras"]
    print(f"VGG16 up to {LAYER}, {len(photos)} pictures of 640x480 on S3, {CORES} cores\n")
    print(table(header, rows))
    sys.exit(int(is_wrong))


def _row(what: str, taken: Taken, difference: str = "") -> list[str]:
    return [what, f"{taken.peak_mb:,}", str(taken.processes), f"{taken.seconds:.0f}", difference]


def _build(model: Path, bundle: Path, sample: Path, options: Sequence[str]) -> list[str]:
    return [
        *(sys.executable, "-m", "pyspark_vision.cli.main", "bundle", "build", str(model)),
        *("--task", "embed", "--set", f"layer={LAYER}", "--set", "normalization=caffe"),
        *("--images", str(sample), "--output", str(bundle), *options),
    ]


def _job(bundle: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "jobs" / "batch_embed.py"), "--exact"),
        *("--keys", f"s3://{_BUCKET}/", "--model", str(bundle), "--output", str(out)),
    ]


def _environment(server: s3.S3) -> dict[str, str]:
    conf = {f"spark.hadoop.{key}": value for key, value in server.hadoop_conf().items()}
    settings = " ".join(f"--conf {key}={value}" for key, value in conf.items())
    return {
        **server.credentials.environment(),
        "PYSPARK_SUBMIT_ARGS": f"--master local[{CORES}] {settings} pyspark-shell",
    }


def _watched(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Taken:
    """Run it in a session of its own, whose processes are looked at until it has ended."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        samples: list[tuple[int, int]] = [(0, 0)]
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_SAMPLE_S):
                sizes = [_proportional_bytes(pid) for pid in members(process.pid)]
                samples.append((sum(sizes), len(sizes)))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            code = process.wait()
        finally:
            ended.set()
            watcher.join()
            signal_all(process.pid, signal.SIGKILL)  # what this run leaves when it is stopped
        if code:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)[:300]} ended with {code}:\n{said.read()[-3000:]}")
    size, processes = max(samples)
    return Taken(time.monotonic() - started, size // _MB, processes)


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _difference(out: Path, reference: Path, photos: Sequence[Path]) -> float:
    """The largest difference of a number, over the largest number; infinite if a row lacks one."""
    import pandas as pd

    rows = pd.read_parquet(out)
    names = [Path(origin).name for origin in rows.origin]
    found = dict(zip(names, rows.embedding, strict=True))
    expected = np.load(reference)
    if any(found.get(photo.name) is None for photo in photos):
        return float("inf")
    vectors = np.stack([found[photo.name] for photo in photos])
    return float(np.abs(vectors - expected).max() / np.abs(expected).max())


# Keras by itself, as its users run it: pictures in memory, the model cut at the layer.
_REFERENCE = f"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
from PIL import Image
from keras.applications.vgg16 import preprocess_input
path, out, *photos = sys.argv[1:]
model = keras.models.load_model(path)
model = keras.Model(model.inputs, model.get_layer("{LAYER}").output)
pixels = [Image.open(photo).convert("RGB").resize((224, 224), Image.BILINEAR) for photo in photos]
batch = preprocess_input(np.stack([np.asarray(image, np.float32) for image in pixels]))
np.save(out, model.predict(batch, batch_size=4, verbose=0))
"""


if __name__ == "__main__":
    main()
