"""`make bench-quick`: classify_image in Spark beside a plain two-process loop, in one run.

Same pictures, same engine, same decode, one thread each, two processes; rounds are interleaved
A B A B, so that a machine whose speed drifts does not favour one side. Prints the median images/s
of each, and the ratio pair by pair. The model is a MobileNetV2 (224x224, 1,000 classes, random
weights: they cost the same) made here once and kept under build/bench.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
IMAGES, ROUNDS, PROCESSES = 1000, 5, 2


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


def make_images() -> list[bytes]:
    """640x480 JPEGs: drawn scenes, each used several times."""
    from pyspark_vision import scenes

    pictures = []
    for seed in range(50):
        buffer = io.BytesIO()
        scenes.draw_scene(seed, (640, 480))[0].save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    return [pictures[i % len(pictures)] for i in range(IMAGES)]


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


def main() -> None:
    model = make_model()
    from pyspark.sql import SparkSession

    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.functions import classify_image

    spec = ModelSpec.inspect(model, task="classify", normalization="tf")
    images = make_images()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    loops = []
    for index in range(PROCESSES):
        requests = context.Queue()
        share = images[index::PROCESSES]
        process = context.Process(target=loop_worker, args=(spec, share, requests, answers))
        process.start()
        loops.append((process, requests))

    spark = (
        SparkSession.builder.master(f"local[{PROCESSES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    frames = spark.createDataFrame([(data,) for data in images], "content binary")
    frames = frames.repartition(PROCESSES).cache()
    frames.count()
    classified = frames.select(classify_image("content", spec).alias("r"))

    def run_loop() -> float:
        started = time.perf_counter()
        for _, requests in loops:
            requests.put(True)
        for _ in loops:
            answers.get()
        return IMAGES / (time.perf_counter() - started)

    def run_spark() -> float:
        started = time.perf_counter()
        classified.write.format("noop").mode("overwrite").save()
        return IMAGES / (time.perf_counter() - started)

    run_loop(), run_spark()  # both warm: processes started, models loaded
    rounds = []
    for index in range(ROUNDS):
        spark_rate, loop_rate = run_spark(), run_loop()
        rounds.append((spark_rate, loop_rate))
        print(
            f"round {index + 1}: spark {spark_rate:6.1f} images/s, loop {loop_rate:6.1f} images/s, "
            f"ratio {spark_rate / loop_rate:.3f}",
            flush=True,
        )
    for process, requests in loops:
        requests.put(False)
        process.join()
    spark.stop()
    ratios = sorted(ours / plain for ours, plain in rounds)
    print(
        f"classify_image {statistics.median(r[0] for r in rounds):.1f} images/s, plain "
        f"{PROCESSES}-process loop {statistics.median(r[1] for r in rounds):.1f} images/s; "
        f"ours/loop: median {statistics.median(ratios):.3f}, "
        f"from {ratios[0]:.3f} to {ratios[-1]:.3f} in {ROUNDS} rounds of {IMAGES} images"
    )


if __name__ == "__main__":
    main()
