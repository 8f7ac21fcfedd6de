"""Make topics that are missing: ``make_kafka_topics.py SERVERS TOPIC…``. Runs on the cluster.

It stands alone: nothing but confluent-kafka is imported.
"""

from __future__ import annotations

import sys

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

_TIMEOUT_S = 60
# As many cores as two of week 9's workers have between them, halved: one task of a batch each.
_PARTITIONS = 4


def main(servers: str, *names: str) -> None:
    """Make those of ``names`` that are not there."""
    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic(name, _PARTITIONS, 1) for name in names]
    for name, making in admin.create_topics(topics, operation_timeout=_TIMEOUT_S).items():
        try:
            making.result(timeout=_TIMEOUT_S)
            print(f"make_kafka_topics: {name} made")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                sys.exit(f"make_kafka_topics: {name} on {servers}: {error.args[0].str()}")
            print(f"make_kafka_topics: {name} was there")


if __name__ == "__main__":
    main(*sys.argv[1:])
