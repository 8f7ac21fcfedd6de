"""Text in pictures: a reader of three letters, whose answers are known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_text_reader as tiny
from pictures import encoded, tagged
from PIL import Image
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from pyspark_vision import schemas
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.models.model_files import PublishedFile
from pyspark_vision.executor.outputs.heads import ReadOptions, TextLines
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode
from pyspark_vision.executor.text.text_predictor import TextPredictor
from pyspark_vision.executor.text.text_reader import TextReader
from pyspark_vision.executor.worker.isolation import IsolatedRows
from pyspark_vision.functions import classify_image, embed_text, read_text, register

OPTIONS = ReadOptions(score_threshold=0.5, box_threshold=0.5, unclip_ratio=1.6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_text_reader(tmp_path_factory.mktemp("reader") / "tiny")


@pytest.fixture(scope="module")
def spec(folder: Path) -> ModelSpec:
    return ModelSpec.inspect(folder)


@pytest.fixture(scope="module")
def reader(spec: ModelSpec) -> TextReader:
    return TextReader(spec, spec.path, threads=1)


def read(reader: TextReader, image: Image.Image, options: ReadOptions = OPTIONS) -> TextLines:
    return reader.read(np.asarray(image), options)


def corners_px(lines: TextLines, image: Image.Image) -> list[list[tuple[int, int]]]:
    """Rounded to the ten: of each line, where its corners are."""
    pixels = (lines.corners * np.array(image.size)).round(-1).astype(int)
    return [[(x, y) for x, y in quad.tolist()] for quad in pixels]


def test_lines_are_read_in_order_with_their_places(reader: TextReader) -> None:
    image = tiny.picture(("ba", (200, 60), 0), ("bж", (40, 150), 0), ("ab", (40, 60), 0))

    lines = read(reader, image)

    assert lines.texts == ("ab", "ba", "bж")
    assert (lines.scores > 0.8).all()
    # 84 x 30, and about 20 more on each side.
    assert corners_px(lines, image)[0] == [(20, 40), (140, 40), (140, 110), (20, 110)]


@pytest.mark.parametrize(
    ("degrees", "first_corner"),
    [
        (0, (40, 0)),
        (90, (40, 160)),  # from the bottom to the top
        (180, (200, 70)),
        (270, (110, 0)),
    ],
)
def test_turned_lines_are_read_and_begin_at_their_own_top_left(
    reader: TextReader, degrees: int, first_corner: tuple[int, int]
) -> None:
    image = tiny.picture(("abж", (60, 20), degrees))

    lines = read(reader, image)

    assert lines.texts == ("abж",)
    assert corners_px(lines, image)[0][0] == first_corner


def test_without_a_direction_lines_that_stand_on_their_head_are_read_as_they_stand(
    tmp_path: Path,
) -> None:
    proposal = propose_model(tiny.save_text_reader(tmp_path / "two", direction=False))
    reader = TextReader(proposal.spec, proposal.spec.path, threads=1)

    assert read(reader, tiny.picture(("abж", (60, 20), 180))).texts == ("жba",)
    assert "no file tells lines that are upside down" in proposal.why


@pytest.mark.parametrize(
    "size_wh", [(1, 1), (1, 3000), (3000, 1), (40, 20), (5000, 200), (2500, 2500)]
)
def test_a_picture_without_text_has_no_line_whatever_its_size(
    reader: TextReader, size_wh: tuple[int, int]
) -> None:
    lines = read(reader, Image.new("RGB", size_wh, "white"))

    assert (lines.texts, lines.scores.shape, lines.corners.shape) == ((), (0,), (0, 4, 2))


@pytest.mark.parametrize("size_wh", [(160, 24), (1600, 150), (150, 1600), (3000, 2000), (90, 60)])
def test_places_are_right_where_the_picture_was_resized_or_got_a_border(
    reader: TextReader, size_wh: tuple[int, int]
) -> None:
    width, height = size_wh
    strip = tiny.strip("a").resize((max(20, width // 8), max(10, height // 8)))
    image = Image.new("RGB", size_wh, "white")
    left_top = (width // 2, height // 2)
    image.paste(strip, left_top)

    lines = read(reader, image, ReadOptions(0.0, 0.5, 1.6))

    assert len(lines.texts) == 1
    center = lines.corners[0].mean(axis=0) * size_wh
    wanted = np.array(left_top) + np.array(strip.size) / 2
    assert np.abs(center - wanted).max() <= max(3, 0.02 * max(size_wh))


def test_a_line_below_the_threshold_is_left_out(reader: TextReader) -> None:
    image = tiny.picture(("ab", (40, 60), 0))

    assert read(reader, image, ReadOptions(0.99, 0.5, 1.6)).texts == ()


def test_a_picture_full_of_specks_says_that_some_were_not_read(reader: TextReader) -> None:
    dots = Image.new("RGB", (1200, 1200), "white")
    for x in range(0, 1200, 30):
        for y in range(0, 1200, 30):
            dots.paste("black", (x, y, x + 10, y + 10))

    (warning,) = read(reader, dots).warnings
    assert warning.code == "lines_capped"
    assert "1,600 places" in warning.message


def test_each_source_is_a_row_and_a_bad_one_its_reason(reader: TextReader) -> None:
    image = tiny.picture(("ab", (40, 60), 0))
    predictor = TextPredictor(reader, DecodeOptions(), OPTIONS)

    rows = predictor.predict(
        [encoded(image, "PNG"), None, b"", b"no picture", encoded(image, "PNG")]
    )

    assert [row.error and row.error.code for row in rows] == [
        None,
        ErrorCode.NULL_INPUT,
        ErrorCode.EMPTY_INPUT,
        ErrorCode.UNSUPPORTED_FORMAT,
        None,
    ]
    assert [row.value and row.value.texts for row in rows] == [("ab",), None, None, None, ("ab",)]
    assert (rows[0].width, rows[0].height) == (400, 300)


def test_a_picture_that_the_model_cannot_run_is_model_failed(
    reader: TextReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(reader, "score_map", fails)

    (row,) = TextPredictor(reader, DecodeOptions(), OPTIONS).predict(
        [encoded(tiny.picture(), "PNG")]
    )

    assert isinstance(row, Row)
    assert row.error is not None
    assert (row.error.code, row.error.message) == ("model_failed", "RuntimeError: no memory")


def test_in_a_tasks_retry_a_process_of_its_own_reads_the_same(
    spec: ModelSpec, reader: TextReader
) -> None:
    published = PublishedFile(spec.path, spec.sha256, folder=True, on_every_node=True)
    inference = Inference(spec, published, DecodeOptions(), OPTIONS)
    image = tiny.picture(("ab", (40, 60), 0))
    rows = IsolatedRows((inference, spec.path, 1, None), row_timeout_s=60)

    [row] = rows.predict([encoded(image, "PNG")])
    rows.close()

    own = read(reader, image)
    assert row.value.texts == own.texts == ("ab",)
    assert np.array_equal(row.value.corners, own.corners)


# Folders


def test_a_folder_is_known_by_what_its_files_return(folder: Path, spec: ModelSpec) -> None:
    proposal = propose_model(folder)

    assert proposal.verdict == (
        "known: tiny_det_infer.onnx finds lines, tiny_rec_infer.onnx reads them in 3 characters "
        "(in its metadata)"
    )
    assert (spec.name, spec.task, spec.file.format) == ("tiny", "ocr", "text_reader")
    assert "RapidOCR" in proposal.guesses["normalization"].why


def test_what_is_said_of_the_preparation_replaces_the_usual(folder: Path) -> None:
    spec = ModelSpec.inspect(folder, normalization="torch", input_hw=(320, 320))

    assert (spec.normalization, spec.mean, spec.input_hw) == ("torch", (0.0,), (320, 320))
    assert "normalization" not in propose_model(folder, normalization="torch").guesses
    assert ModelSpec.inspect(folder, normalization="values").mean == (0.5,)
    assert ModelSpec.inspect(folder, std=(0.25,)).mean == (0.5,)


def test_a_bundle_keeps_the_reader_and_its_digest(
    folder: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    assert pyspark_vision(["bundle", "build", str(folder), "--output", str(tmp_path / "b")]) == 0

    loaded = ModelSpec.load(tmp_path / "b")

    assert (loaded.digest, loaded.sha256) == (spec.digest, spec.sha256)
    assert sorted(path.name for path in (tmp_path / "b" / "reader").iterdir()) == [
        *("characters.json", "detector.onnx", "direction.onnx", "recognizer.onnx")
    ]
    # Inspected again, the bundle's own folder is the same model.
    assert ModelSpec.inspect(tmp_path / "b" / "reader", name="tiny").sha256 == spec.sha256


def test_the_dictionary_may_lie_beside_or_be_given(tmp_path: Path) -> None:
    folder = tiny.save_text_reader(tmp_path / "no_metadata", characters=None)
    with pytest.raises(InvalidModelError, match=r"no characters in its metadata.*labels=FILE"):
        ModelSpec.inspect(folder)

    given = ModelSpec.inspect(folder, labels=["a", "b", "ж"])
    (folder / "keys.txt").write_bytes("a\r\nb\r\nж\r\n".encode())
    beside = ModelSpec.inspect(folder)

    assert given.sha256 == beside.sha256
    stored = json.loads(Path(beside.path, "characters.json").read_text("utf-8"))
    assert stored == ["", "a", "b", "ж", " "]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"labels": ["a", "b"]}, r"5 classes, and there are 2 characters \(as given\)"),
        ({"labels": {0: "a"}}, "a text file or a list"),
        ({"task": "classify"}, "task='classify' does not fit a text reader"),
        ({"outputs": {"scores": "x"}}, "known by their shapes"),
        ({"labels": "nowhere.txt"}, r"dictionary nowhere\.txt cannot be read"),
    ],
)
def test_what_does_not_fit_a_reader_is_refused(
    folder: Path, damage: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=message):
        ModelSpec.inspect(folder, **damage)


def test_two_files_for_one_part_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "twice")
    tiny.save_recognizer(tmp_path / "twice" / "other_rec.onnx")

    with pytest.raises(InvalidModelError, match=r"other_rec\.onnx, tiny_rec_infer\.onnx could"):
        ModelSpec.inspect(tmp_path / "twice")


def test_a_detector_of_one_size_and_steps_that_are_no_probabilities_are_refused(
    tmp_path: Path,
) -> None:
    fixed = tiny.save_text_reader(tmp_path / "fixed")
    tiny.save_detector(fixed / "tiny_det_infer.onnx", hw=(640, 640))
    raw = tiny.save_text_reader(tmp_path / "raw")
    tiny.save_recognizer(raw / "tiny_rec_infer.onnx", softmax=False)

    with pytest.raises(InvalidModelError, match="H and W open"):
        ModelSpec.inspect(fixed)
    with pytest.raises(InvalidModelError, match="export it with its softmax"):
        ModelSpec.inspect(raw)


# In Spark


def test_read_text_in_spark(spark: SparkSession, spec: ModelSpec) -> None:
    upright = tiny.picture(("ab", (40, 60), 0))
    rows = [
        (0, encoded(upright, "PNG")),
        (1, None),
        (2, b"no picture"),
        (3, encoded(Image.new("RGB", (50, 50), "white"), "PNG")),
        (4, tagged(upright, 6, "PNG")),
    ]
    images = spark.createDataFrame(rows, "id int, content binary").repartition(2)
    result = images.select("id", read_text("content", spec).alias("r")).persist()
    register(spark, "read_lines", read_text, spec, score_threshold=0.4)
    images.createOrReplaceTempView("scans")

    found = {row["id"]: row["r"] for row in result.collect()}
    texts = result.select(F.explode("r.lines.text").alias("text")).collect()
    by_sql = spark.sql("SELECT read_lines(content).lines.text AS t FROM scans WHERE id = 0").first()

    assert result.schema["r"].dataType == schemas.TEXT_LINES
    assert [found[i]["error"] and found[i]["error"]["code"] for i in range(5)] == [
        *(None, "null_input", "unsupported_format", None, None)
    ]
    assert [found[i]["lines"] and [line["text"] for line in found[i]["lines"]] for i in (0, 1, 4)]
    assert (found[1]["lines"], found[2]["lines"], found[3]["lines"]) == (None, None, [])
    assert [row["text"] for row in texts] == ["ab", "ab"]
    assert by_sql is not None
    assert by_sql["t"] == ["ab"]
    # The same corners, whichever way the picture was stored.
    first, turned = (found[i]["lines"][0]["corners"] for i in (0, 4))
    assert np.allclose(first, turned, atol=0.02)
    assert (first[0]["x"], first[0]["y"]) == (pytest.approx(0.055), pytest.approx(0.14))
    assert found[0]["model_digest"] == spec.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 2}, r"score_threshold=2 must be a number within 0\.\.1"),
        ({"box_threshold": "high"}, "box_threshold='high'"),
        ({"unclip_ratio": 0}, r"unclip_ratio=0 must be a number above 0, at most 10"),
        ({"formats": ["PDF"]}, "formats"),
    ],
)
def test_options_out_of_range_are_refused(
    spark: SparkSession, spec: ModelSpec, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        read_text("content", spec, **options)  # type: ignore[arg-type]


def test_a_reader_is_for_read_text_alone(spark: SparkSession, spec: ModelSpec) -> None:
    with pytest.raises(InvalidModelError, match="has task 'ocr', not 'classify'"):
        classify_image("content", spec)
    with pytest.raises(InvalidModelError, match="has task 'ocr', not 'dual_encoder'"):
        embed_text("content", spec)
    with pytest.raises(InvalidModelError, match="read_text: model is 'tiny'"):
        read_text("content", "tiny")  # type: ignore[arg-type]


def test_reading_imports_no_opencv_before_it_is_used() -> None:
    code = (
        "import sys, pyspark_vision.executor.pipeline; print(sorted({'cv2', 'pyclipper', "
        "'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def paddle_folder(folder: Path, config: str | None) -> Path:
    """As PaddleOCR has a model's files: each in a folder, the characters in its configuration."""
    for name in ("det", "rec"):
        (folder / name).mkdir(parents=True)
    tiny.save_detector(folder / "det" / "inference.onnx")
    tiny.save_recognizer(folder / "rec" / "inference.onnx", None)
    if config is not None:
        (folder / "rec" / "inference.yml").write_text(config, encoding="utf-8")
    return folder


