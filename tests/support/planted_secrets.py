"""Secrets that a job is given, and where they must not be found again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Of Zstandard (Spark's event logs), Parquet (outputs, dead letters), Arrow (Pub/Sub's journal).
_ZSTD, _PARQUET, _ARROW = b"\x28\xb5\x2f\xfd", b"PAR1", b"\xff\xff\xff\xff"


def sasl_properties(path: Path, user: str, password: str) -> Path:
    path.write_text(
        "security.protocol=SASL_PLAINTEXT\n"
        "sasl.mechanism=PLAIN\n"
        "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{user}" password="{password}";\n'
        # A wrong password is tried for no longer than this.
        "default.api.timeout.ms=15000\nrequest.timeout.ms=10000\n"
    )
    return path


def leaks(secrets: dict[str, str], folder: Path, *texts: str) -> list[str]:
    """Where a secret stands: its name and the place. Files that are compressed are unpacked."""
    found = [
        f"{name} in what was printed"
        for name, secret in secrets.items()
        for text in texts
        if secret in text
    ]
    for file in (file for file in folder.rglob("*") if file.is_file()):
        content = b"\n".join(_contents(file.read_bytes()))
        found += [f"{name} in {file}" for name, s in secrets.items() if s.encode() in content]
    return found


def _contents(content: bytes) -> Iterator[bytes]:
    """The bytes themselves, and what they are when they are unpacked."""
    yield content
    if content.startswith(_ZSTD):
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            yield stream.read()
    elif content.startswith(_PARQUET):
        for row in pq.read_table(pa.BufferReader(content)).to_pylist():
            yield from _values(row)
    elif content.startswith(_ARROW):
        with pa.ipc.open_stream(content) as stream:
            for row in stream.read_all().to_pylist():
                yield from _values(row)


def _values(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _values(one)
    elif isinstance(value, bytes):
        yield value
    elif value is not None:
        yield str(value).encode()
