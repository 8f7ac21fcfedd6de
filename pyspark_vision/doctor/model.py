"""The model, run once where the job will run it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from pyspark_vision.doctor.storage import refuse_credentials
from pyspark_vision.spark.java_errors import Problem

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def runs(session: SparkSession, uri: str) -> str:
    """Load and publish the model, and put one drawn picture through it on an executor.

    Not where it does not fit an executor's memory, which would end workers.
    """
    from pyspark_vision import functions as V
    from pyspark_vision.bundles import by_name
    from pyspark_vision.bundles.memory import worker_memory
    from pyspark_vision.job.admission import TIGHT, TOO_LITTLE, compared
    from pyspark_vision.spark.executor_memory import asked_of_executors

    refuse_credentials(uri)
    model = by_name.model(uri)
    admission = compared(worker_memory(model), asked_of_executors(session))
    if admission.state == TOO_LITTLE:
        raise Problem(f"{model.name} does not fit: {admission.numbers}", admission.advice)
    by_task: dict[str, Any] = {
        "classify": V.classify_image,
        "detect": V.detect_objects,
        "embed": V.embed_image,
        "segment": V.segment_image,
        "keypoints": V.detect_keypoints,
        "dual_encoder": V.embed_image,
        "ocr": V.read_text,
    }
    picture = session.createDataFrame([(bytearray(_picture()),)], "content binary")
    started = time.monotonic()
    result = picture.select(by_task[model.task]("content", model).alias("result")).first()
    assert result is not None  # one row in, one row out
    if result["result"]["error"]:
        error = result["result"]["error"]
        raise Problem(
            f"{model.name}: a drawn picture gives {error['code']}: {error['message']}",
            "Look at the model with `pyspark-vision bundle inspect`",
        )
    seconds = time.monotonic() - started
    advice = f". {admission.advice}" if admission.state == TIGHT else ""
    return (
        f"{model.name} ({model.task}) took {seconds:.1f} s on an executor, on {model.runs_on}; "
        f"{admission}{advice}"
    )


def _picture() -> bytes:
    from PIL import Image

    encoded = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((320, 240)).save(encoded, "JPEG")
    return encoded.getvalue()
