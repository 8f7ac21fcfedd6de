"""Proposals of models that give the same outputs to each picture, and what a spec makes of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_models import save_constant
from PIL import Image

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.proposal.guesses import Proposal
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import HeadOptions
from pyspark_vision.executor.predictor import Predictor


def proposed(path: Path, outputs: Mapping[str, Any], metadata: Any = None, **more: Any) -> Proposal:
    return propose_model(save_constant(path / "m.onnx", outputs, metadata=metadata), **more)


def answer(spec: ModelSpec, head: HeadOptions) -> Any:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), head)
    (row,) = predictor.predict([file.getvalue()])
    assert row.error is None, row.error
    return row.value
