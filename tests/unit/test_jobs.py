"""The jobs, run in this process on the shared session, and once for real through spark-submit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from job_scripts import detect_arguments, job
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.job import batch_output


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Six frames of two cameras, one of them cut short."""
    folder = tmp_path / "frames"
    for seed in range(6):
        camera = folder / f"camera-{seed % 2}"
        camera.mkdir(parents=True, exist_ok=True)
        scenes.draw_scene(seed, (320, 240))[0].save(camera / f"{seed}.jpg")
    broken = folder / "camera-1" / "5.jpg"
    broken.write_bytes(broken.read_bytes()[:3000])
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Read with another engine than the job's; rows by the number of their frame."""
    rows = pq.read_table(folder).to_pylist()
    return sorted(rows, key=lambda row: row["origin"].rsplit("/", 1)[-1])


@pytest.mark.every_spark
def test_stream_detect_writes_each_frame_once_with_its_result_or_reason(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = detect_arguments(
        root, frames, tmp_path, "--max-files-per-trigger", "4", "--sink", "parquet", "console"
    )

    code = job(root, "stream_detect").main(arguments)

    rows = rows_of(tmp_path / "out")
    assert code == 0
    assert [row["origin"].rsplit("/", 1)[-1] for row in rows] == [f"{i}.jpg" for i in range(6)]
    assert [row["error"] and row["error"]["code"] for row in rows] == [None] * 5 + ["truncated"]
    assert {(row["width"], row["height"]) for row in rows[:5]} == {(320, 240)}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "_job",
        "_lease",
        "batch_id=0",
        "batch_id=1",
    ]
    printed = capsys.readouterr().out
    assert "frames in 6" in printed
    assert "failed 1 (truncated 1)" in printed
    assert "! truncated: JPEG" in printed


def test_stream_detect_goes_on_where_it_was(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    detect = job(root, "stream_detect")
    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0
    scenes.draw_scene(6, (320, 240))[0].save(frames / "6.jpg")
    capsys.readouterr()

    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0

    assert "frames in 1," in capsys.readouterr().out
    assert len(rows_of(tmp_path / "out")) == 7


def test_stream_detect_refuses_to_overwrite_another_runs_output(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    detect = job(root, "stream_detect")
    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0
    before = rows_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "checkpoint")

    code = detect.main(detect_arguments(root, frames, tmp_path))

    assert code == 2
    assert "Choose a new output" in capsys.readouterr().err
    assert rows_of(tmp_path / "out") == before


def test_a_replayed_batch_replaces_its_rows(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path
) -> None:
    detect = job(root, "stream_detect")
    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0
    # A driver that dies after its sinks and before Spark's commit leaves exactly this.
    for name in ("0", ".0.crc"):
        (tmp_path / "checkpoint" / "commits" / name).unlink()

    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0

    assert len(rows_of(tmp_path / "out")) == 6


def test_annotate_adds_a_jpeg_of_each_readable_frame(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path
) -> None:
    code = job(root, "stream_detect").main(detect_arguments(root, frames, tmp_path, "--annotate"))

    images = [row["image"] for row in rows_of(tmp_path / "out")]
    assert code == 0
    assert [image is not None and image[:3] == b"\xff\xd8\xff" for image in images] == [
        True,
        True,
        True,
        True,
        True,
        False,
    ]


def test_dry_run_prints_the_plan_and_writes_nothing(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capfd: Any
) -> None:
    code = job(root, "stream_detect").main(detect_arguments(root, frames, tmp_path, "--dry-run"))

    assert code == 0
    assert "detect_objects" in capfd.readouterr().out
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "checkpoint").exists()


