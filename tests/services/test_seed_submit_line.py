"""Week 9's own submit line, against servers of this machine: flags as they stand, our packages."""

from __future__ import annotations

import json
import shlex
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import pytest
from announced_objects import bucket_of
from bigquery_proxy import BigQueryProxy, bring_from
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from image_messages import image_message
from job_environment import job_environment
from local_services import gcs as local_gcs
from local_services import jars
from local_services import pubsub as local_pubsub
from local_services.bigquery import BigQuery
from local_services.kafka import Kafka
from local_services.process import wait_until
from local_services.pubsub import PubSub
from own_session import in_own_session
from pictures import scene_jpeg
from service_folders import service_folder

from pyspark_vision.sinks.bigquery import service

# As its README has it, but for what gcloud itself takes: the cluster, the region, the packages.
LINE = r"""
    --input-source both \
    --kafka-servers week9-streaming-cluster-m:9092 \
    --kafka-topic image-stream \
    --project-id ${PROJECT_ID} \
    --pubsub-subscription image-stream-sub \
    --model-type mobilenet \
    --confidence-threshold 0.1 \
    --checkpoint gs://${BUCKET_NAME}/checkpoints/streaming \
    --output-bq-table ${PROJECT_ID}.ml_streaming.image_predictions \
    --output-gcs-path gs://${BUCKET_NAME}/outputs/predictions
"""
BROKER = "week9-streaming-cluster-m:9092"


def test_the_line_is_the_seeds(root: Path) -> None:
    seeds = root.parent / "shared" / "seeds"
    if not seeds.is_dir():
        pytest.skip(f"no seeds at {seeds}")

    assert any(LINE.rstrip() in seed.read_text() for seed in seeds.glob("*.txt"))


@contextmanager
def submitted(root: Path, flags: list[str], log: Path, env: dict[str, str]) -> Iterator[Any]:
    """As gcloud submits it, on this machine."""
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.jars": ",".join(str(jar) for jar in jars.files("kafka", "gs")),
    }
    conf = [word for pair in settings.items() for word in ("--conf", "=".join(pair))]
    submit = [str(Path(sys.executable).parent / "spark-submit"), *conf]
    job = str(root / "tests" / "support" / "drawn_weights_job.py")
    environment = {**job_environment(), "PYTHONPATH": str(root), **env}
    with in_own_session([*submit, job, *flags], log, environment) as process:
        yield process


@pytest.mark.slow
def test_week_9s_submit_line_runs_with_its_flags(
    root: Path,
    kafka: Kafka,
    pubsub: PubSub,
    bigquery: BigQuery,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project, topic = bigquery.project, f"t-{uuid.uuid4().hex}"
    local_pubsub.make_subscription(pubsub.endpoint, project, topic, "image-stream-sub")
    bigquery.make_dataset("ml_streaming")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic("image-stream", 2)])["image-stream"].result(30)
    for name, value in bigquery.environment().items():
        monkeypatch.setenv(name, value)
    announced = local_gcs.Notifications(pubsub.endpoint, topic, project, "input-images/")
    log = tmp_path / "log"
    with (
        service_folder(tmp_path_factory, "gcs-week9") as folder,
        local_gcs.running(folder, notifications=announced) as gcs,
        BigQueryProxy(bigquery.rest_url) as proxy,
    ):
        proxy.bring = bring_from(gcs.client(), bigquery.buckets)
        bucket = bucket_of(gcs, f"week9-{uuid.uuid4().hex}")
        given = {"PROJECT_ID": project, "BUCKET_NAME": bucket.name}
        line = Template(LINE).substitute(given).replace(BROKER, kafka.bootstrap_servers)
        environment = {**pubsub.environment(), **gcs.environment()}
        environment |= bigquery.environment(proxy.url)
        for number in range(2):
            blob = bucket.blob(f"input-images/{number}.jpg")
            blob.upload_from_string(scene_jpeg(number), "image/jpeg")
        # As a shell does, which takes away a backslash and the line's end behind it.
        words = shlex.split(line.replace("\\\n", ""))
        with submitted(root, words, log, environment) as process:

            def is_begun() -> bool:
                assert process.poll() is None, log.read_text()[-3000:]
                return bucket.blob("checkpoints/streaming/offsets/0").exists()

            # New images of Kafka are read from where the stream has begun.
            assert wait_until(is_begun, 180), log.read_text()[-3000:]
            producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
            for number in range(2):
                key, message = image_message(f"img-{number}", scene_jpeg(number))
                producer.produce("image-stream", message, key)
            assert producer.flush(30) == 0
            table = f"{project}.ml_streaming.image_predictions"
            assert wait_until(lambda: len(rows_of(project, table)) >= 4, 120), log.read_text()[
                -3000:
            ]
            process.terminate()
            assert process.wait(120) == 0, log.read_text()[-3000:]
        written = [
            json.loads(text)
            for blob in bucket.list_blobs(prefix="outputs/predictions/batch_id=")
            if blob.name.endswith(".json")
            for text in blob.download_as_bytes().splitlines()
        ]

    found = rows_of(project, table)
    names = sorted(row["object_name"] or "" for row in found)
    assert names == ["", "", "input-images/0.jpg", "input-images/1.jpg"]
    assert {row["bucket"] for row in found} == {None, bucket.name}
    assert {row["model_name"] for row in found} == {"mobilenet"}
    assert all(row["label"].startswith("class ") for row in found)
    ids = sorted(row["prediction_id"] for row in found)
    assert sorted(row["prediction_id"] for row in written) == ids
    of_kafka = {row["image_id"] for row in written if row["object_name"] is None}
    assert of_kafka == {"img-0", "img-1"}


def rows_of(project: str, table: str) -> list[dict[str, Any]]:
    """The table; nothing while there is none."""
    from google.api_core.exceptions import NotFound

    try:
        rows = service.client(project).query(f"SELECT * FROM `{table}`").result()
    except NotFound:
        return []
    return [dict(row) for row in rows]
