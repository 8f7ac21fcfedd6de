"""`make bench-quick`: classify_image in Spark beside a plain two-process loop, in one run.

Same pictures, same engine, same decode, one thread each, two processes; rounds are interleaved
A B A B, so that a machine whose speed drifts does not favour one side. Prints the median images/s
of each, and the ratio pair by pair. Also beside them: the same function as a pandas UDF, which is
what PySpark before 4.1 runs. The model is a MobileNetV2 (224x224, 1,000 classes, random
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
    from pyspark_vision.executor.heads import ClassifyOptions
    from pyspark_vision.executor.images import DecodeOptions
    from pyspark_vision.executor.pipeline import Inference
    from pyspark_vision.functions import classify_image
    from pyspark_vision.udf import vision_udf

    spec = ModelSpec.inspect(model, task="classify", normalization="tf")
    images = make_images()
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
    frames = spark.createDataFrame([(data,) for data in images], "content binary")
    frames = frames.repartition(PROCESSES).cache()
    frames.count()
    ours = frames.select(classify_image("content", spec))
    inference = Inference(spec, publish(spec, spark), DecodeOptions(), ClassifyOptions(5, 0.0))
    pandas_udf = vision_udf(
        "infer", inference, schemas.PREDICTIONS, name="pandas", arrow_native=False
    )
    through_pandas = frames.select(pandas_udf("content"))

    def run_loop() -> None:
        for _, requests in loops:
            requests.put(True)
        for _ in loops:
            answers.get(timeout=300)

    contenders = {
        "classify_image": lambda: ours.write.format("noop").mode("overwrite").save(),
        "plain loop": run_loop,
        "pandas UDF": lambda: through_pandas.write.format("noop").mode("overwrite").save(),
    }
    for run in contenders.values():  # warm: processes started, models loaded
        run()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(ROUNDS):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            rates[name].append(IMAGES / (time.perf_counter() - started))
        shown = ", ".join(f"{name} {rates[name][-1]:.1f}" for name in contenders)
        print(f"round {index + 1}, images/s: {shown}", flush=True)
    for process, requests in loops:
        requests.put(False)
        process.join()
    spark.stop()
    for name in contenders:
        print(f"{name:<15} {statistics.median(rates[name]):7.1f} images/s (median)")
    for other in ("plain loop", "pandas UDF"):
        pairs = zip(rates["classify_image"], rates[other], strict=True)
        ratios = sorted(mine / others for mine, others in pairs)
        print(
            f"classify_image / {other}: median {statistics.median(ratios):.3f}, from "
            f"{ratios[0]:.3f} to {ratios[-1]:.3f} ({ROUNDS} rounds of {IMAGES} images)"
        )


if __name__ == "__main__":
    main()
