"""fetch_object against a real S3 server: each object is its bytes or its row's reason."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import FaultyProxy
from local_services.s3 import S3
from pictures import scene_jpeg
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.executor.fetch.object_store import fetch
from pyspark_vision.executor.fetch.s3_clients import s3_client as s3_client_of
from pyspark_vision.executor.row_errors import ErrorCode, RowError
from pyspark_vision.functions import classify_image, decode_image, fetch_object


@pytest.fixture
def proxy(s3: S3, spark: SparkSession) -> Iterator[FaultyProxy]:
    """What stands between Spark and the store, and can be told to misbehave."""
    conf = spark._jsc.hadoopConfiguration()
    with FaultyProxy(s3.endpoint_url) as proxy:
        conf.set("fs.s3a.endpoint", proxy.url)
        yield proxy
        conf.set("fs.s3a.endpoint", s3.endpoint_url)


def fetched(spark: SparkSession, uris: Sequence[str | None], **options: Any) -> list[Any]:
    """(content, error code) of each URI, in order."""
    frame = spark.createDataFrame(list(enumerate(uris)), "n int, uri string").coalesce(1)
    rows = frame.select("n", fetch_object("uri", **options).alias("f")).collect()
    return [
        (row.f.content and bytes(row.f.content), row.f.error and row.f.error.code)
        for row in sorted(rows, key=lambda row: row.n)  # Spark's own sort would fetch twice
    ]


def options_for(endpoint_url: str) -> FetchOptions:
    """To fetch in this process."""
    return FetchOptions(
        endpoint_url=endpoint_url,
        region="us-east-1",
        path_style=True,
        prefixes=(),
        max_bytes=10**6,
        concurrency=2,
        max_attempts=3,
        timeout_s=10.0,
    )


def test_objects_come_in_order_and_what_is_wrong_stays_in_its_row(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str
) -> None:
    names = ["a.jpg", "ordner/ä ö?#%20.jpg", "empty"]
    for name in names:
        s3_client.put_object(
            Bucket=bucket, Key=name, Body=b"" if name == "empty" else name.encode()
        )
    uris = [
        f"s3://{bucket}/{names[0]}",
        None,
        f"s3a://{bucket}/{names[1]}",
        f"s3://{bucket}/none.jpg",
        "s3://no-such-bucket-anywhere/a.jpg",
        f"s3://{bucket}/empty",
        "ftp://somewhere/a.jpg",
        "s3://",
        "",
        "file:///etc/passwd",
        f"s3://{bucket}/{names[0]}",
    ]

    assert fetched(spark, uris) == [
        (b"a.jpg", None),
        (None, "null_input"),
        ("ordner/ä ö?#%20.jpg".encode(), None),
        (None, "fetch_not_found"),
        (None, "fetch_not_found"),
        (b"", None),
        (None, "fetch_failed"),
        (None, "fetch_failed"),
        (None, "fetch_failed"),
        (None, "fetch_denied"),
        (b"a.jpg", None),
    ]


def test_an_object_above_max_bytes_is_not_read(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="big", Body=b"x" * 2000)

    assert fetched(spark, [f"s3://{bucket}/big"], max_bytes=1000) == [(None, "too_many_bytes")]


def test_only_uris_under_a_prefix_are_fetched(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str, tmp_path: Path
) -> None:
    for key in ("in/1", "inside/2", "out/3"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    (tmp_path / "local").write_bytes(b"y")
    uris = [f"s3a://{bucket}/in/1", f"s3://{bucket}/inside/2", f"s3://{bucket}/in/../out/3"]
    uris += [(tmp_path / "local").as_uri(), "file:///etc/passwd"]

    found = fetched(spark, uris, prefixes=[f"s3://{bucket}/in", tmp_path.as_uri()])

    denied = (None, "fetch_denied")
    assert found == [(b"x", None), denied, denied, (b"y", None), denied]


def test_a_key_is_taken_as_it_is(spark: SparkSession, s3: S3, s3_client: Any, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3_client.put_object(Bucket=bucket, Key="tab\there", Body=b"y")

    [slash, tab] = fetched(spark, [f"s3://{bucket}//a", f"s3://{bucket}/tab\there"])

    # S3Proxy refuses the first: its keys are files. It is not the object a.
    assert slash == (None, "fetch_failed")
    assert tab == (b"y", None)


@pytest.mark.parametrize(
    ("endpoint_url", "bucket", "address"),
    [
        (None, "cats", "https://cats.s3.eu-central-1.amazonaws.com/a"),
        (None, "with.dots", "https://s3.eu-central-1.amazonaws.com/with.dots/a"),
        ("https://store.example:9000", "cats", "https://store.example:9000/cats/a"),
    ],
)
def test_addresses_are_those_of_the_region_or_of_the_endpoint(
    endpoint_url: str | None, bucket: str, address: str, s3_credentials: Any
) -> None:
    options = replace(
        options_for("unused"), endpoint_url=endpoint_url, region="eu-central-1", path_style=False
    )

    signed = s3_client_of(options).generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a"}
    )

    assert signed.split("?")[0] == address


def test_without_obstore_boto3_fetches(
    s3: S3, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with FaultyProxy(s3.endpoint_url) as proxy:  # an endpoint that no client is known of
        found = fetch(f"s3://{bucket}/a", options_for(proxy.url))

        assert (found.content, found.attempts, proxy.requests) == (b"x", 1, 1)


@pytest.mark.slow
def test_a_store_with_a_certificate_of_its_own_is_trusted_as_boto3_trusts_it(
    s3: S3, s3_client: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine to make a certificate")
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=store"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())

    with FaultyProxy(s3.endpoint_url, both) as unknown:
        refused = fetch(f"s3://{bucket}/a", options_for(unknown.url))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with FaultyProxy(s3.endpoint_url, both) as known:
        found = fetch(f"s3://{bucket}/a", options_for(known.url))

        # Of one attempt: the first client trusted it, too.
        assert (found.content, found.attempts, known.requests) == (b"x", 1, 1)
    assert isinstance(refused.content, RowError)
    assert (refused.content.code, unknown.requests) == (ErrorCode.FETCH_FAILED, 0)
    assert "certificate verify failed" in str(refused.content)


def test_an_object_takes_one_request_and_a_missing_one_a_second_look(
    spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    before = proxy.requests

    assert fetched(spark, [f"s3://{bucket}/a"] * 5) == [(b"x", None)] * 5
    assert proxy.requests - before == 5

    assert fetched(spark, [f"s3://{bucket}/none"]) == [(None, "fetch_not_found")]
    assert proxy.requests - before == 7


def test_an_object_says_how_often_it_had_to_be_asked_for(
    spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    frame = spark.createDataFrame(
        [(f"s3://{bucket}/a",), (f"s3://{bucket}/none",), (None,)], "uri string"
    ).coalesce(1)
    attempts = frame.select(fetch_object("uri", concurrency=1)["attempts"].alias("attempts"))

    assert [row.attempts for row in attempts.collect()] == [1, 1, 1]
    proxy.misbehave("fail", 2)
    assert [row.attempts for row in attempts.collect()] == [3, 1, 1]


@pytest.mark.parametrize("fault", ["fail", "throttle", "short", "reset"])
@pytest.mark.parametrize(("max_attempts", "requests"), [(1, 1), (2, 2), (4, 4)])
def test_an_object_is_asked_for_no_more_often_than_it_was_allowed(
    max_attempts: int,
    requests: int,
    fault: str,
    spark: SparkSession,
    proxy: FaultyProxy,
    s3_client: Any,
    bucket: str,
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    proxy.misbehave(fault, 1000)
    before = proxy.requests

    found = fetched(spark, [f"s3://{bucket}/a"], max_attempts=max_attempts)

    assert found == [(None, "fetch_failed")]
    assert proxy.requests - before == requests


@pytest.mark.parametrize(
    ("fault", "times"),
    [("throttle", 2), ("fail", 2), ("short", 2), ("reset", 2)],
)
def test_what_a_store_gets_wrong_for_a_while_is_tried_again(
    fault: str, times: int, spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"content " * 1000)
    proxy.misbehave(fault, times)

    assert fetched(spark, [f"s3://{bucket}/a"]) == [(b"content " * 1000, None)]
    assert proxy.faults_left == 0


@pytest.mark.parametrize("fault", ["throttle", "fail", "short", "reset"])
def test_what_a_store_gets_wrong_for_good_is_that_rows_error(
    fault: str, spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"content " * 1000)
    s3_client.put_object(Bucket=bucket, Key="b", Body=b"fine")
    proxy.misbehave(fault, 1000, path=f"/{bucket}/a")

    found = fetched(spark, [f"s3://{bucket}/a", f"s3://{bucket}/b"], max_attempts=2)

    assert found == [(None, "fetch_failed"), (b"fine", None)]


def test_a_key_without_rights_is_denied(
    spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    proxy.misbehave("deny", 1000)

    assert fetched(spark, [f"s3://{bucket}/a"]) == [(None, "fetch_denied")]


def test_fetching_and_inference_are_one_pass_and_give_what_two_give(
    spark: SparkSession, s3: S3, s3_client: Any, bucket: str, classifier: ModelSpec
) -> None:
    for seed in range(5):
        s3_client.put_object(Bucket=bucket, Key=f"{seed}.jpg", Body=scene_jpeg(seed))
    uris = [(f"s3://{bucket}/{seed}.jpg",) for seed in range(6)]
    frame = spark.createDataFrame([*uris, (None,)], "uri string").coalesce(1)

    fused = frame.select(classify_image(fetch_object("uri"), classifier).alias("r"))
    plan = fused._jdf.queryExecution().executedPlan().toString()
    through_decode = frame.select(
        classify_image(decode_image(fetch_object("uri")), classifier).alias("r")
    )
    apart = frame.withColumn("f", fetch_object("uri")).select(
        "f", classify_image("f", classifier).alias("r")
    )

    rows = [row.r for row in fused.collect()]
    assert plan.count("ArrowEvalPython") == 1
    assert [row.error and row.error.code for row in rows] == [None] * 5 + [
        "fetch_not_found",
        "null_input",
    ]
    assert [row.predictions for row in rows] == [row.r.predictions for row in apart.collect()]
    assert [row.predictions for row in rows] == [
        row.r.predictions for row in through_decode.collect()
    ]


def test_a_stopped_query_leaves_no_fetches_behind(
    spark: SparkSession, proxy: FaultyProxy, s3_client: Any, bucket: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a", Body=b"x")
    frame = spark.range(5000).select(F.lit(f"s3://{bucket}/a").alias("uri")).coalesce(1)
    before = proxy.requests

    first = frame.select(fetch_object("uri", concurrency=4).alias("f")).limit(3).collect()

    assert [row.f.error for row in first] == [None] * 3
    # A piece of 256 rows leaves the worker at once; 5,000 would say that it went on.
    assert proxy.requests - before < 1000