def test_paddles_folders_with_the_characters_in_the_configuration(tmp_path: Path) -> None:
    config = "PostProcess:\n  name: CTCLabelDecode\n  character_dict:\n  - a\n  - b\n  - ж\n"
    proposal = propose_model(paddle_folder(tmp_path / "v6", config))

    assert proposal.open_fields == []
    assert "in 3 characters (inference.yml); no file tells" in proposal.why
    reader = TextReader(proposal.spec, proposal.spec.path, threads=1)
    assert read(reader, tiny.picture(("bж", (40, 60), 0))).texts == ("bж",)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "has no characters in its metadata, and the folder has no text file"),
        ("PostProcess: {name: CTCLabelDecode}", "the folder has no text file; give the dictionary"),
        ("", "the folder has no text file"),
        ("a: [", "inference.yml is not YAML: "),
        ("PostProcess: {character_dict: [a]}", "there are 1 characters \\(inference.yml\\)"),
    ],
)
def test_paddles_folders_without_the_characters_are_refused(
    config: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidModelError, match=said):
        propose_model(paddle_folder(tmp_path / "v6", config))


def test_a_recognizer_with_time_first_is_refused(tmp_path: Path) -> None:
    folder = tiny.save_text_reader(tmp_path / "reader", direction=False)
    path = folder / "tiny_rec_infer.onnx"
    model = onnx.load(path)
    model.graph.node[3].attribute[0].ints[:] = [2, 0, 1]
    for axis, name in enumerate(("t", "n")):
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, path)

    with pytest.raises(InvalidModelError, match=r"gives \[80, 1, 5\] for one line"):
        propose_model(folder)
