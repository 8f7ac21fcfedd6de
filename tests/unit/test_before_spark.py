"""What a job is told is checked before Spark starts, as far as it needs no Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from job_scripts import job
from tiny_text_reader import save_text_reader

from pyspark_vision.bundles import ModelSpec

JOBS = {
    "stream_detect": "--input {pictures} --checkpoint {tmp}/c --output {tmp}/o",
    "stream_classify": "--model-type custom --checkpoint {tmp}/c --dry-run",
    "batch_embed": "--images {pictures} --output {tmp}/o",
}
MODEL = {"stream_classify": "--model-gcs-path"}


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        *((name, f"{MODEL.get(name, '--model')} {{tmp}}/none", "no model at") for name in JOBS),
        ("stream_detect", "--model {models}/demo-embedder", "this job needs a model for 'detect'"),
        ("stream_detect", "--model {models}/demo-embedder", "jobs/batch_embed.py runs it"),
        ("stream_classify", "--model-gcs-path {models}/demo-detector", "a model for 'classify'"),
        ("batch_embed", "--model {models}/demo-detector/model.tflite", "several outputs"),
        ("batch_embed", "--model {models}/demo-classifier", "a model for 'embed'"),
        (
            "stream_detect",
            "--model {models}/demo-detector/model.tflite --labels {tmp}/none.txt",
            "none.txt",
        ),
        (
            "stream_detect",
            "--model {models}/demo-detector --labels {models}/demo-detector/labels.txt",
            "is a bundle, which says its labels itself",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_spark_starts(
    name: str, more: str, said: str, root: Path, tmp_path: Path, capsys: Any
) -> None:
    assert refused(name, f"{JOBS[name]} {more}", root, tmp_path) == 2

    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith(name)]
    assert said in line


def test_a_limit_that_a_text_reader_does_not_have_is_refused(
    root: Path, tmp_path: Path, capsys: Any
) -> None:
    reader = ModelSpec.inspect(save_text_reader(tmp_path / "reader")).save(tmp_path / "bundle")
    flags = f"{JOBS['stream_detect']} --model {reader} --max-detections 3"

    assert refused("stream_detect", flags, root, tmp_path) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert "--max-detections 3: model 'reader' reads text, of which all lines are kept" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--keys {tmp}/none.txt", "none.txt does not exist"),
        ("--keys {tmp}/keys.json", "a list ends with .txt, .csv, .parquet"),
        ("--images {pictures} --dead-letters {tmp}/o/letters", "--dead-letters"),
        ("--images {pictures} --dead-letters {docs}", "which is not of such a job"),
    ],
)
def test_places_of_a_batch_are_checked_before_spark_starts(
    flags: str, said: str, root: Path, tmp_path: Path, capsys: Any
) -> None:
    flags = f"{flags} --model {{models}}/demo-embedder --output {{tmp}}/o"

    assert refused("batch_embed", flags, root, tmp_path) == 2

    assert said in capsys.readouterr().err


def test_letters_of_a_batch_do_not_go_to_a_topic(root: Path, tmp_path: Path, capsys: Any) -> None:
    flags = f"{JOBS['batch_embed']} --model m --dead-letters kafka:letters"

    with pytest.raises(SystemExit):
        refused("batch_embed", flags, root, tmp_path)

    assert "this job keeps its letters in a folder" in capsys.readouterr().err


def refused(name: str, flags: str, root: Path, tmp_path: Path) -> int:
    """The exit code of a job that ends before it asks for a session."""
    (tmp_path / "pictures").mkdir()
    script = job(root, name)
    script.job_session = None  # called, it would be another error
    known = {
        "tmp": tmp_path,
        "pictures": tmp_path / "pictures",
        "models": root / "models",
        "docs": root / "docs",
    }
    code: int = script.main(flags.format(**known).split())
    return code
