"""What the tests of jobs share: the job as a module, plain Kafka clients, drawn pictures."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

ROOT = Path(__file__).resolve().parent.parent.parent


def run(name: str, *arguments: object) -> int:
    """``jobs/<name>.py`` with these arguments, in this process; its exit code."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main([str(argument) for argument in arguments]))


def model(name: str) -> Path:
    """A model that ships with the project."""
    return ROOT / "models" / name


def produce(producer: Producer, topic: str, *values: Any, partition: int = 0) -> None:
    """Values, or (key, value) pairs, to one partition, in order."""
    for value in values:
        key, payload = value if isinstance(value, tuple) else (None, value)
        producer.produce(topic, payload, key, partition)
        producer.poll(0)
    assert producer.flush(60) == 0


def consume(consumer: Consumer, topic: str, count: int, timeout_s: float = 30) -> list[Any]:
    """``count`` messages of the topic, and those that come within a second after them."""
    consumer.subscribe([topic])
    messages: list[Any] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            if len(messages) >= count:
                break
            continue
        assert message.error() is None, message.error()
        messages.append(message)
    return messages
