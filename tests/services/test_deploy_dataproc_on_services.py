"""What scripts/deploy_dataproc makes in Google's own Pub/Sub server, and on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploying import make_kafka_topics
from deploying.parts import Part, State
from deploying.plan import Plan
from deploying.pubsub import Subscription, Topic
from deploying.services import Services
from local_services import pubsub

from pyspark_vision.clients import brokers
from pyspark_vision.clients.local_services.kafka import Kafka

PROJECT = "example-project"


@pytest.mark.slow
def test_topic_and_subscription_are_made_known_again_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pubsub.running(tmp_path) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.endpoint)
        services = Services(PROJECT, "us-central1")
        plan, other = Plan(PROJECT), Plan(PROJECT, name="other")
        parts: list[Part] = [Topic(plan, services), Subscription(plan, services)]
        try:
            assert [part.look() for part in parts] == [State.ABSENT] * 2
            for part in parts:
                for call in part.creation():
                    call.run()
            assert [part.look() for part in parts] == [State.OURS] * 2
            assert Topic(other, services).look() is State.FOREIGN
            assert Subscription(other, services).look() is State.FOREIGN
            for part in reversed(parts):
                for call in part.removal(data=False):
                    call.run()
            assert [part.look() for part in parts] == [State.ABSENT] * 2
        finally:
            services.publisher.transport.close()
            services.subscriber.transport.close()


def test_kafka_topics_are_made_and_a_second_time_left_as_they_are(
    kafka: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("deploy-images", "deploy-results")

    make_kafka_topics.main(kafka.bootstrap_servers, *names)
    make_kafka_topics.main(kafka.bootstrap_servers, *names)

    brokers.check_topics(brokers.Brokers(kafka.bootstrap_servers), names)
    assert capsys.readouterr().out.splitlines() == [
        *(f"make_kafka_topics: {name} made" for name in names),
        *(f"make_kafka_topics: {name} was there" for name in names),
    ]
