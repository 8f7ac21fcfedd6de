"""Objects announced over Pub/Sub while driver and server are killed: each has its one result."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from announced_objects import Objects, bucket_of
from confluent_kafka import Producer
from fault_cases import Case, Size
from image_messages import image_message, results_by_id
from kafka_topics import make_topic
from local_services import gcs as local_gcs
from local_services.kafka import Kafka
from local_services.pubsub import PubSub
from objects_job import ObjectsJob
from pictures import scene_jpeg
from pubsub_topics import PROJECT, Topic
from service_folders import service_folder

# From the moment a batch is begun: during its inference, its sinks, its commit, or the next one.
_KILL_WITHIN_S = 4.0
_SERVER_KILLS = 5
# How long what a killed driver held is reserved for it (the job's ack deadline).
_DEADLINE_S = 60


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


@pytest.mark.full_size
@pytest.mark.parametrize("input_source", ["pubsub", "both"])
def test_each_object_has_one_result_whoever_is_killed(
    input_source: str,
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    objects: tuple[Objects, local_gcs.Gcs],
    case: Case,
    size: Size,
    rng: random.Random,
) -> None:
    announced, gcs = objects
    count = size.frames // 3  # 10,000
    servers = kafka.bootstrap_servers
    images, results = make_topic(servers), make_topic(servers)
    job = ObjectsJob(root, tmp_path, announced, gcs, (servers, images, results), input_source)
    case.expected = "each readable object one row, each other one letter, on Kafka equal repeats"
    messages = count // 10 if input_source == "both" else 0
    producer = Producer({"bootstrap.servers": servers})
    server_kills = set(rng.sample(range(size.kills), min(_SERVER_KILLS, size.kills)))

    for number in range(size.kills):
        adding = threading.Thread(target=announced.add, args=(count // size.kills, rng))
        adding.start()
        for one in range(messages // size.kills):
            key, value = image_message(f"{number}-{one}", scene_jpeg(one % 3))
            producer.produce(images, value, key)
        producer.flush(30)
        with job.running() as process:
            before, deadline = job.planned(), time.monotonic() + 60
            while job.planned() <= before and time.monotonic() < deadline:
                assert process.poll() is None, job.tail()
                time.sleep(0.1)
            if number in server_kills:
                announced.restart_server()
            time.sleep(rng.uniform(0, _KILL_WITHIN_S))
            job.kill(process)
        adding.join()
    case.injected = f"{count} objects, driver SIGKILLed {size.kills}, server {len(server_kills)}"

    # What the last driver held is sent again when its time is over.
    with job.running() as process:
        deadline = time.monotonic() + 3600
        while set(announced.put) - job.done() and time.monotonic() < deadline:
            assert process.poll() is None, job.tail()
            announced.put_back(job.done())
            time.sleep(_DEADLINE_S)
        process.terminate()
        assert process.wait(90) == 0, job.tail()
    time.sleep(_DEADLINE_S + 1)

    problems = job.problems()
    sent = results_by_id(servers, results)
    changed = [key for key, values in sent.items() if len(set(values)) > 1]
    from_kafka = [row for row in job.rows() if row["object_name"] is None]
    case.found = "; ".join(problems) or (
        f"{len(job.rows())} rows, {len(job.letters())} letters, {len(sent)} results on Kafka, "
        f"{len(changed)} with other repeats, {announced.topic.left()} unacknowledged"
    )
    assert problems == []
    assert len({row["image_id"] for row in from_kafka}) == len(from_kafka)
    assert len(from_kafka) == messages // size.kills * size.kills
    assert len(sent) == len(announced.good) + len(from_kafka)
    assert announced.topic.left() == 0
