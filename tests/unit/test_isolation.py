"""Rows that end or hang their process cost a row each, not the job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_models import save_warner
from pictures import asymmetric, encoded
from poison import HANG, KILL, poisoned_decoder
from poisoned_rows_job import POISONED, ROWS

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.models import model_files
from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, HeadOptions
from pyspark_vision.executor.pipeline import Inference
from pyspark_vision.executor.row_errors import ErrorCode, RowError, WarningCode
from pyspark_vision.executor.worker.isolated_child import predictor
from pyspark_vision.executor.worker.isolation import IsolatedRows

ROOT = Path(__file__).resolve().parent.parent.parent
BEST = ClassifyOptions(1, 0.0)
PICTURE = encoded(asymmetric(), "JPEG")


@pytest.fixture
def children_with_poisoned_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes get a decoder that dies or hangs on marked pictures."""
    monkeypatch.syspath_prepend(poisoned_decoder(tmp_path)["PYTHONPATH"])


def isolated(
    row_timeout_s: float = 60,
    spec: ModelSpec | None = None,
    head: HeadOptions = BEST,
) -> IsolatedRows:
    spec = spec or ModelSpec.load(ROOT / "models" / "demo-classifier")
    published = model_files.PublishedFile(spec.path, spec.sha256, False, on_every_node=True)
    arguments = (Inference(spec, published, DecodeOptions(), head), spec.path, 1, None)
    (expected,) = predictor(arguments)(PICTURE)
    assert expected.error is None
    return IsolatedRows(arguments, row_timeout_s)


def test_rows_in_a_child_are_those_of_the_worker() -> None:
    rows = isolated()
    try:
        good, null, empty, other, failed = rows.predict(
            [PICTURE, None, b"", b"no picture", RowError(ErrorCode.FETCH_DENIED, "no")]
        )
    finally:
        rows.close()
    assert (good.error, good.width, good.height) == (None, 48, 32)
    assert len(good.value.scores) == 1
    codes = [row.error.code for row in (null, empty, other, failed) if row.error]
    assert codes == ["null_input", "empty_input", "unsupported_format", "fetch_denied"]


def test_a_row_from_a_child_keeps_its_warnings(tmp_path: Path) -> None:
    spec = ModelSpec.inspect(save_warner(tmp_path / "m.onnx"), accept=True)
    rows = isolated(spec=spec, head=DetectOptions(0.5, 10, 0.5))
    try:
        (row,) = rows.predict([PICTURE])
    finally:
        rows.close()
    assert (len(row.value.scores), row.error) == (1, None)
    assert [warning.code for warning in row.warnings] == [WarningCode.BOXES_WITHOUT_AREA]


@pytest.mark.usefixtures("children_with_poisoned_decoder")
def test_a_child_that_dies_costs_its_row_and_the_next_rows_get_another() -> None:
    rows = isolated()
    try:
        found = rows.predict([PICTURE, PICTURE + KILL, PICTURE])
    finally:
        rows.close()
    assert [row.error and row.error.code for row in found] == [None, "crashed", None]
    assert found[1].error is not None
    assert found[1].error.message == (
        "memory ran out, most likely: its process was ended by signal 9, more than once"
    )


def test_a_child_that_is_killed_from_outside_costs_no_row() -> None:
    rows = isolated()
    try:
        first = rows.predict([PICTURE])
        assert rows._child is not None
        rows._child._process.kill()
        second = rows.predict([PICTURE])
    finally:
        rows.close()
    assert second[0].error is None
    assert second[0].value == first[0].value


@pytest.mark.usefixtures("children_with_poisoned_decoder")
def test_a_child_that_hangs_is_ended_within_its_time() -> None:
    rows = isolated(row_timeout_s=0.5)
    try:
        found = rows.predict([PICTURE + HANG, PICTURE])
    finally:
        rows.close()
    assert [row.error and row.error.code for row in found] == ["crashed", None]
    assert found[0].error is not None
    assert found[0].error.message == "its process did not answer within 0.5 s, more than once"


@pytest.mark.slow
def test_in_spark_poisoned_rows_get_errors_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = poisoned_decoder(tmp_path)["PYTHONPATH"] + os.pathsep + str(ROOT / "tests" / "support")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "poisoned_rows_job.py")],
        env={**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    rows = {int(key): value for key, value in found["rows"].items()}
    assert sorted(rows) == list(range(ROWS))
    assert [key for key, value in rows.items() if value == "crashed"] == sorted(POISONED)
    assert rows[3] == "truncated"
    assert "did not answer within 3 s" in found["messages"]["17"]
    assert min(found["attempts"][str(key)] for key in POISONED) > 1
