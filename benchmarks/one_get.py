"""What one object costs the process that fetches it: `python -m benchmarks.one_get`.

Milliseconds of processor time, one object after the other, from an S3Proxy on this machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from local_services import s3

from benchmarks.material import VGA_WH, pictures
from pyspark_vision.executor.fetch import object_store
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.executor.fetch.s3_clients import s3_client

_BUCKET = "pictures"
_ROUNDS = 3


def main() -> None:
    """Rounds interleaved; the first warms up and is not printed."""
    files = pictures(VGA_WH)
    with (
        tempfile.TemporaryDirectory() as folder,
        s3.running(Path(folder), s3.random_credentials()) as server,
    ):
        shutil.copytree(files[0].parent, server.folder / _BUCKET)
        os.environ.update(server.credentials.environment())
        options = FetchOptions(
            endpoint_url=server.endpoint_url,
            region="us-east-1",
            path_style=True,
            prefixes=(),
            max_bytes=10**8,
            concurrency=8,
            max_attempts=3,
            timeout_s=10.0,
        )
        client = s3_client(options)

        def boto3_get(name: str) -> bytes:
            return bytes(client.get_object(Bucket=_BUCKET, Key=name)["Body"].read())

        def ours(name: str) -> object:
            return object_store.fetch(f"s3://{_BUCKET}/{name}", options).content

        names = [file.name for file in files]
        for index in range(1 + _ROUNDS):
            found = {
                "boto3 get_object": _ms_each(boto3_get, names),
                "fetch_object": _ms_each(ours, names),
            }
            if index:
                print(", ".join(f"{way} {ms:.2f} ms" for way, ms in found.items()), flush=True)


def _ms_each(get: Callable[[str], object], names: list[str]) -> float:
    started = time.process_time()
    for name in names:
        assert isinstance(get(name), bytes)
    return (time.process_time() - started) * 1000 / len(names)


if __name__ == "__main__":
    main()
