"""Each function as a SQL function: the lines of docs/sql.md, run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tiny_dual_encoder
import tiny_text_reader
from onnx_models import save_colors, save_poser
from pictures import encoded
from pyspark.sql import SparkSession

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from pyspark_vision import functions
from pyspark_vision.bundles import ModelSpec
from pyspark_vision.clients import scenes

ROW = re.compile(r"^\| `(\"\w+\", .*)` \| `(SELECT .*)` \|$", re.MULTILINE)
# Of two pictures, a drawn scene and one with the text "ab": what each line's query gives.
EXPECTED = 14


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, classifier: ModelSpec, detector: ModelSpec
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    colors = save_colors(folder / "colors.onnx")
    clip = tiny_dual_encoder.save_dual_encoder(folder / "clip", tokens="n")
    return {
        "classifier": classifier,
        "detector": detector,
        "segmenter": ModelSpec.inspect(
            colors, task="segment", normalization="none", score_kind="logit"
        ),
        "poser": ModelSpec.inspect(save_poser(folder / "poser.onnx"), resize="stretch"),
        "dual": ModelSpec.inspect(clip, logit_scale=4.0),
        "reader": ModelSpec.inspect(tiny_text_reader.save_text_reader(folder / "reader")),
    }


@pytest.fixture(scope="module")
def session(spark: SparkSession) -> SparkSession:
    pictures = [
        (0, encoded(scenes.draw_scene(1)[0], "PNG")),
        (1, encoded(tiny_text_reader.picture(("ab", (40, 60), 0)), "PNG")),
        (2, None),
    ]
    images = spark.createDataFrame(pictures, "id int, content binary").coalesce(1)
    images.createOrReplaceTempView("images")
    return spark


def test_each_line_of_the_guide_registers_a_function_and_has_answers(
    session: SparkSession, models: dict[str, Any], root: Path
) -> None:
    lines = ROW.findall((root / "docs" / "sql.md").read_text(encoding="utf-8"))
    answers = {}
    for arguments, query in lines:
        names = {**vars(functions), **models, "spark": session}
        exec(f"register(spark, {arguments})", names)
        # Values alone: with a filter the model would run again.
        answers[arguments.split('"')[1]] = [row[0] for row in session.sql(query).collect()]

    assert len(answers) == EXPECTED
    labels = answers["classify"]
    assert isinstance(labels[0], str)
    assert labels[2] is None
    assert {*answers["name_it"]} <= {"a red car", "a blue boat", None}
    assert answers["detect"][0] > 0
    assert sum(answers["segment"][1]) == 400 * 300
    assert len(answers["pose"][0][0]) == 17
    assert len(answers["embed"][0]) == 3
    assert answers["embed_query"] == [pytest.approx([1, 0, 0])]
    assert answers["read_lines"][1:] == [["ab"], None]
    assert answers["decode_picture"][1:] == [400, None]
    for name in ("draw", "draw_masks", "draw_pose", "draw_lines"):
        assert bytes(answers[name][1]).startswith(b"\xff\xd8")
        assert answers[name][2] is None
    assert [len(one or ()) for one in answers["classify_all"]] == [5, 5, 0]
