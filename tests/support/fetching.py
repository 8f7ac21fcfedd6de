"""How tests fetch local files in their own process."""

from __future__ import annotations

from pyspark_vision.executor.fetch.fetched import FetchOptions

LOCAL_FILES = FetchOptions(
    endpoint_url=None,
    region="us-east-1",
    path_style=False,
    prefixes=("file:///",),
    max_bytes=1000,
    concurrency=4,
    max_attempts=1,
    timeout_s=1.0,
)
