"""`make bench-quick`: classify_image in Spark beside a plain two-process loop, in one run.

Same pictures, same engine, same decode, one thread each, two processes; rounds are interleaved
A B A B, so that a machine whose speed drifts does not favour one side. Prints the median images/s
of each, and the ratio pair by pair. The model is a MobileNetV2 (224x224, 1,000 classes, random
weights: they cost the same) made here once and kept under build/bench.

Then, with a small model on small pictures, our Arrow-native UDF beside the same function as a
pandas UDF, which is what PySpark before 4.1 runs.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
IMAGES, SMALL_IMAGES, ROUNDS, PROCESSES = 600, 6000, 9, 2
ARROW, PANDAS = "Arrow-native UDF", "pandas UDF"


def make_model() -> Path:
    """A float32 MobileNetV2 as .tflite, made once, in a process of its own."""
    path = WORK / "mobilenet_v2.tflite"
    if not path.is_file():
        print("making a MobileNetV2 with random weights", flush=True)
        WORK.mkdir(parents=True, exist_ok=True)
        maker = multiprocessing.get_context("spawn").Process(target=_export, args=(path,))
        maker.start()
        maker.join()
        if maker.exitcode:
            sys.exit("the model could not be made")
    return path


def _export(path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    # A fixed batch of one, and not by way of a tf.function: see scripts/demo_detector/export.py.
    image = keras.Input((224, 224, 3), batch_size=1, name="image")
    model = keras.Model(image, keras.applications.MobileNetV2(weights=None)(image, training=False))
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def make_images(count: int, size_wh: tuple[int, int]) -> list[bytes]:
    """JPEGs of drawn scenes, each used several times."""
    from pyspark_vision import scenes

    pictures = []
    for seed in range(50):
        buffer = io.BytesIO()
        scenes.draw_scene(seed, size_wh)[0].save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    return [pictures[i % len(pictures)] for i in range(count)]


def loop_worker(spec: Any, images: list[bytes], requests: Any, answers: Any) -> None:
    """The plain loop: decode, resize, run, best five; no Spark, no rows, no errors."""
    from pyspark_vision.executor import heads
    from pyspark_vision.executor.engines import load_engine
    from pyspark_vision.executor.images import DecodeOptions, decode
    from pyspark_vision.executor.preprocess import Preprocessor

    engine = load_engine(spec, spec.path, threads=1)
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(1)
    while requests.get():
        for data in images:
            image, _ = decode(data, DecodeOptions(), spec.input_hw)
            preprocessor.fill(batch, 0, image)
            scores = {role: values[0] for role, values in engine.run(batch).items()}
            heads.classify(spec, scores, heads.ClassifyOptions(5, 0.0))
        answers.put(len(images))


def start_loops(spec: Any, images: list[bytes]) -> tuple[list[Any], Any]:
    """One process per core, each with its share of the pictures, waiting for a round."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    loops = []
    for index in range(PROCESSES):
        requests = context.Queue()
        share = images[index::PROCESSES]
        process = context.Process(
            target=loop_worker, args=(spec, share, requests, answers), daemon=True
        )
        process.start()
        loops.append((process, requests))
    return loops, answers


def main() -> None:
    model = make_model()
    from pyspark.sql import SparkSession

    from pyspark_vision import schemas
    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.bundles.storage import publish
    from pyspark_vision.executor.heads import EmbedOptions
    from pyspark_vision.executor.images import DecodeOptions
    from pyspark_vision.executor.pipeline import Inference
    from pyspark_vision.functions import classify_image
    from pyspark_vision.udf import vision_udf

    spec = ModelSpec.inspect(model, task="classify", normalization="tf")
    images = make_images(IMAGES, (640, 480))
    loops, answers = start_loops(spec, images)
    spark = (
        SparkSession.builder.master(f"local[{PROCESSES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )

    def run_loop() -> None:
        for _, requests in loops:
            requests.put(True)
        for _ in loops:
            answers.get(timeout=300)

    frames = cached(spark, images)
    ours = frames.select(classify_image("content", spec))
    rates = race({"classify_image": lambda: run_query(ours), "plain loop": run_loop}, IMAGES)
    print_ratio(rates, "classify_image", "plain loop", IMAGES)
    for process, requests in loops:
        requests.put(False)
        process.join()

    # Where pictures and model are small, what is left is the way of rows through the UDF.
    embedder = ModelSpec.load(ROOT / "models" / "demo-embedder")
    small = cached(spark, make_images(SMALL_IMAGES, (128, 96)))
    inference = Inference(embedder, publish(embedder, spark), DecodeOptions(), EmbedOptions(False))
    queries = {
        name: small.select(
            vision_udf(
                "infer", inference, schemas.EMBEDDING, name="embed", arrow_native=name == ARROW
            )("content")
        )
        for name in (ARROW, PANDAS)
    }
    runs = {name: partial(run_query, query) for name, query in queries.items()}
    print_ratio(race(runs, SMALL_IMAGES), ARROW, PANDAS, SMALL_IMAGES)
    spark.stop()


def cached(spark: Any, images: list[bytes]) -> Any:
    """The pictures as a DataFrame in memory, one partition per core."""
    frames = spark.createDataFrame([(data,) for data in images], "content binary")
    frames = frames.repartition(PROCESSES).cache()
    frames.count()
    return frames


def run_query(query: Any) -> None:
    query.write.format("noop").mode("overwrite").save()


def race(contenders: dict[str, Callable[[], None]], images: int) -> dict[str, list[float]]:
    """Images/s of each contender in each round, after one round that is not counted."""
    for run in contenders.values():  # warm: processes started, models loaded
        run()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(ROUNDS):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            rates[name].append(images / (time.perf_counter() - started))
        shown = ", ".join(f"{name} {rates[name][-1]:.1f}" for name in contenders)
        print(f"round {index + 1}, images/s: {shown}", flush=True)
    return rates


def print_ratio(rates: dict[str, list[float]], name: str, other: str, images: int) -> None:
    """Medians, and the ratio round by round: its median and spread."""
    ratios = sorted(mine / theirs for mine, theirs in zip(rates[name], rates[other], strict=True))
    print(
        f"{name} {statistics.median(rates[name]):.1f}, {other} "
        f"{statistics.median(rates[other]):.1f} images/s (medians); {name} / {other}: median "
        f"{statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f} "
        f"({ROUNDS} rounds of {images} images)",
        flush=True,
    )


if __name__ == "__main__":
    main()
