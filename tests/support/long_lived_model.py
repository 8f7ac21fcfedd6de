"""A driver whose model outlives sessions, swept folders and executors, on a cluster.

``long_lived_model.py MASTER BUNDLE SCRATCH``: prints JSON, one line, what it found.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.watched import WatchedBundle
from pyspark_vision.functions import classify_image, register


def session(master: str, scratch: str) -> SparkSession:
    conf = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.cores.max": "1",
        "spark.local.dir": scratch,
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(master).appName("long_lived_model")
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def pictures(spark: SparkSession) -> DataFrame:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, "PNG")
    rows = [(buffer.getvalue(),), (b"no image",)]
    return spark.createDataFrame(rows, "content BINARY").coalesce(1)


def codes(found: DataFrame) -> list[str | None]:
    return [code for (code,) in found.collect()]


def executor(spark: SparkSession) -> int:
    """The process id of the executor that a task gets now."""

    def parent(_: int) -> int:
        import os

        # worker -> daemon -> executor
        return int(Path(f"/proc/{os.getppid()}/stat").read_text().rsplit(")", 1)[1].split()[1])

    ((pid,),) = spark.range(0, 1, 1, 1).select(F.udf(parent, "int")("id")).collect()
    return int(pid)


def main(master: str, bundle: str, scratch: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    spark = session(master, scratch)
    watched = WatchedBundle(spark, bundle)
    result = classify_image("content", watched.newest())["error"]["code"].alias("code")
    found["first session"] = codes(pictures(spark).select(result))

    second = spark.newSession()
    register(second, "classify", classify_image, ModelSpec.load(bundle), top_k=1)
    pictures(second).createOrReplaceTempView("pictures")
    found["second session, in SQL"] = codes(
        second.sql("SELECT classify(content).error.code FROM pictures")
    )

    before = executor(spark)
    shutil.rmtree(SparkFiles.getRootDirectory())
    shutil.rmtree(bundle)
    watched.newest()
    os.kill(before, signal.SIGKILL)
    found["another executor, after a sweep"] = codes(pictures(spark).select(result))
    found["is another"] = executor(spark) != before

    spark.stop()
    try:
        codes(pictures(session(master, scratch)).select(result))
    except Exception as error:
        found["column of a session that ended"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])), flush=True)
