"""Objects of Cloud Storage that are announced over Pub/Sub, and again where that was lost."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from local_services.gcs import Gcs
from local_services.pubsub import PubSub
from pictures import scene_jpeg
from pubsub_topics import Topic

# Every so many is cut short, and so unreadable.
BAD_EVERY = 10


@dataclass
class Objects:
    """Of one bucket; ``topic`` is that of the server's notifications.

    A killed Pub/Sub server has lost what was not delivered, as the service never does: so what was
    announced is announced again, by :meth:`put_back`, until it has a result.
    """

    pubsub: PubSub
    topic: Topic
    bucket: Any
    put: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """By name: the generation, and whether it can be read."""

    @property
    def good(self) -> set[str]:
        return {name for name, (_, is_good) in self.put.items() if is_good}

    @property
    def bad(self) -> set[str]:
        return set(self.put) - self.good

    def add(self, count: int, rng: random.Random, pause_s: float = 0.0) -> None:
        """Put so many more, with a pause after each; the server announces each."""
        pictures = [scene_jpeg(number) for number in range(3)]
        for number in range(len(self.put), len(self.put) + count):
            is_good = number % BAD_EVERY != 0
            content = rng.choice(pictures)
            blob = self.bucket.blob(f"input-images/picture {number:05d}#+%.jpg")
            blob.upload_from_string(content if is_good else content[:700], "image/jpeg")
            self.put[blob.name] = (str(blob.generation), is_good)
            time.sleep(pause_s)

    def restart_server(self) -> None:
        """Kill Pub/Sub, start it, and make what it had."""
        self.pubsub.server.kill()
        self.pubsub.server.start()
        self.topic.make()

    def put_back(self, done: set[str]) -> None:
        """Announce all that has no result yet, as Cloud Storage would."""
        messages = []
        for name in sorted(set(self.put) - done):
            generation, _ = self.put[name]
            resource = {
                "kind": "storage#object",
                "bucket": self.bucket.name,
                "name": name,
                "generation": generation,
            }
            attributes = {
                "eventType": "OBJECT_FINALIZE",
                "payloadFormat": "JSON_API_V1",
                "bucketId": self.bucket.name,
                "objectId": name,
                "objectGeneration": generation,
            }
            messages.append((json.dumps(resource).encode(), attributes))
        self.topic.publish_each(messages)


def bucket_of(gcs: Gcs, name: str) -> Any:
    """A fresh bucket."""
    return gcs.client().create_bucket(name)
