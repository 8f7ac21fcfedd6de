"""The contenders of the S3 race: pictures behind 50 ms, and the same ones in local files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from local_services import s3

from benchmarks.contenders.protocol import Job
from benchmarks.material import VGA_WH, pictures, uri_dataset
from benchmarks.one_core import JOB_CORE, SERVICE_CORE, children_on_core
from benchmarks.race import Entry
from benchmarks.slow_proxy import delayed

_DELAY_S = 0.05
_BUCKET = "pictures"
_CHECK_ROWS = 64


@contextmanager
def far_and_near(job: Job, images: int) -> Iterator[Mapping[str, Entry]]:
    """Both read by ``fetch_object`` with its defaults, from ``s3:`` and from ``file:`` URIs.

    The store is S3Proxy on this machine. A real one's work is done elsewhere: it and its delay have
    one core, each contender the other.
    """
    files = pictures(VGA_WH)
    chosen = [files[index % len(files)] for index in range(images)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with children_on_core(SERVICE_CORE):
            server = stack.enter_context(s3.running(folder, s3.random_credentials()))
        shutil.copytree(files[0].parent, server.folder / _BUCKET)
        # Contenders inherit the environment: the credentials that executors would have.
        os.environ.update(server.credentials.environment())
        address = urlsplit(server.endpoint_url)
        with children_on_core(SERVICE_CORE):
            url = stack.enter_context(delayed(address.hostname or "", address.port or 0, _DELAY_S))
        conf = {f"spark.hadoop.{key}": value for key, value in server.hadoop_conf().items()}
        conf["spark.hadoop.fs.s3a.endpoint"] = url

        def entry(name: str, prefix: str) -> Entry:
            uris = [f"{prefix}/{file.name}" for file in chosen]
            own = replace(
                job,
                dataset=str(uri_dataset(f"{name}-uris", uris)),
                check=str(uri_dataset(f"{name}-check-uris", uris[:_CHECK_ROWS])),
                uri_prefix=prefix,
                spark_conf=conf,
                cores=1,
            )
            return Entry("contenders.ours", own, images, pinned_to=JOB_CORE)

        yield {
            "s3_50ms": entry("s3", f"s3://{_BUCKET}"),
            "local": entry("local", files[0].parent.as_uri()),
        }
