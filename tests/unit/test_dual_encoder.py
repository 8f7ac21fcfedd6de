"""Dual encoders: pictures and texts in one space, by towers whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_dual_encoder as tiny
from pictures import encoded, plain_png
from PIL import Image
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

from pyspark_vision import schemas
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.cli.main import main as pyspark_vision
from pyspark_vision.clients import scenes
from pyspark_vision.columns.label_vectors import label_vectors
from pyspark_vision.errors import InvalidModelError, InvalidOptionError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import MatchOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.text.text_embeddings import embed_texts
from pyspark_vision.executor.text.text_tower import TextTower
from pyspark_vision.functions import classify_image, embed_image, embed_text, read_text, register

LABELS = ("red", "green", "blue", "red green")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tiny.save_dual_encoder(tmp_path_factory.mktemp("clip") / "tiny-clip")
    return ModelSpec.inspect(folder, logit_scale=4.0)


def best(spec: ModelSpec, picture: bytes, labels: tuple[str, ...] = LABELS) -> list[Any]:
    """``(label, score)``, best first."""
    options = MatchOptions(len(labels), 0.0, labels, label_vectors(spec, labels))
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), options)
    (row,) = predictor.predict([picture])
    return [
        (labels[index], float(score))
        for index, score in zip(row.value.class_ids, row.value.scores, strict=True)
    ]


# What a picture is named


def test_scores_are_clips_softmax_of_scaled_cosines(clip: ModelSpec) -> None:
    # The colour's vector is (1, 0.2, 0): cosines with the four texts are known.
    picture = plain_png("#ff3300")

    found = best(clip, picture)

    norm = math.hypot(1, 0.2)
    cosines = {"red": 1 / norm, "green": 0.2 / norm, "blue": 0.0}
    cosines["red green"] = 1.2 / norm / math.sqrt(2)
    exponents = {label: math.exp(4 * cosine) for label, cosine in cosines.items()}
    wanted = {label: value / sum(exponents.values()) for label, value in exponents.items()}
    assert dict(found) == pytest.approx(wanted, abs=1e-6)
    assert [label for label, _ in found] == sorted(wanted, key=lambda label: -wanted[label])


def test_scores_of_siglip_are_each_by_itself(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(
        tmp_path / "siglip",
        config={**tiny.SIGLIP, "logit_scale": math.log(10), "logit_bias": -5},
        tokenizer_config={"pad_token": "[PAD]"},
    )
    spec = ModelSpec.inspect(folder)

    found = dict(best(spec, plain_png("#ff0000")))

    assert (spec.score_kind, spec.logit_bias) == ("sigmoid", -5)
    assert spec.logit_scale == pytest.approx(10)
    assert found["red"] == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-6)
    assert found["green"] == pytest.approx(1 / (1 + math.exp(5)), abs=1e-6)


def test_the_short_side_is_resized_and_cropped_as_the_processor_says(clip: ModelSpec) -> None:
    wide = Image.new("RGB", (300, 100), "#0000ff")
    wide.paste("#ff0000", (100, 0, 200, 100))

    assert best(clip, encoded(wide, "PNG"))[0][0] == "red"
    assert (clip.resize, clip.resize_edge, clip.crop_rounding) == ("shortest_edge", 8, "floor")
    assert (clip.resize_filter, clip.input_hw) == ("bicubic", (8, 8))


# Texts


def test_texts_become_vectors_and_bad_ones_their_reason(clip: ModelSpec) -> None:
    tower = TextTower(clip.path, threads=1)

    rows = embed_texts(
        tower, ["Red", None, "", "  ", "green blue", "red red red red blue", "zebra"]
    )

    values = [None if row.value is None else row.value.tolist() for row in rows]
    assert values == [[1, 0, 0], None, None, None, [0, 1, 1], [4, 0, 0], [0, 0, 0]]
    assert [row.error and row.error.code for row in rows] == [
        *(None, "null_input", "empty_input", "empty_input", None, None, None)
    ]
    assert [[warning.code for warning in row.warnings] for row in rows] == [
        *([], [], [], [], [], ["text_cut"], [])
    ]


def test_vectors_have_length_one_where_it_is_asked_for(clip: ModelSpec) -> None:
    tower = TextTower(clip.path, threads=1)

    rows = embed_texts(tower, ["red green", "zebra"], normalize=True)

    assert rows[0].value.tolist() == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0])
    assert rows[1].value.tolist() == [0, 0, 0]


def test_many_texts_of_many_lengths_keep_their_order(clip: ModelSpec) -> None:
    tower = TextTower(clip.path, threads=1)
    texts = [" ".join(["red"] * (1 + i % 4)) for i in range(100)]

    rows = embed_texts(tower, texts)

    assert [row.value[0] for row in rows] == [1 + i % 4 for i in range(100)]


def test_a_text_that_the_tower_cannot_run_costs_itself_alone(
    clip: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = TextTower(clip.path, threads=1)
    run = tower._run

    def fails_for_two(batch: Any) -> Any:
        if any(len(one.ids) == 2 for one in batch):
            raise RuntimeError("no")
        return run(batch)

    monkeypatch.setattr(tower, "_run", fails_for_two)

    rows = embed_texts(tower, ["red", "red blue", "blue"])

    assert [row.error and row.error.code for row in rows] == [None, "model_failed", None]


@pytest.mark.parametrize(
    ("tokens", "masked", "config", "wanted"),
    [
        # Filled up to 4 with [PAD], which the mask hides, or which counts as SigLIP has it.
        (4, True, tiny.CLIP, [1, 0, 0]),
        (4, False, tiny.CLIP, [28, 27, 27]),
        ("tokens", False, tiny.SIGLIP, [28, 27, 27]),
        ("tokens", False, tiny.CLIP, [1, 0, 0]),
    ],
)
def test_texts_are_filled_up_where_the_tower_was_trained_so(
    tmp_path: Path, tokens: int | str, masked: bool, config: Any, wanted: list[float]
) -> None:
    folder = tiny.save_dual_encoder(
        tmp_path / "model",
        config=config,
        tokens=tokens,
        masked=masked,
        tokenizer_config={"pad_token": "[PAD]"},
    )
    spec = ModelSpec.inspect(folder)

    (row,) = embed_texts(TextTower(spec.path, threads=1), ["red"])

    assert row.value.tolist() == wanted


# Folders


def test_a_folder_is_known_by_what_its_files_take(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(tmp_path / "folder")

    proposal = propose_model(folder)

    assert proposal.verdict == (
        "known: vision_model.onnx takes pictures, text_model.onnx texts, into one space"
    )
    assert proposal.spec.task == "dual_encoder"
    assert list(proposal.guesses) == ["logit_scale"]
    (folder / "vision_model.onnx").rename(folder / "a.onnx")
    (folder / "text_model.onnx").rename(folder / "b.onnx")
    assert ModelSpec.inspect(folder).sha256 == proposal.spec.sha256


def test_the_image_tower_alone_is_what_task_embed_asks_for(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(tmp_path / "folder", config={"architectures": ["CLIPModel"]})

    spec = ModelSpec.inspect(folder, task="embed")

    assert (spec.task, Path(spec.path).name) == ("embed", "vision_model.onnx")


def test_what_a_folder_leaves_open_is_asked_for(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(
        tmp_path / "bare",
        config=None,
        preprocessor=None,
        tokenizer_config={"model_max_length": 4},
    )

    with pytest.raises(InvalidModelError, match=r"(?s)no preprocessor_config.*score_kind"):
        ModelSpec.inspect(folder)

    (folder / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 8}}')
    with pytest.raises(InvalidModelError, match=r"short side is given, no crop.*image_mean"):
        ModelSpec.inspect(folder, score_kind="logit")

    said = {"resize": "stretch", "normalization": "unit", "score_kind": "logit"}
    assert ModelSpec.inspect(folder, **said, logit_scale=100.0).logit_scale == 100


def test_a_bundle_keeps_towers_and_tokenizer(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(tmp_path / "tiny")
    arguments = ["bundle", "build", str(folder), "--output", str(tmp_path / "b")]

    assert pyspark_vision([*arguments, "--set", "logit_scale=4"]) == 0

    loaded = ModelSpec.load(tmp_path / "b")
    assert best(loaded, plain_png("blue"))[0][0] == "blue"
    assert sorted(path.name for path in (tmp_path / "b" / "towers").iterdir()) == [
        *("image.onnx", "text.onnx", "text_input.json", "tokenizer.json")
    ]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"width": 2}, r"a picture's vector has 2 numbers, and a text's shape is \(3,\)"),
        ({"config": None}, "how many tokens the text tower takes is not said"),
        ({"config": {"text_config": {}}, "tokens": 4}, "what shorter texts are filled up with"),
        ({"preprocessor": {**tiny.PREPROCESSOR, "image_mean": ["much"]}}, "cannot be read"),
    ],
)
def test_what_cannot_be_a_dual_encoder_is_refused(
    tmp_path: Path, made: dict[str, Any], message: str
) -> None:
    folder = tiny.save_dual_encoder(tmp_path / "model", **made)

    with pytest.raises(InvalidModelError, match=message):
        ModelSpec.inspect(folder, accept=True)


def test_files_beside_json_that_is_damaged_are_refused_by_name(tmp_path: Path) -> None:
    folder = tiny.save_dual_encoder(tmp_path / "model")
    (folder / "config.json").write_text("{", encoding="utf-8")

    with pytest.raises(InvalidModelError, match=r"config\.json is not JSON"):
        ModelSpec.inspect(folder)


# In Spark


def test_pictures_and_texts_in_spark(spark: SparkSession, clip: ModelSpec) -> None:
    rows = [
        (0, plain_png("red"), "red"),
        (1, None, None),
        (2, plain_png("blue"), "a blue thing too many"),
    ]
    df = spark.createDataFrame(rows, "id int, content binary, query string").repartition(2)
    register(spark, "name_color", classify_image, clip, top_k=1, labels=["red", "blue"])
    register(spark, "vector_of", embed_text, clip)
    df.createOrReplaceTempView("colors")

    result = df.select(
        "id",
        classify_image("content", clip, top_k=1, labels=LABELS).alias("named"),
        embed_image("content", clip, normalize=True).alias("picture"),
        embed_text("query", clip, normalize=True).alias("text"),
    ).persist()
    found = {row["id"]: row for row in result.collect()}
    by_sql = spark.sql(
        "SELECT name_color(content).predictions[0].label AS l, vector_of(query).embedding AS v "
        "FROM colors WHERE id = 2"
    ).first()

    assert result.schema["named"].dataType == schemas.PREDICTIONS
    assert result.schema["text"].dataType == schemas.TEXT_EMBEDDING
    predictions = [found[i]["named"]["predictions"] for i in (0, 1, 2)]
    assert [p and (p[0]["class_id"], p[0]["label"]) for p in predictions] == [
        *((0, "red"), None, (2, "blue"))
    ]
    assert found[0]["picture"]["embedding"] == found[0]["text"]["embedding"] == [1, 0, 0]
    assert found[1]["text"]["error"]["code"] == found[1]["named"]["error"]["code"] == "null_input"
    assert [w["code"] for w in found[2]["text"]["warnings"]] == ["text_cut"]
    assert {row["text"]["model_digest"] for row in found.values()} == {clip.digest}
    assert by_sql is not None
    assert (by_sql["l"], by_sql["v"]) == ("blue", [0, 0, 1])
    assert result.where(F.col("text.error").isNull()).count() == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "needs labels="),
        ([], "must be a list of one text or more"),
        ("red", "labels='red' must be a list"),
        (["red", " "], "labels: ' ' is not a text"),
        (["red", 3], "labels: 3 is not a text"),
        (["red", "blue", "red"], "'red' is there twice"),
        (["red green blue red green"], "more than the 4 tokens"),
    ],
)
def test_labels_that_are_no_texts_are_refused(
    spark: SparkSession, clip: ModelSpec, labels: Any, message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        classify_image("content", clip, labels=labels)


def test_a_dual_encoder_needs_its_scale_and_a_classifier_no_labels(
    spark: SparkSession, clip: ModelSpec, classifier: ModelSpec
) -> None:
    with pytest.raises(InvalidModelError, match="no logit_scale, by which its scores are made"):
        classify_image("content", clip.with_options(logit_scale=None), labels=["red"])
    with pytest.raises(InvalidOptionError, match="labels are for a dual encoder"):
        classify_image("content", classifier, labels=["red"])
    with pytest.raises(InvalidModelError, match="has task 'dual_encoder', not 'ocr'"):
        read_text("content", clip)
    with pytest.raises(
        InvalidOptionError, match="embed_text does not take exact; it takes normalize"
    ):
        register(spark, "texts", embed_text, clip, exact=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logit_scale": -1.0}, "logit_scale=-1.0 is not a number above 0"),
        ({"logit_bias": math.nan}, "logit_bias=nan is not a number"),
        ({"score_kind": "probability"}, "must be logit .* or sigmoid"),
    ],
)
def test_fields_of_a_comparison_are_checked(
    clip: ModelSpec, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=message):
        clip.with_options(**fields)


# The demo's


@pytest.mark.slow
def test_the_demo_names_drawn_objects_and_their_colours(root: Path) -> None:
    spec = ModelSpec.load(root / "models" / "demo-dual-encoder")
    labels = tuple(f"a {label}" for label in scenes.LABELS)
    drawn = [scenes.draw_single(seed) for seed in range(2_000_000, 2_000_040)]

    named = [best(spec, encoded(image, "PNG"), labels)[0][0] for image, _ in drawn]

    right = [text == f"a {found.label}" for text, (_, found) in zip(named, drawn, strict=True)]
    assert np.mean(right) >= 0.8
