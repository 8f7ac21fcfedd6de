"""What contenders of the library itself share: the spec of a job, and a Spark session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.contenders.protocol import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.executor.outputs.heads import HeadOptions

# What every Spark contender has, ours and theirs. 2 GB: the documented predict_batch_udf needs
# more than Spark's 1 GB for its Arrow batches of decoded pixels.
SESSION_CONF = {
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}

TOP_K = 5


def session(job: Job) -> SparkSession:
    """A local session on the job's cores."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{job.cores}]").appName("bench")
    for key, value in {**SESSION_CONF, **job.spark_conf}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def our_session(job: Job) -> SparkSession:
    """The same as the library's commands make it, with what its jobs set."""
    from pyspark_vision.spark.session import tool_session

    conf = {**SESSION_CONF, **job.spark_conf}
    return tool_session(
        "bench", f"local[{job.cores}]", [f"{key}={value}" for key, value in conf.items()]
    )


def spec_of(job: Job) -> ModelSpec:
    """The job's model as the library knows it: a bundle, or a .tflite file."""
    from pyspark_vision.bundles import ModelSpec

    if job.model.endswith(".tflite"):
        spec = ModelSpec.inspect(job.model, task=job.task, normalization="tf", accept=True)
    else:
        spec = ModelSpec.load(job.model)
    return spec.with_options(engine=job.engine, precision=job.precision)


def head_of(job: Job) -> HeadOptions:
    """The options that classify_image, detect_objects and embed_image have by default."""
    from pyspark_vision.executor.outputs.heads import ClassifyOptions, DetectOptions, EmbedOptions

    if job.task == "classify":
        return ClassifyOptions(TOP_K, 0.0)
    return DetectOptions(0.5, 100, 0.5) if job.task == "detect" else EmbedOptions(False)


def best_class(task: str, value: Any) -> int:
    """Of one result: the best class, -1 where nothing is seen; of an embedding its largest place.

    ``value``: :class:`heads.Predictions`, :class:`heads.Detections` or a vector.
    """
    if task == "embed":
        return int(value.argmax())
    return int(value.class_ids[0]) if len(value.class_ids) else -1
