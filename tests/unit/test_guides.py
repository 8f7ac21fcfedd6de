"""README.md and the guides: each code block is run, or there is a reason; flags are known."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import guides
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny_text_reader
from deploying import command as deploying
from onnx_models import save_yolo_masks, save_yolo_points
from PIL import Image
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.cli import produce
from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.clients import scenes

# Where a block is run: by its guide and how it begins.
RUN = {
    ("README.md", "from pyspark.sql"): "tests/unit/test_readme.py",
    ("README.md", "from pyspark_vision.transformations"): "tests/unit/test_readme.py",
    ("README.md", ". .venv/bin/activate"): "tests/services/test_guides_on_services.py",
    ("batch.md", "scripts/submit"): "tests/unit/test_guides.py",
    ("bigquery.md", "scripts/submit"): "tests/services/test_bigquery_on_services.py",
    ("bigquery.md", "import duckdb"): "tests/services/test_monitoring_queries.py",
    ("batch.md", "import pandas"): "tests/unit/test_guides.py",
    ("cameras.md", "pyspark-vision produce --source drawn"): (
        "tests/services/test_guides_on_services.py"
    ),
    ("cameras.md", "pyspark-vision produce --source hall"): "tests/unit/test_guides.py",
    ("cameras.md", "pyspark-vision simulate"): "tests/services/test_guides_on_services.py",
    ("clusters.md", "scripts/submit replay"): "tests/services/test_guides_on_services.py",
    ("dashboard.md", "pyspark-vision dashboard"): "tests/unit/test_dashboard_page.py",
    ("dataproc.md", "scripts/deploy_dataproc"): "tests/unit/test_deploy_dataproc.py",
    ("events.md", "scripts/submit"): "tests/services/test_guides_on_services.py",
    ("events.md", "$ scripts/submit jobs/extract_events.py -- --kafka"): (
        "tests/services/test_guides_on_services.py"
    ),
    (
        "events.md",
        "$ scripts/submit jobs/extract_events.py -- --print",
    ): "tests/unit/test_guides.py",
    ("events_api.md", "pyspark-vision events-api"): "tests/services/test_guides_on_services.py",
    ("events_api.md", "$ curl"): "tests/services/test_guides_on_services.py",
    ("gcs.md", "pyspark-vision simulate"): "tests/services/test_guides_on_services.py",
    ("gcs.md", "from pyspark_vision"): "tests/services/test_guides_on_services.py",
    ("images.md", "from pyspark.sql"): "tests/unit/test_guides.py",
    ("images.md", "from pyspark_vision.functions"): "tests/unit/test_guides.py",
    ("images.md", "thermal ="): "tests/unit/test_guides.py",
    ("million_pictures.md", "import duckdb"): "tests/unit/test_guides.py",
    ("pubsub.md", "scripts/submit"): "tests/services/test_classify_objects.py",
    ("pubsub.md", "from pyspark_vision"): "tests/services/test_pubsub_source.py",
    ("pixels.md", "from pyspark.sql"): "tests/unit/test_guides.py",
    ("pixels.md", "from pycocotools"): "tests/unit/test_guides.py",
    ("pubsub.md", "pyspark-vision replay"): "tests/services/test_replay_over_pubsub.py",
    ("quickstart.md", "from pathlib"): "tests/unit/test_guides.py",
    ("quickstart.md", "results.where"): "tests/unit/test_guides.py",
    ("text.md", "pyspark-vision bundle build"): "tests/unit/test_guides.py",
    (
        "text.md",
        "from pyspark_vision import ModelSpec, draw_text_lines",
    ): "tests/unit/test_guides.py",
    ("text.md", "import io"): "tests/unit/test_guides.py",
    ("text.md", "from pyspark.sql import functions"): "tests/unit/test_guides.py",
    ("text.md", "+-------+--------------+"): "tests/unit/test_guides.py",
    ("text.md", "+-------+------+\n"): "tests/unit/test_guides.py",
    ("your_model.md", "pyspark-vision bundle inspect model.tflite --labels"): (
        "tests/unit/test_guides.py"
    ),
    ("your_model.md", "pyspark-vision bundle inspect model.tflite --images"): (
        "tests/unit/test_guides.py"
    ),
    ("your_model.md", "pyspark-vision bundle verify"): "tests/unit/test_guides.py",
    ("your_model.md", "# reference.py"): "tests/unit/test_guides.py",
    ("your_model.md", "scripts/submit"): "tests/unit/test_guides.py",
    ("your_model.md", "from pyspark_vision"): "tests/unit/test_guides.py",
    (
        "live.md",
        "pyspark-vision live --kafka-servers 127.0.0.1:9092\n",
    ): "tests/services/test_live.py",
    (
        "live.md",
        "pyspark-vision live --kafka-servers 127.0.0.1:9092 \\",
    ): "tests/services/test_live.py",
    ("models.md", "spec = spec.with_options("): "tests/unit/test_published_preparation.py",
    ("model_files.md", "pyspark-vision bundle inspect exp"): "tests/unit/test_hugging_face.py",
    ("model_files.md", "pyspark-vision bundle inspect hand"): "tests/unit/test_task_archive.py",
    ("model_files.md", "import mlflow"): "tests/unit/test_registry.py",
    ("messages.md", "scripts/submit"): "tests/services/test_other_messages.py",
    ("sql.md", "from pyspark_vision.functions"): "tests/unit/test_guides.py",
    ("streams.md", "scripts/submit"): "tests/unit/test_guides.py",
    ("operating.md", "stream_detect: --output out belongs"): "tests/unit/test_guides.py",
    ("streams.md", "python -c"): "tests/unit/test_messages.py",
    ("receive.md", "pyspark-vision receive"): "tests/services/test_receive.py",
    ("streams.md", "import duckdb"): "tests/unit/test_later_columns.py",
    ("tables.md", "scripts/submit"): "tests/unit/test_guides.py",
    ("tables.md", "from deltalake"): "tests/unit/test_guides.py",
    ("tables.md", "spark.sql"): "tests/unit/test_guides.py",
    ("tables.md", "old = spark"): "tests/unit/test_guides.py",
    ("streams.md", "pyspark-vision replay"): "tests/services/test_guides_on_services.py",
}
NOT_RUN = {
    ("bigquery.md", "bq query"): "Google Cloud; test_monitoring_queries.py runs the queries",
    (
        "README.md",
        "make up",
    ): ("tests/services/test_up_on_services.py runs what it runs; CI runs the others"),
    ("up.md", "make up"): "tests/services/test_up_on_services.py runs what it runs",
    ("up.md", "== data and logs"): "output of make up",
    ("up.md", "pip wheel"): "tests/unit/test_wheel.py installs a wheel",
    ("README.md", "batch 0:"): "output of make demo",
    ("README.md", "make services"): "runs until Ctrl-C; tests start the same servers",
    ("README.md", "make zip"): "takes the connector from Maven Central",
    ("cameras.md", "produce: front: frames"): "output of cameras that are not here",
    ("batch.md", "batch_embed: images in"): "output of a folder with every reason in it",
    ("batch.md", "batch_embed: 4,000"): "output of a large folder",
    ("clusters.md", "scripts/submit jobs"): "clusters; the flags are checked here",
    ("clusters.md", "scripts/submit --master yarn --python"): "YARN; the flags are checked here",
    ("clusters.md", "scripts/submit --master yarn --ship"): "YARN; the flags are checked here",
    ("clusters.md", "pip install"): "tests/services/test_connect.py runs a server's jobs",
    ("kubernetes.md", "docker build"): "needs Docker and a cluster",
    ("faults.md", "pyspark-vision replay"): "as in streams.md, where it is run",
    ("million_pictures.md", "scripts/submit"): "YARN; the flags are checked here",
    ("models.md", "from pyspark_vision.bundles"): "names models that are not here",
    ("models.md", "pyspark-vision bundle build"): "names a model that is not here",
    ("models.md", "pyspark-vision bundle inspect"): "names a model that is not here",
    ("platforms.md", "gcloud"): "Google Cloud",
    ("platforms.md", "aws"): "Amazon's cloud",
    ("platforms.md", "from pyspark_vision"): "Databricks",
    ("quickstart.md", "make demo"): "CI runs it",
    ("text.md", "+----+"): "was printed by models that are not here",
    ("your_model.md", "pyspark-vision bundle build"): "names a model that is not here",
    ("streams.md", "stream_detect: frames in"): "output of a stream with stale frames",
    ("receive.md", "2026-11-28 08:00:00.250"): "output of receive",
}

# Of other programs: spark-submit, pip, kubectl, gcloud, aws and this project's benchmarks.
OTHERS_FLAGS = {
    *("--cluster", "--cluster-id", "--properties", "--region", "--steps"),
    *("--archives", "--driver-memory", "--files", "--packages", "--py-files", "--remote"),
    *("--only", "--nouse", "--dataset", "--docs", "--faults", "--messages", "--seconds"),
    *("--object-prefix", "--no-deps", "--wheel-dir"),
}


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """``build/demo/frames`` as after ``make demo``, with four good frames and a bad one."""
    frames = tmp_path / "build" / "demo" / "frames"
    frames.mkdir(parents=True)
    for seed in range(4):
        scenes.draw_scene(seed, (320, 240))[0].save(frames / f"{seed}.jpg")
    (frames / "not_an_image.jpg").write_text("this is no image")
    for file in frames.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))  # nobody writes them any more
    return frames


def test_each_block_is_run_by_a_test_or_there_is_a_reason(root: Path) -> None:
    listed = [*RUN, *NOT_RUN]
    for block in guides.blocks():
        places = [at for at in listed if at[0] == block.guide and block.text.startswith(at[1])]
        assert len(places) == 1, f"{block.guide}: {block.text.splitlines()[0]} is in {places}"
    for guide, begins in listed:
        assert guides.block(guide, begins)
    assert all((root / place).is_file() for place in RUN.values())


def known_flags(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags in the help of each job and command."""
    shown = guides.script(guides.ROOT / "scripts" / "submit").parser().format_help()
    shown += deploying.parser().format_help()
    for job in sorted((guides.ROOT / "jobs").glob("*.py")):
        shown += guides.script(job).parser().format_help()
    commands = [
        *("bundle build", "bundle inspect", "bundle verify", "contact-sheet", "dashboard"),
        "doctor",
        *("events-api", "live", "produce", "receive", "replay", "simulate", "up"),
    ]
    for command in commands:
        with pytest.raises(SystemExit):
            pyspark_vision([*command.split(), "--help"])
    return set(re.findall(r"--[a-z][a-z-]*", shown + capsys.readouterr().out))


