"""The shape of the seeds (PyctureStream): each batch is collected on the driver, which loads the
model for it, predicts picture by picture, and sends the results by a producer of its own.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from benchmarks.contenders.keras_model import load_keras, pixels_of
from benchmarks.latency_streams.streams import Work

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def main() -> None:
    work = Work.from_argv()
    frames = work.read("seeds")
    producer = Producer({"bootstrap.servers": work.servers})

    def process(batch: DataFrame, batch_id: int) -> None:
        rows = batch.select("value").collect()
        model = _fresh_model(work.weights)
        for row in rows:
            producer.produce(work.results, json.dumps(_answer(model, bytes(row.value))))
        producer.flush()

    (
        frames.writeStream.foreachBatch(process)
        .option("checkpointLocation", work.checkpoint)
        .trigger(processingTime="0 seconds")
        .start()
        .awaitTermination()
    )


def _fresh_model(path: str) -> Any:
    import keras

    # Keras would keep the graphs of all batches before.
    keras.utils.clear_session()
    return load_keras(path)


def _answer(model: Any, value: bytes) -> dict[str, Any]:
    message = json.loads(value)
    pixels = pixels_of(base64.b64decode(message["image_data"]))
    best = model.predict(pixels[None], verbose=0)[0].argmax()
    return {"image_id": message["image_id"], "class_id": int(best)}


if __name__ == "__main__":
    main()
