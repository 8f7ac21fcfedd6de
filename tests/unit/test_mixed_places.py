"""No job writes where it reads, or removes what it has not written; it says so before Spark."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pyspark_vision.clients import scenes
from pyspark_vision.job import start
from pyspark_vision.job.places import Place


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for seed in range(2):
        (tmp_path / "in" / "cam").mkdir(parents=True, exist_ok=True)
        scenes.draw_scene(seed, (64, 48))[0].save(tmp_path / "in" / "cam" / f"{seed}.jpg")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "keys.txt").write_text("s3://b/a.jpg\n")
    return tmp_path


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def run(root: Path, name: str, flags: str, folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, root / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(flags.format(f=folder, models=root / "models").split())


DETECT = "--model {models}/demo-detector --trigger available-now "


@pytest.mark.parametrize(
    ("job", "flags", "said"),
    [
        (
            "batch_embed",
            "--images {f}/in --output {f}/in --overwrite",
            "--images {f}/in is the same place as --output {f}/in",
        ),
        ("batch_embed", "--images {f}/in --output {f} --overwrite", "lies in --output {f}"),
        ("batch_embed", "--images {f}/in --output {f}/in/out", "holds --output {f}/in/out"),
        ("batch_embed", "--keys {f}/lists/keys.txt --output {f}/lists --overwrite", "lies in"),
        (
            "batch_embed",
            "--keys s3://b/in --output s3a://b/in-out",
            "holds --output s3a://b/in-out",
        ),
        (
            "stream_detect",
            DETECT + "--input {f}/in --output {f}/in/out --checkpoint {f}/c",
            "--input {f}/in holds --output",
        ),
        (
            "stream_detect",
            DETECT + "--input {f}/in --output {f}/out --checkpoint {f}/in/c",
            "--input {f}/in holds --checkpoint",
        ),
        (
            "stream_detect",
            DETECT + "--input {f}/in --output {f}/out --checkpoint {f}/out",
            "--output {f}/out is the same place as --checkpoint",
        ),
        (
            "stream_detect",
            DETECT + "--input {f}/in --output {f}/out --dead-letters {f}/out --checkpoint {f}/c",
            "--output {f}/out is the same place as --dead-letters",
        ),
        (
            "stream_detect",
            DETECT + "--input {f}/in --sink parquet json --output {f}/out --output-json {f}/out/j "
            "--checkpoint {f}/c",
            "--output {f}/out holds --output-json",
        ),
        (
            "stream_detect",
            DETECT + "--kafka-topic a --output-kafka-topic a --checkpoint {f}/c",
            "both name the topic a",
        ),
        (
            "stream_detect",
            DETECT + "--kafka-topic a --dead-letters kafka:a --checkpoint {f}/c",
            "both name the topic a",
        ),
        (
            "stream_detect",
            DETECT + "--kafka-topic-pattern cam-.* --dead-letters kafka:cam-9 --checkpoint {f}/c",
            "both name the topic cam-9",
        ),
        (
            "stream_classify",
            "--output-gcs-path {f}/out --checkpoint {f}/out/c",
            "--output-gcs-path {f}/out holds --checkpoint",
        ),
        ("stream_classify", "--output-kafka-topic image-stream --checkpoint {f}/c", "both name"),
        (
            "extract_events",
            "--output {f}/out --dead-letters {f}/out",
            "lies in --dead-letters {f}/out",
        ),
        (
            "extract_events",
            "--stream --checkpoint {f}/out/extracted_events/c --output {f}/out",
            "holds --checkpoint",
        ),
    ],
)
def test_places_that_touch_are_one_line_and_nothing_is_touched(
    job: str, flags: str, said: str, root: Path, pictures: Path, capsys: Any
) -> None:
    if job == "batch_embed":
        flags += " --model {models}/demo-embedder"
    before = tree(pictures)

    code = run(root, job, flags, pictures)

    [line] = capsys.readouterr().err.splitlines()
    assert code == 2
    assert line.startswith(f"{job}: ")
    assert said.format(f=pictures) in line
    assert tree(pictures) == before


@pytest.mark.parametrize(
    ("output", "has_hadoop_conf", "with_session"),
    [("out", False, [False]), ("s3a://b/out", False, [True]), ("out", True, [True])],
)
def test_what_is_written_is_looked_at_once_and_before_spark_where_it_is_on_this_machine(
    output: str,
    has_hadoop_conf: bool,
    with_session: list[bool],
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "job_session", lambda name: spark)
    for variable in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(variable, raising=False)
    if has_hadoop_conf:
        monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop")
    calls: list[bool] = []
    places = [Place("--output", output, is_written=True), Place("--model", "models/x")]

    start.session_for("job", places, lambda session: calls.append(session is not None))

    assert calls == with_session


def test_overwrite_removes_only_what_the_job_wrote(
    spark: SparkSession, root: Path, pictures: Path, capsys: Any
) -> None:
    flags = "--images {f}/in --model {models}/demo-embedder --output {f}/out "
    assert run(root, "batch_embed", flags, pictures) == 0
    (pictures / "out" / "notes.txt").write_text("mine")
    (pictures / "in" / "cam" / "0.jpg").unlink()

    code = run(root, "batch_embed", flags + "--overwrite", pictures)

    rows = spark.read.parquet(f"{pictures}/out/batch_id=*").collect()
    assert code == 0
    assert [row["origin"].rsplit("/", 1)[-1] for row in rows] == ["1.jpg"]
    assert (pictures / "out" / "notes.txt").read_text() == "mine"


def test_overwrite_of_what_others_wrote_is_refused(
    spark: SparkSession, root: Path, pictures: Path, capsys: Any
) -> None:
    spark.range(1).write.parquet(f"{pictures}/out")
    before = tree(pictures)
    flags = "--images {f}/in --model {models}/demo-embedder --output {f}/out --overwrite"

    assert run(root, "batch_embed", flags, pictures) == 2

    assert "--overwrite removes only what batch_embed wrote" in capsys.readouterr().err
    assert tree(pictures) == before


def test_overwrite_removes_nothing_where_no_mark_is(
    spark: SparkSession, root: Path, pictures: Path
) -> None:
    mine = [pictures / "out" / name / "mine" for name in ("_failed", "_checkpoint", "_staging_1")]
    for file in mine:
        file.parent.mkdir(parents=True)
        file.write_text("mine")
    flags = "--images {f}/in --model {models}/demo-embedder --output {f}/out --overwrite"

    assert run(root, "batch_embed", flags, pictures) == 0

    assert [file.read_text() for file in mine] == ["mine"] * 3


def test_the_same_folder_in_another_spelling_goes_on_and_another_one_does_not(
    spark: SparkSession, root: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(pictures)
    flags = "--model {models}/demo-embedder --output {f}/out --settle 0 --images "
    assert run(root, "batch_embed", flags + "in", pictures) == 0
    capsys.readouterr()

    for spelling in ("in/", "./in", "{f}/in", "file:{f}/in"):
        assert run(root, "batch_embed", flags + spelling, pictures) == 0
        assert "images in 0, embedded 0, failed 0, were there 2" in capsys.readouterr().out
    (pictures / "elsewhere" / "in").mkdir(parents=True)
    scenes.draw_scene(3, (64, 48))[0].save(pictures / "elsewhere" / "in" / "3.jpg")
    monkeypatch.chdir(pictures / "elsewhere")
    assert run(root, "batch_embed", flags + "in", pictures) == 2
    assert "source was file:" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a[b]c", "back\\slash", "{x}*?"])
def test_an_output_with_an_odd_name_is_refused_to_a_second_run(
    name: str, spark: SparkSession, root: Path, pictures: Path
) -> None:
    flags = DETECT + "--input {f}/in --output {f}/out/" + name.replace("{", "{{").replace("}", "}}")
    assert run(root, "stream_detect", flags + " --checkpoint {f}/c1", pictures) == 0

    assert run(root, "stream_detect", flags + " --checkpoint {f}/c2", pictures) == 2

    assert (pictures / "out" / name / "batch_id=0").is_dir()