@pytest.mark.parametrize("guide", guides.GUIDES, ids=lambda guide: guide.name)
def test_each_flag_that_a_guide_names_is_one_of_a_job_or_command(
    guide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", guide.read_text(encoding="utf-8")))

    assert named - known_flags(capsys) - OTHERS_FLAGS == set()


@pytest.mark.parametrize(
    "command",
    [
        command
        for block in guides.blocks()
        for command in block.commands
        if command.startswith("scripts/submit")
    ],
)
def test_each_submission_of_a_guide_is_one_that_can_be_made(command: str, root: Path) -> None:
    command = command.replace("jobs/…", "jobs/stream_detect.py").replace("jobs/", f"{root}/jobs/")

    submitted = guides.submission(command)

    if "FLAGS" not in command and submitted.job.parent.name == "jobs":
        assert guides.script(submitted.job).parser().parse_args(submitted.flags.argv)


def test_cameras_md_the_flags_of_real_cameras_are_those_of_the_command() -> None:
    [command] = guides.block("cameras.md", "pyspark-vision produce --source hall").commands
    parser = argparse.ArgumentParser()
    produce.add_arguments(parser)

    options = parser.parse_args(shlex.split(command)[2:])

    assert options.source == ["hall=webcam", "street=clip.mp4", "front=rtsp://10.0.0.7/stream"]
    assert (options.rate, options.size) == (5.0, (1280, 720))


def test_batch_md_a_folder_and_keys_are_embedded_and_read(
    spark: SparkSession, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text("name\n0.jpg\n1.jpg\n")
    words = {**guides.paths(tmp_path), "keys.csv": str(keys), "s3://bucket/": f"{frames.as_uri()}/"}
    of_folder, of_keys = guides.block("batch.md", "scripts/submit", words).commands

    assert guides.run(of_folder) == 0
    first = capsys.readouterr().out
    assert guides.run(f"{of_folder} --retry-failed") == 0
    second = capsys.readouterr().out
    assert guides.run(f"{of_folder} --overwrite") == 0
    anew = capsys.readouterr().out
    assert guides.run(of_keys) == 0

    names: dict[str, Any] = {}
    exec(guides.block("batch.md", "import pandas", words).text, names)
    for whole in (first, anew):
        assert whole.splitlines()[-1] == (
            "batch_embed: images in 5, embedded 4, failed 1 (unsupported_format 1)"
        )
    assert "images in 1, embedded 0, failed 1 (unsupported_format 1), were there 4" in second
    assert (len(names["good"]), len(names["failed"])) == (4, 1)
    of_vectors = {"vectors/": f"{tmp_path}/build/vectors/"}
    exec(guides.block("million_pictures.md", "import duckdb", of_vectors).text, names)
    assert {width for _, width in names["rows"].fetchall()} == {128}
    [file] = (tmp_path / "build" / "vectors_of_keys").rglob("*.csv")
    assert len(pd.read_csv(file)) == 2


@pytest.mark.slow
def test_streams_md_and_tables_md_a_folder_is_detected_into_files_and_a_table(
    spark: SparkSession, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = tmp_path / "build"
    words = guides.paths(tmp_path)
    [detect] = guides.block("streams.md", "scripts/submit", words).commands
    [into_table] = guides.block("tables.md", "scripts/submit", words).commands

    assert guides.run(detect) == 0
    assert "frames in 5, detected 4, failed 1 (unsupported_format 1)" in capsys.readouterr().out
    assert pq.read_table(build / "detections").num_rows == 5
    assert pq.read_table(build / "letters").num_rows == 1

    assert guides.run(detect.replace("detect_checkpoint", "c2")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    shown_words = {" out ": f" {build}/detections ", "c1": f"{build}/detect_checkpoint"}
    shown = guides.block("operating.md", "stream_detect: --output out belongs", shown_words).text
    since = re.compile(r"since [^)]+\)")
    assert since.sub("since", said).split() == since.sub("since", shown).split()

    assert guides.run(into_table) == 0
    capsys.readouterr()
    names: dict[str, Any] = {"spark": spark}
    exec(guides.block("tables.md", "from deltalake", words).text, names)
    assert capsys.readouterr().out == "0 5\n"
    exec(guides.block("tables.md", "old = spark", words).text, names)
    exec(guides.block("tables.md", "spark.sql", words).text, names)
    old = names["DeltaTable"](str(build / "old_detections_table")).to_pyarrow_table()
    new = names["DeltaTable"](str(build / "detections_table")).to_pyarrow_table()
    assert (old.num_rows, new.num_rows) == (5, 5)
    assert old.column_names == new.column_names


def test_events_md_the_printed_tables_are_those_of_the_guide(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begins = "$ scripts/submit jobs/extract_events.py -- --print"
    text = guides.block("events.md", begins, {"jobs/": f"{guides.ROOT}/jobs/"}).text
    command, shown = text.removeprefix("$ ").split("\n", 1)

    assert guides.run(command) == 0
    assert capsys.readouterr().out == shown


def test_sql_md_and_images_md_the_examples_run_as_they_stand(
    spark: SparkSession,
    frames: Path,
    classifier: ModelSpec,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = spark.read.format("binaryFile").load(f"{frames}/?.jpg")
    images.createOrReplaceTempView("images")
    names: dict[str, Any] = {"spark": spark, "model": classifier}
    exec(guides.block("sql.md", "from pyspark_vision.functions").text, names)
    assert capsys.readouterr().out.count("file:/") == 4

    names["found"] = images.select(names["classify_image"]("content", classifier).alias("result"))
    exec(guides.block("images.md", "from pyspark.sql").text, names)

    names["images"] = images
    exec(guides.block("images.md", "from pyspark_vision.functions").text, names)
    exec(guides.block("images.md", "thermal =").text, names)
    [album] = names["albums"].collect()
    assert [one["error"] for one in album["results"]] == [None] * 4
    assert [len(row["results"]) for row in names["clips"].collect()] == [1] * 4
    [chosen] = images.limit(1).select(names["phone"].alias("phone")).collect()
    assert chosen["phone"]["error"] is None


def test_pixels_md_finds_masks_and_points(
    spark: SparkSession, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "photos/*.jpg": f"{frames}/?.jpg",
        "yolo11n-seg.onnx": str(save_yolo_masks(tmp_path / "seg.onnx")),
        "yolo11n-pose.onnx": str(save_yolo_points(tmp_path / "pose.onnx")),
    }
    names: dict[str, Any] = {}

    exec(guides.block("pixels.md", "from pyspark.sql", words).text, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools, under numpy 2
        exec(guides.block("pixels.md", "from pycocotools").text, names)

    assert names["pixels"].shape == (240, 320)
    assert names["pixels"].sum() == names["segment"]["area"] > 0
    with Image.open(io.BytesIO(names["first"]["jpeg"])) as picture:
        assert picture.size == (320, 240)
    assert "left_shoulder" in capsys.readouterr().out


def test_quickstart_md_ends_with_a_picture_and_a_reason(
    spark: SparkSession, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = guides.paths(tmp_path)
    first = guides.block("quickstart.md", "from pathlib", words).text
    names: dict[str, Any] = {}

    exec(first, names)
    exec(guides.block("quickstart.md", "results.where").text, names)

    with Image.open(tmp_path / "build" / "first_picture.jpg") as picture:
        assert picture.size == (320, 240)
    shown = capsys.readouterr().out
    assert "not_an_image.jpg" in shown
    assert "unsupported_format" in shown


def test_your_model_md_a_file_is_looked_at_used_and_kept(
    spark: SparkSession, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = guides.ROOT / "models" / "demo-detector"
    words = {
        **guides.paths(tmp_path),
        "model.tflite": str(detector / "model.tflite"),
        "labels.txt": str(detector / "labels.txt"),
        "photos": str(frames),
        "bundles/mine": str(tmp_path / "mine"),
        "proposal.html": str(tmp_path / "proposal.html"),
    }
    of_inspect = "pyspark-vision bundle inspect model.tflite"
    [look] = guides.block("your_model.md", f"{of_inspect} --labels", words).commands
    [draw] = guides.block("your_model.md", f"{of_inspect} --images", words).commands
    [submit] = guides.block("your_model.md", "scripts/submit", words).commands

    assert guides.run(look) == 0
    assert guides.run(draw) == 0
    exec(guides.block("your_model.md", "from pyspark_vision", words).text, {})
    assert guides.run(submit) == 0

    assert (tmp_path / "proposal.html").is_file()
    printed = capsys.readouterr().out
    assert '"task": "detect"' in printed or "detect" in printed
    assert "stream_detect: frames in 5" in printed
    assert ModelSpec.load(tmp_path / "mine").box_format == "yxyx"


def test_text_md_text_is_read_and_pictures_are_named_and_found(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        **guides.paths(tmp_path),
        "ppocr/": str(tiny_text_reader.save_text_reader(tmp_path / "ppocr")),
        "bundles/ppocr": str(tmp_path / "bundle"),
        "scans/": f"{tmp_path}/",
    }
    tiny_text_reader.picture(("abж", (40, 60), 0)).save(tmp_path / "scan.png")
    [build] = guides.block("text.md", "pyspark-vision bundle build", words).commands
    read, name, search = (
        guides.block("text.md", begins, words).text
        for begins in ("from pyspark_vision import", "import io", "from pyspark.sql")
    )
    names: dict[str, Any] = {"spark": spark}

    assert guides.run(build) == 0
    exec(read, names)
    exec(name, names)
    exec(search, names)

    printed = capsys.readouterr().out
    assert re.search(r"\|\s*1\|\s*abж\|", printed)
    for begins in ("+-------+--------------+", "+-------+------+\n"):
        assert guides.block("text.md", begins).text in printed
    assert Image.open(io.BytesIO(names["with_lines"]["jpeg"])).size == (400, 300)


def test_your_model_md_a_bundle_is_proven_by_a_script(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (frames / "not_an_image.jpg").unlink()
    classifier = guides.ROOT / "models" / "demo-classifier"
    ModelSpec.load(classifier).save(tmp_path / "classifier")
    words = {
        "classifier.tflite": str(classifier / "model.tflite"),
        "bundles/classifier": str(tmp_path / "classifier"),
        " reference.py": f" {tmp_path}/reference.py",
        "photos/": str(frames),
    }
    reference = guides.block("your_model.md", "# reference.py", words).text
    (tmp_path / "reference.py").write_text(reference)
    verify = guides.block("your_model.md", "pyspark-vision bundle verify", words)

    assert guides.run(verify.commands[0]) == 0

    said, shown = capsys.readouterr().out, verify.commands[1].replace(f"{tmp_path}/", "")
    undated = re.compile(r"on \S+:")
    assert undated.sub("", said.strip()) == undated.sub("", shown)
    assert ModelSpec.load(tmp_path / "classifier").verified == said.strip()
