"""Objects announced over Pub/Sub while driver and server are killed: each has its one result."""

from __future__ import annotations

import random
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from announced_objects import Objects, bucket_of
from bigquery_proxy import BigQueryProxy
from bigquery_rows import PredictionTable
from confluent_kafka import Producer
from fault_cases import Case, Size
from image_messages import image_message
from kafka_topics import make_topic
from local_services import gcs as local_gcs
from local_services.bigquery import BigQuery
from local_services.kafka import Kafka
from local_services.process import wait_until
from local_services.pubsub import PubSub
from objects_job import ObjectsJob
from pictures import scene_jpeg
from pubsub_topics import PROJECT, Topic
from service_folders import service_folder

_MOST_OBJECTS = 10_000
_SERVER_KILLS = 5
# Less than the time that a driver lives: objects come while it starts and works.
_PUT_WITHIN_S = 15.0
# From the moment a driver begins its work, with the batch of the one before it, or from its first
# commit on: there is nothing that takes longer. A busy machine takes long for a batch.
_KILL_WITHIN_S = 10.0
_SMALL_BATCH, _LARGE_BATCH = 100, 1000
# How long what a killed driver held is reserved for it (the job's ack deadline).
_DEADLINE_S = 60
_FINISHED_WITHIN_S = 1200


@pytest.fixture
def objects(
    pubsub: PubSub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Objects, local_gcs.Gcs]]:
    """A bucket on a server of its own, whose notifications have a topic of their own."""
    topic = Topic(pubsub.endpoint).make()
    announced = local_gcs.Notifications(pubsub.endpoint, topic.name, PROJECT)
    with (
        service_folder(tmp_path_factory, "gcs-announced") as folder,
        local_gcs.running(folder, notifications=announced) as gcs,
    ):
        yield Objects(pubsub, topic, bucket_of(gcs, f"b-{uuid.uuid4().hex}")), gcs


@pytest.mark.parametrize(
    "input_source",
    [
        pytest.param("pubsub", marks=pytest.mark.full_size),
        pytest.param("both", marks=pytest.mark.slow),
    ],
)
def test_each_object_has_one_result_whoever_is_killed(
    input_source: str,
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    bigquery: BigQuery,
    objects: tuple[Objects, local_gcs.Gcs],
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    began = time.monotonic()
    announced, gcs = objects
    count = min(size.frames, _MOST_OBJECTS)
    image_ids = [f"image-{number}" for number in range(count // 10)] * (input_source == "both")
    servers = kafka.bootstrap_servers
    topics = make_topic(servers), make_topic(servers)
    producer = Producer({"bootstrap.servers": servers})
    server_kills = set(rng.sample(range(size.kills), min(_SERVER_KILLS, size.kills)))
    case.expected = (
        "each readable object (and message) one row in Delta and in BigQuery, equal repeats in "
        "Kafka, each other object one letter, all acknowledged"
    )
    case.injected = (
        f"{count} objects, {len(image_ids)} messages; SIGKILL to the driver {size.kills} times, "
        f"to Pub/Sub {len(server_kills)} times"
    )
    with BigQueryProxy(bigquery.rest_url) as proxy:
        job = ObjectsJob(
            root,
            tmp_path,
            announced,
            gcs,
            (servers, *topics),
            PredictionTable(bigquery),
            bigquery.environment(proxy.url),
            input_source,
        )
        for number in range(size.kills):
            share = count // size.kills
            adding = threading.Thread(
                target=announced.add,
                args=(share, random.Random(rng.random()), _PUT_WITHIN_S / share),
            )
            adding.start()
            for image_id in image_ids[number :: size.kills]:
                key, value = image_message(image_id, scene_jpeg(number % 3))
                producer.produce(topics[0], value, key)
            assert producer.flush(60) == 0
            with job.running(_SMALL_BATCH) as process:
                job.wait_until_it_works(process)
                if rng.random() < 0.5:
                    job.wait_for_commit(process)
                server_s, driver_s = sorted(rng.uniform(0, _KILL_WITHIN_S) for _ in range(2))
                time.sleep(server_s)
                if number in server_kills:
                    announced.restart_server()
                time.sleep(driver_s - server_s)
                job.kill(process)
            adding.join()

        with job.running(_LARGE_BATCH) as process:
            finish(job, process, set(image_ids))
        # Whatever it took and did not acknowledge is sent again when its time is over.
        time.sleep(_DEADLINE_S + 1)
        left = announced.topic.left()

        problems = job.problems(set(image_ids))
    sent = sum(map(len, job.sent().values()))
    case.found = "; ".join(problems) or (
        f"{len(job.rows())} rows, {len(job.letters())} letters, {sent} results in Kafka, "
        f"{job.committed()} batches, {proxy.refused} ids refused, {left} unacknowledged, "
        f"{time.monotonic() - began:.0f} s"
    )
    assert problems == []
    assert left == 0


def finish(job: ObjectsJob, process: subprocess.Popen[bytes], image_ids: set[str]) -> None:
    """Wait until each object and image is done and acknowledged, and stop the job.

    What the killed servers had is announced once more, and again if nothing is done any more.
    """
    objects, began = job.objects, time.monotonic()
    done = job.done()
    objects.put_back(done)
    last_done = began
    while missing := {*objects.put, *image_ids} - done:
        assert process.poll() is None, job.tail()
        assert time.monotonic() - began < _FINISHED_WITHIN_S, f"{len(missing)} missing"
        time.sleep(2)
        before, done = done, job.done()
        if done != before:
            last_done = time.monotonic()
        elif time.monotonic() - last_done > _DEADLINE_S:
            objects.put_back(done)
            last_done = time.monotonic()
    # What the last killed driver held comes again, as a repeat of what is done.
    time.sleep(max(0.0, began + _DEADLINE_S + 1 - time.monotonic()))
    assert wait_until(lambda: job.unacknowledged() == 0 and objects.topic.left() == 0, 60)
    process.terminate()
    assert process.wait(90) == 0, job.tail()
