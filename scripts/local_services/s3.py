"""An S3 server, S3Proxy: every bucket is a folder, every request needs a signature."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.local_services.java import SMALL_JVM, java, write_properties
from pyspark_vision.clients.local_services.process import Daemon, answers_http, free_ports

# S3Proxy takes any; clients refuse to sign without one.
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Credentials:
    """An access key and its secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """The variables where boto3, s3a and Spark look for them, with the region."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


@dataclass(frozen=True)
class S3:
    """A running server; ``folder`` holds its buckets."""

    endpoint_url: str
    credentials: S3Credentials
    server: Daemon
    folder: Path

    def hadoop_conf(self) -> dict[str, str]:
        """What s3a needs to know of this server; credentials come from the environment."""
        return {
            "fs.s3a.endpoint": self.endpoint_url,
            "fs.s3a.endpoint.region": REGION,
            "fs.s3a.path.style.access": "true",
            "fs.s3a.connection.ssl.enabled": "false",
        }


def random_credentials() -> S3Credentials:
    """Credentials that no other run has."""
    return S3Credentials(f"local{secrets.token_hex(8)}", secrets.token_urlsafe(30))


@contextmanager
def running(folder: Path, credentials: S3Credentials, port: int | None = None) -> Iterator[S3]:
    """A server with its buckets below ``folder``, until the end of the block.

    ``port`` ``None``: any that is free.
    """
    port = port or free_ports(1)[0]
    endpoint_url = f"http://127.0.0.1:{port}"
    buckets = folder / "buckets"
    buckets.mkdir()
    settings = {
        "s3proxy.endpoint": endpoint_url,
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": credentials.access_key_id,
        "s3proxy.credential": credentials.secret_access_key,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": str(buckets),
    }
    properties = folder / "s3proxy.properties"
    write_properties(properties, settings)
    [jar] = jars.files("s3-server")
    command = [java(), *SMALL_JVM, "-jar", str(jar), "--properties", str(properties)]
    server = Daemon("s3", command, folder, lambda: answers_http(endpoint_url))
    with server:
        yield S3(endpoint_url, credentials, server, buckets)
