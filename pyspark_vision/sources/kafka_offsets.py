"""Offsets as JSON, as Spark's Kafka source takes them and writes them into its checkpoint."""

from __future__ import annotations

import json

EARLIEST_OFFSET, LATEST_OFFSET = -2, -1

Offsets = dict[str, dict[int, int]]  # topic -> partition -> offset


def offsets_of(text: str) -> Offsets:
    """``{"topic": {"0": 23}}`` -> topic -> partition -> offset; :class:`ValueError` says why not.

    >>> offsets_of('{"t": {"0": 23, "1": -2}}')
    {'t': {0: 23, 1: -2}}
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    offsets: Offsets = {}
    for topic, partitions in given.items():
        if not isinstance(partitions, dict) or not partitions:
            raise ValueError(f"{topic}: {json.dumps(partitions)} is not partitions and offsets")
        offsets[topic] = {}
        for partition, offset in partitions.items():
            if not (partition.isascii() and partition.isdigit()):
                raise ValueError(f"{topic}: {partition!r} is no partition's number")
            if type(offset) is not int or offset < EARLIEST_OFFSET:
                raise ValueError(
                    f"{topic}: partition {partition} has {json.dumps(offset)}, which is no offset"
                )
            offsets[topic][int(partition)] = offset
    return offsets


def as_json(offsets: Offsets) -> str:
    """The reverse of :func:`offsets_of`."""
    return json.dumps(offsets, separators=(",", ":"))