def test_options_come_from_toml_and_flags_win(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    toml = tmp_path / "job.toml"
    toml.write_text(
        f'[source]\ninput = "{frames}"\n[model]\nmodel = "{root}/models/demo-detector"\n'
        f'score_threshold = 1.0\n[sink]\nsink = ["parquet"]\noutput = "{tmp_path}/out"\n'
        f'checkpoint = "{tmp_path}/checkpoint"\ntrigger = "available-now"\n'
    )

    code = job(root, "stream_detect").main(["--config", str(toml), "--glob", "[01].jpg"])

    assert code == 0
    assert [row["detections"] for row in rows_of(tmp_path / "out")] == [[], []]


def test_the_example_configuration_is_read(root: Path) -> None:
    example = root / "conf" / "stream_detect.toml"

    options = job(root, "stream_detect").parser().parse_job(["--config", str(example)])

    assert options.sink == ["parquet", "console"]
    assert options.max_files_per_trigger == 64
    assert options.trigger == "3 seconds"


@pytest.mark.parametrize("name", ["stream_classify", "batch_embed"])
def test_every_example_configuration_is_read(name: str, root: Path) -> None:
    example = root / "conf" / f"{name}.toml"

    options = job(root, name).parser().parse_job(["--config", str(example)])

    assert options.config == str(example)


@pytest.mark.parametrize("name", ["stream_detect", "stream_classify", "batch_embed"])
def test_help_is_grouped_by_source_model_and_sink(name: str, root: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        job(root, name).main(["--help"])

    groups = [line for line in capsys.readouterr().out.splitlines() if line.endswith(":")]
    assert exit_.value.code == 0
    assert [group for group in groups if group in ("source:", "model:", "sink:")] == [
        "source:",
        "model:",
        "sink:",
    ]


def test_a_missing_model_is_one_line_and_exit_code_2(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    code = job(root, "stream_detect").main(
        detect_arguments(root, frames, tmp_path, "--model", str(tmp_path / "nothing"))
    )

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("stream_detect: no model at")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["stream_detect", "batch_embed"])
def test_a_missing_input_is_one_line_and_exit_code_2(
    name: str, spark: SparkSession, root: Path, tmp_path: Path, capsys: Any
) -> None:
    nothing, models = str(tmp_path / "nothing"), root / "models"
    arguments = {
        "stream_detect": f"--input {nothing} --model {models}/demo-detector "
        f"--checkpoint {tmp_path}/checkpoint",
        "batch_embed": f"--images {nothing} --model {models}/demo-embedder",
    }

    code = job(root, name).main([*arguments[name].split(), "--output", str(tmp_path / "out")])

    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(name)]
    assert code == 2
    assert len(said) == 1
    assert said[0].startswith(f"{name}: there is no {nothing}")


def test_parquet_without_output_is_refused(root: Path, frames: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as exit_:
        job(root, "stream_detect").main(
            ["--input", str(frames), "--model", "m", "--checkpoint", "c"]
        )

    assert exit_.value.code == 2
    assert "--sink parquet needs --output" in capsys.readouterr().err


def test_batch_embed_writes_vectors_with_origin_label_and_error(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, embedder: ModelSpec, capsys: Any
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]

    code = job(root, "batch_embed").main([*arguments, "--output", str(tmp_path / "vectors")])

    table = pq.read_table(tmp_path / "vectors")
    rows = sorted(table.to_pylist(), key=lambda row: row["origin"].rsplit("/", 1)[-1])
    assert code == 0
    assert table.column_names == [
        *("origin", "label", "embedding", "model", "model_digest", "error", "batch_id")
    ]
    assert [row["label"] for row in rows] == ["camera-0", "camera-1"] * 3
    lengths = [row["embedding"] and len(row["embedding"]) for row in rows]
    assert lengths == [128] * 5 + [None]
    assert rows[5]["error"]["code"] == "truncated"
    assert rows[0]["model"] == embedder.name
    assert "batch_embed: images in 6, embedded 5, failed 1 (truncated 1)" in capsys.readouterr().out


def test_batch_embed_lists_what_failed_as_letters_of_one_output(
    spark: SparkSession,
    root: Path,
    frames: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    embed, out = job(root, "batch_embed"), tmp_path / "vectors"
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    arguments += ["--dead-letters", str(tmp_path / "letters"), "--output"]

    assert embed.main([*arguments, str(out)]) == 0

    [letter] = rows_of(tmp_path / "letters")
    assert letter["origin"].endswith("camera-1/5.jpg")
    assert (letter["error_code"], letter["payload"], letter["batch_id"]) == ("truncated", None, 0)
    assert letter["model_sha256"] is not None
    assert embed.main([*arguments, str(tmp_path / "other")]) == 2
    assert "--dead-letters" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert embed.main([*arguments, str(out), "--overwrite"]) == 0
    assert len(rows_of(tmp_path / "letters")) == 1


@pytest.mark.slow
def test_batch_embed_writes_wide_csv(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]

    code = job(root, "batch_embed").main(
        [*arguments, "--output", str(tmp_path / "csv"), "--format", "csv", "--normalize"]
    )

    lines = [
        line
        for file in (tmp_path / "csv").glob("batch_id=*/part-*.csv")
        for line in file.read_text().splitlines()
    ]
    header = "origin,label," + ",".join(f"x{i}" for i in range(128))
    values = [line.split(",") for line in lines if line != header]
    assert code == 0
    assert header in lines
    assert len(values) == 6
    assert {len(row) for row in values} == {130}
    good = [row for row in values if row[2]]
    assert len(good) == 5
    assert sum(float(x) ** 2 for x in good[0][2:]) == pytest.approx(1, abs=1e-3)


def test_batch_embed_keeps_what_is_at_its_output(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "thesis.txt").write_text("mine")

    code = job(root, "batch_embed").main([*arguments, "--output", str(tmp_path / "vectors")])

    assert code == 2
    assert "holds thesis.txt, which is not of such a job" in capsys.readouterr().err
    assert (tmp_path / "vectors" / "thesis.txt").read_text() == "mine"


@pytest.mark.every_spark
def test_batch_embed_adds_images_that_came_later_and_repeats_none(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    out = str(tmp_path / "vectors")
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    embed = job(root, "batch_embed")
    assert embed.main([*arguments, "--output", out]) == 0
    scenes.draw_scene(6, (320, 240))[0].save(frames / "camera-0" / "6.jpg")
    capsys.readouterr()

    assert embed.main([*arguments, "--output", out]) == 0

    assert "batch_embed: images in 1, embedded 1, failed 0" in capsys.readouterr().out
    assert len(rows_of(Path(out))) == 7


def test_batch_embed_does_not_mix_the_vectors_of_two_settings(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    out = str(tmp_path / "vectors")
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    embed = job(root, "batch_embed")
    assert embed.main([*arguments, "--output", out]) == 0

    assert embed.main([*arguments, "--output", out, "--normalize"]) == 2

    assert "normalize was False, is True" in capsys.readouterr().err
    assert embed.main([*arguments, "--output", out, "--normalize", "--overwrite"]) == 0
    assert len(rows_of(Path(out))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("way_in", ["images", "keys"])
def test_batch_embed_does_not_mix_the_vectors_of_two_preprocessings(
    way_in: str, spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    bundle, out = tmp_path / "bundle", tmp_path / "vectors"
    model = ModelSpec.load(root / "models" / "demo-embedder")
    model.save(bundle)
    (tmp_path / "keys.txt").write_text("camera-0/0.jpg\n")
    arguments = ["--model", str(bundle), "--output", str(out)]
    arguments += {
        "images": ["--images", str(frames / "camera-0")],
        "keys": ["--keys", str(tmp_path / "keys.txt"), "--keys-base", frames.as_uri()],
    }[way_in]
    embed = job(root, "batch_embed")
    assert embed.main(arguments) == 0
    rows = rows_of(out)
    assert {row["model_digest"] for row in rows} == {model.digest}
    model.with_options(resize="letterbox").save(bundle)
    capsys.readouterr()

    assert embed.main(arguments) == 2

    assert "the model's resize was stretch, is letterbox" in capsys.readouterr().err
    assert rows_of(out) == rows
    model.with_options(licence="other", source="other").save(bundle)
    assert embed.main(arguments) == 0


def test_an_output_of_an_earlier_version_goes_on_with_the_same_file_alone(
    spark: SparkSession, tmp_path: Path, embedder: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    record = {"source": "keys", "format": "parquet", "model": f"{embedder.name} {embedder.sha256}"}
    (tmp_path / "_job").mkdir()
    (tmp_path / "_job" / "part-0.txt").write_text(json.dumps(record) + "\n")
    settings = {"source": "keys", "format": "parquet", **batch_output.model_settings(embedder)}
    other = (dataclasses.replace(embedder.files[0], sha256="0" * 64),)

    of_other = batch_output.model_settings(embedder.with_options(files=other))
    batch_output.claim(spark, str(tmp_path), settings)

    assert "is of an older version" in caplog.text
    with pytest.raises(InvalidOptionError, match="model was demo-embedder"):
        batch_output.claim(spark, str(tmp_path), of_other)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("txt", marks=pytest.mark.slow),
        pytest.param("csv", marks=pytest.mark.slow),
        "parquet",
    ],
)
@pytest.mark.every_spark
def test_batch_embed_reads_lists_of_keys_and_goes_on_with_what_is_new(
    kind: str, spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    keys = [f"camera-{i % 2}/{i}.jpg" for i in range(6)] + ["camera-0/none.jpg"]
    listed = tmp_path / f"keys.{kind}"

    def write(rows: list[str]) -> None:
        if kind == "parquet":
            pq.write_table(pa.table({"size": [1] * len(rows), "key": rows}), listed)
        else:
            header = "size,key\n" if kind == "csv" else ""
            prefix = "1," if kind == "csv" else ""
            listed.write_text(header + "".join(f"{prefix}{row}\n" for row in rows))

    out = tmp_path / "vectors"
    arguments = ["--keys", str(listed), "--keys-base", frames.as_uri(), "--output", str(out)]
    arguments += ["--model", str(root / "models" / "demo-embedder"), "--images-per-batch", "4"]
    arguments += [] if kind == "txt" else ["--keys-column", "key"]
    write(keys[:5])
    assert job(root, "batch_embed").main(arguments) == 0
    write(keys)

    assert job(root, "batch_embed").main(arguments) == 0

    rows = {row["origin"].rsplit("/", 1)[-1]: row for row in pq.read_table(out).to_pylist()}
    assert "images in 2, embedded 0, failed 2 (fetch_not_found 1, truncated 1)" in (
        capsys.readouterr().out
    )
    assert len(pq.read_table(out)) == 7
    assert rows["3.jpg"]["label"] == "camera-1"
    assert len(rows["3.jpg"]["embedding"]) == 128
    assert rows["none.jpg"]["error"]["code"] == "fetch_not_found"


@pytest.mark.slow
def test_batch_embed_makes_failed_rows_anew_when_their_cause_may_be_gone(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    arguments += ["--output", str(tmp_path / "vectors"), "--settle", "0"]
    (frames / "late.jpg").symlink_to("not-yet.jpg")
    embed = job(root, "batch_embed")
    assert embed.main(arguments) == 0
    assert "failed 2 (fetch_not_found 1, truncated 1)" in capsys.readouterr().out
    # The link's end has come. 5.jpg, which is cut short, is what it was.
    shutil.copy(frames / "camera-0" / "0.jpg", frames / "not-yet.jpg")

    assert embed.main(arguments) == 0
    first = capsys.readouterr().out
    scenes.draw_scene(5, (320, 240))[0].save(frames / "camera-1" / "5.jpg")
    assert embed.main(arguments) == 0
    second = capsys.readouterr().out
    assert embed.main([*arguments, "--retry-failed"]) == 0

    assert "images in 2, embedded 2, failed 0, were there 6" in first
    assert "images in 1, embedded 1, failed 0, were there 7" in second
    assert "images in 0, embedded 0, failed 0, were there 8" in capsys.readouterr().out
    rows = rows_of(tmp_path / "vectors")
    assert [row["error"] for row in rows] == [None] * 8
    assert len({row["origin"] for row in rows}) == 8


def test_batch_embed_has_one_row_for_each_file_whatever_links_come_later(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any, caplog: Any
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]
    arguments += ["--output", str(tmp_path / "vectors"), "--settle", "0"]
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.copy(frames / "camera-0" / "0.jpg", outer / "there.jpg")
    (frames / "m").symlink_to(outer)
    embed = job(root, "batch_embed")
    caplog.set_level("INFO", "pyspark_vision.streaming")
    assert embed.main(arguments) == 0
    (frames / "a").symlink_to(outer)
    (frames / "above").symlink_to(frames.parent)
    shutil.copy(frames / "camera-0" / "0.jpg", outer / "later.jpg")
    capsys.readouterr()

    assert embed.main(arguments) == 0

    assert "left out 2 (link_above 1, link_repeated 1), were there 7" in capsys.readouterr().out
    outside = [row["origin"] for row in rows_of(tmp_path / "vectors") if "/m/" in row["origin"]]
    assert sorted(outside) == [f"file:{frames}/m/{name}.jpg" for name in ("later", "there")]
    assert len(rows_of(tmp_path / "vectors")) == 8
    # Nobody counts bytes that executors read themselves.
    lines = [record.getMessage() for record in caplog.records if "batch_id" in record.getMessage()]
    assert len(lines) == 2
    assert not any("payload_bytes" in line for line in lines)


def test_batch_embed_ends_with_an_error_where_it_finds_no_picture(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = ["--model", str(root / "models" / "demo-embedder")]
    arguments += ["--output", str(tmp_path / "vectors"), "--images", str(frames)]
    (frames / ".DS_Store").touch()

    code = job(root, "batch_embed").main([*arguments, "--glob", "*.png"])

    printed = capsys.readouterr()
    assert code == 1
    said = [line for line in printed.err.splitlines() if line.startswith("batch_embed:")]
    reasons = "left out 7 (hidden 1, not_matching 6)"
    assert said == [f"batch_embed: there is no picture at {frames}; {reasons}"]
    assert f"images in 0, embedded 0, failed 0, {reasons}" in printed.out


@pytest.mark.slow
def test_batch_embed_writes_a_batch_of_small_rows_to_one_file(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path
) -> None:
    arguments = ["--images", str(frames), "--model", str(root / "models" / "demo-embedder")]

    assert job(root, "batch_embed").main([*arguments, "--output", str(tmp_path / "out")]) == 0

    assert len(list((tmp_path / "out").glob("batch_id=*/*.parquet"))) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--images", "in", "--keys", "k.txt"], "choose --images or --keys"),
        (["--keys", "k.txt", "--glob", "*.jpg"], "is a list, whose keys are all read"),
        (["--keys", "s3://b/p", "--glob", "*.jpg", "--all"], "choose --glob or --all"),
        (["--images", "in", "--glob", "[a"], "--glob '[a' is no pattern"),
        (["--images", "in", "--settle", "-1"], "-1 is below 0"),
        (["--images", "in", "--retry-failed", "nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_flags_of_batch_embed_that_cannot_be_meant_are_refused(
    flags: list[str], said: str, root: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as exit_:
        job(root, "batch_embed").main([*flags, "--model", "m", "--output", "o"])

    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_a_failed_file_of_a_folder_stream_is_read_again_when_it_has_changed(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path
) -> None:
    arguments = detect_arguments(root, frames, tmp_path, "--settle", "0")
    detect = job(root, "stream_detect")
    assert detect.main(arguments) == 0
    scenes.draw_scene(5, (320, 240))[0].save(frames / "camera-1" / "5.jpg")
    # One that is good is not read again, whatever happens to it.
    os.utime(frames / "camera-0" / "0.jpg", (1, 1))

    assert detect.main(arguments) == 0
    assert detect.main(arguments) == 0

    rows = rows_of(tmp_path / "out")
    codes = [row["error"] and row["error"]["code"] for row in rows if "5.jpg" in row["origin"]]
    assert sorted(codes, key=str) == [None, "truncated"]
    assert len(rows) == 7


def test_a_checkpoint_of_another_folder_or_source_is_refused_before_anything_is_read(
    spark: SparkSession, root: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    detect = job(root, "stream_detect")
    other = tmp_path / "other"
    other.mkdir()
    assert detect.main(detect_arguments(root, frames, tmp_path)) == 0
    capsys.readouterr()

    code = detect.main(detect_arguments(root, other, tmp_path))
    said = capsys.readouterr().err
    by_another_name = f"file://{frames}/../{frames.name}/"
    assert detect.main(detect_arguments(root, frames, tmp_path, "--input", by_another_name)) == 0
    (tmp_path / "checkpoint" / "_source" / "files.json").unlink()
    code_of_old = detect.main(detect_arguments(root, frames, tmp_path))

    assert (code, code_of_old) == (2, 2)
    assert f"this checkpoint reads file:{frames}, --input says file:{other}" in said
    assert "does not read a folder, or of an older version" in capsys.readouterr().err


def test_spark_submit_runs_the_zip_alone(root: Path, frames: Path, tmp_path: Path) -> None:
    """The package comes from the zip; neither PYTHONPATH nor PYSPARK_PYTHON is set."""
    zipped = tmp_path / "pyspark_vision.zip"
    subprocess.run([sys.executable, root / "scripts" / "build_zip.py", zipped], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK", "PYTHON"))}
    # As an activated virtual environment has it.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    checked = tmp_path / "checked_job.py"
    checked.write_text(
        (root / "jobs" / "stream_detect.py")
        .read_text()
        .replace(
            'if __name__ == "__main__":',
            'if __name__ == "__main__":\n    import pyspark_vision, json\n'
            '    print(json.dumps({"package": pyspark_vision.__file__}))',
        )
    )

    run = subprocess.run(
        [
            "spark-submit",
            "--master",
            "local[2]",
            "--conf",
            "spark.ui.enabled=false",
            "--py-files",
            str(zipped),
            str(checked),
            *detect_arguments(root, frames, tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-3000:]
    package = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{")))
    assert "pyspark_vision.zip" in package["package"]
    assert "frames in 6" in run.stdout
    assert "\tat " not in run.stderr  # no Java stack trace for folders that are new
    assert len(rows_of(tmp_path / "out")) == 6
