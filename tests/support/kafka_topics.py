"""New topics of a real broker, ready to be written to and read."""

from __future__ import annotations

import uuid

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from local_services.process import wait_until


def make_topic(servers: str, partitions: int = 2, prefix: str = "topic", **config: str) -> str:
    """Make a topic with a name that no other has; ``config`` as ``max_message_bytes="1000"``."""
    admin = AdminClient({"bootstrap.servers": servers})
    name = f"{prefix}-{uuid.uuid4().hex}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    [made] = admin.create_topics([NewTopic(name, partitions, 1, config=settings)]).values()
    made.result(timeout=30)
    # Brokers learn of a topic a moment after it is made; readers fail on one without leaders.
    assert wait_until(lambda: _has_leaders(admin, name, partitions), timeout_s=10)
    return name


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    known = admin.list_topics(topic, timeout=10).topics[topic]
    return len(known.partitions) == partitions and all(
        partition.leader >= 0 for partition in known.partitions.values()
    )
