"""fetch_object against a server of Cloud Storage: an object's generation, or its row's reason."""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import FaultyProxy
from local_services.gcs import Gcs
from pictures import scene_jpeg
from pyspark.sql import SparkSession

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.fetch import gcs_clients
from pyspark_vision.executor.fetch.fetched import Fetched, FetchOptions, GcsOptions
from pyspark_vision.executor.fetch.object_store import fetch
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.functions import classify_image, fetch_object
from pyspark_vision.sources.bucket_listing import objects_below

NAMES = ["a b.jpg", "a#b", "a%20b", "a+b", "ü/日本.jpg", "a?b=c&d", "[a]:b"]
# What obstore refuses, or takes for another name.
ODD_NAMES = ["a//b", "/a", "a/", "a/../b", "tab\there", "line\nbreak"]


def options_for(endpoint_url: str | None, **gcs: Any) -> FetchOptions:
    """To fetch in this process."""
    return FetchOptions(
        endpoint_url=None,
        region=None,
        path_style=False,
        prefixes=(),
        max_bytes=10**6,
        concurrency=2,
        max_attempts=3,
        timeout_s=10.0,
        gcs=GcsOptions(**{"endpoint_url": endpoint_url, "anonymous": True, **gcs}),
    )


def code_of(fetched: Fetched) -> str | None:
    return fetched.content.code.value if isinstance(fetched.content, RowError) else None


def uploaded(bucket: Any, name: str, content: bytes) -> str:
    """The generation of an object that is now there."""
    blob = bucket.blob(name)
    blob.upload_from_string(content, retry=None)
    return str(blob.generation)


def fetched(spark: SparkSession, rows: Sequence[tuple[str | None, int | None]]) -> list[Any]:
    """(content, error code) of each URI and generation, in order."""
    numbered = [(number, *row) for number, row in enumerate(rows)]
    frame = spark.createDataFrame(numbered, "n int, uri string, generation bigint").coalesce(1)
    found = frame.select("n", fetch_object("uri", generation="generation").alias("f")).collect()
    return [
        (row.f.content and bytes(row.f.content), row.f.error and row.f.error.code)
        for row in sorted(found, key=lambda row: row.n)
    ]


def test_each_row_is_the_generation_that_it_means_or_says_why_not(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any
) -> None:
    home = f"gs://{gcs_bucket.name}"
    first = int(uploaded(gcs_bucket, "a", b"old"))
    second = int(uploaded(gcs_bucket, "a", b"new"))

    assert fetched(
        spark,
        [
            (f"{home}/a", second),
            (f"{home}/a", None),
            (f"{home}/a", first),
            (f"{home}/none", first),
            (f"{home}/none", None),
            ("gs://no-such-bucket-anywhere/a", None),
            (f"{home}/a", -1),
            ("s3://bucket/a", first),
            ("gs://", None),
            (None, first),
            (None, None),
        ],
    ) == [
        (b"new", None),
        (b"new", None),
        (None, "fetch_replaced"),
        (None, "fetch_not_found"),
        (None, "fetch_not_found"),
        (None, "fetch_not_found"),
        (None, "fetch_failed"),
        (None, "fetch_failed"),
        (None, "fetch_failed"),
        (None, "null_input"),
        (None, "null_input"),
    ]


def test_fetching_generations_and_inference_are_one_pass(
    spark: SparkSession, gcs: Gcs, gcs_bucket: Any, classifier: ModelSpec
) -> None:
    rows = [
        (f"gs://{gcs_bucket.name}/{n}.jpg", uploaded(gcs_bucket, f"{n}.jpg", scene_jpeg(n)))
        for n in range(3)
    ]
    uploaded(gcs_bucket, "1.jpg", scene_jpeg(7))
    frame = spark.createDataFrame(rows, "uri string, generation string").coalesce(1)
    fetch = fetch_object("uri", generation="generation")

    fused = frame.select(classify_image(fetch, classifier, top_k=1).alias("r"))
    apart = frame.select(fetch.alias("f")).select(classify_image("f", classifier, 1).alias("r"))

    plan = fused._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ArrowEvalPython") == 1
    results = [row.r for row in fused.collect()]
    assert [row.error and row.error.code for row in results] == [None, "fetch_replaced", None]
    assert [row.r.predictions for row in apart.collect()] == [row.predictions for row in results]


def test_a_name_is_taken_as_it_is(gcs_server: Gcs, gcs_bucket: Any) -> None:
    options = options_for(gcs_server.endpoint_url)
    for name in NAMES + ODD_NAMES:
        generation = uploaded(gcs_bucket, name, name.encode())
        found = fetch(f"gs://{gcs_bucket.name}/{name}", options, generation)
        assert (name, found) == (name, Fetched(name.encode(), attempts=1))


def test_an_object_takes_one_request_and_a_missing_one_a_second_look(
    gcs_server: Gcs, gcs_bucket: Any
) -> None:
    generation = uploaded(gcs_bucket, "a", b"x")
    with FaultyProxy(gcs_server.endpoint_url, own_host=True) as proxy:
        options, home = options_for(proxy.url), f"gs://{gcs_bucket.name}"
        assert fetch(f"{home}/a", options, generation) == Fetched(b"x", attempts=1)
        assert proxy.requests == 1

        assert code_of(fetch(f"{home}/none", options)) == "fetch_not_found"
        assert proxy.requests == 3


@pytest.mark.parametrize("fault", ["throttle", "fail", "short", "reset"])
def test_what_a_store_gets_wrong_for_a_while_is_tried_again(
    fault: str, gcs_server: Gcs, gcs_bucket: Any
) -> None:
    generation = uploaded(gcs_bucket, "a", b"content " * 1000)
    uri = f"gs://{gcs_bucket.name}/a"
    with FaultyProxy(gcs_server.endpoint_url, own_host=True) as proxy:
        proxy.misbehave(fault, 2)
        found = fetch(uri, options_for(proxy.url), generation)
        assert (found, proxy.faults_left) == (Fetched(b"content " * 1000, attempts=3), 0)

        proxy.misbehave(fault, 1000)
        given_up = fetch(uri, replace(options_for(proxy.url), max_attempts=2), generation)
        assert (code_of(given_up), given_up.attempts) == ("fetch_failed", 2)


def test_an_object_without_rights_is_denied(gcs_server: Gcs, gcs_bucket: Any) -> None:
    uploaded(gcs_bucket, "a", b"x")
    with FaultyProxy(gcs_server.endpoint_url, own_host=True) as proxy:
        proxy.misbehave("deny", 1000)
        found = fetch(f"gs://{gcs_bucket.name}/a", options_for(proxy.url))
        assert (code_of(found), found.attempts) == ("fetch_denied", 1)


def test_an_object_above_max_bytes_is_not_read(gcs_server: Gcs, gcs_bucket: Any) -> None:
    uploaded(gcs_bucket, "big", b"x" * 2000)
    options = replace(options_for(gcs_server.endpoint_url), max_bytes=1000)

    assert code_of(fetch(f"gs://{gcs_bucket.name}/big", options)) == "too_many_bytes"


def test_the_servers_address_is_also_that_of_googles_own_clients(
    gcs_server: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(gcs_bucket, "a", b"x")
    uri, unset = f"gs://{gcs_bucket.name}/a", options_for(None, anonymous=False)
    for spelled in (gcs_server.endpoint_url, gcs_server.endpoint_url.removeprefix("http://")):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", spelled)
        assert fetch(uri, unset).content == b"x"
    # An address that is given counts more, and is asked with credentials.
    assert not gcs_clients.is_anonymous(GcsOptions("http://127.0.0.1:1"))


def test_without_obstore_googles_client_fetches(
    gcs_server: Gcs, gcs_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = uploaded(gcs_bucket, "a", b"x")
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    # An endpoint that no client is known of.
    with FaultyProxy(gcs_server.endpoint_url, own_host=True) as proxy:
        found = fetch(f"gs://{gcs_bucket.name}/a", options_for(proxy.url), generation)
        assert found == Fetched(b"x", attempts=1)


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials of Google's."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # of google-auth: no metadata server is asked
    forget_credentials(monkeypatch)


def forget_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    gcs_clients._found_credentials.cache_clear()
    gcs_clients._client_for.cache_clear()
    gcs_clients._store_for.cache_clear()
    monkeypatch.setattr(gcs_clients, "_refused_until", 0.0)


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_rows_are_denied_and_say_what_executors_need(gcs_server: Gcs) -> None:
    found = fetch("gs://bucket/a", options_for(gcs_server.endpoint_url, anonymous=False))

    assert code_of(found) == "fetch_denied"
    assert "give executors a service account" in str(found.content)


class Service(BaseHTTPRequestHandler):
    """Google's side as far as the fake has none: tokens, a payer, what is stored compressed."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str | None, str | None]]

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token/withdrawn":
            self._answer(400, {"error": "invalid_grant", "error_description": "withdrawn"})
        elif self.path == "/token/page":
            self._send(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        elif self.path == "/token/page once" and not self.asked:
            self.asked.append((self.path, None, None))
            self._send(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        else:
            self._answer(200, {"access_token": "of-this-test", "expires_in": 3600})

    def do_GET(self) -> None:
        headers = (self.headers["Authorization"], self.headers["x-goog-user-project"])
        self.asked.append((self.path, *headers))
        if "unpaid" in self.path:
            why = "Bucket is a requester pays bucket but no user project provided."
            self._answer(400, {"error": {"code": 400, "message": why}})
        elif "zipped" in self.path and "alt=media" in self.path:
            body = gzip.compress(b"x" * 5000)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif "zipped" in self.path and "/o/" in self.path:
            self._answer(200, {"size": "40", "generation": "3", "name": "zipped"})
        elif "zipped" in self.path:
            self._answer(500, {})
        else:
            self._answer(200, {}, {"ETag": "e", "x-goog-generation": "3"})

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        when = {"Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}
        self._send(status, json.dumps(value).encode(), {**when, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Service.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def use_workload_identity(folder: Path, monkeypatch: pytest.MonkeyPatch, token_url: str) -> None:
    """Credentials of a kind that obstore by itself does not know."""
    (folder / "subject").write_text("signed by the cluster")
    credentials = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(folder / "subject")},
    }
    file = folder / "credentials.json"
    file.write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("withdrawn", "fetch_denied", "invalid_grant: withdrawn; give executors"),
        ("page", "fetch_failed", "what came for a token is none"),
        ("page once", None, ""),
    ],
)
def test_a_token_that_is_refused_is_the_rows_error_and_another_answer_is_asked_for_again(
    answer: str,
    code: str | None,
    said: str,
    service: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"http://127.0.0.1:{service.server_port}"
    use_workload_identity(tmp_path, monkeypatch, f"{url}/token/{answer}")
    options = options_for(url, anonymous=False)

    found = fetch("gs://bucket/a", options)

    assert (code_of(found), found.content == b"{}") == (code, code is None)
    assert said in str(found.content)
    if code is not None:
        with pytest.raises(InvalidOptionError, match="cannot list gs://bucket/in/: "):
            list(objects_below("gs://bucket/in/", options))


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"[]", b'"text"', b"{}"])
def test_a_file_that_holds_no_credentials_is_the_rows_error(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials.json"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    options = options_for("http://127.0.0.1:1", anonymous=False)

    found = fetch("gs://bucket/a", options)

    assert (code_of(found), str(file) in str(found.content)) == ("fetch_denied", True)
    with pytest.raises(InvalidOptionError, match=re.escape(str(file))):
        list(objects_below("gs://bucket/in/", options))


@pytest.mark.parametrize("bucket", ["-a", "a-", "a_", "a b", "a?b", "a#b", "ü", "."])
def test_what_is_no_name_of_a_bucket_is_the_rows_error(bucket: str) -> None:
    options = options_for("http://127.0.0.1:1")

    found = fetch(f"gs://{bucket}/a", options)

    assert code_of(found) == "fetch_failed"
    assert f"{bucket!r} is no bucket's name" in str(found.content)
    with pytest.raises(InvalidOptionError, match="is no bucket's name"):
        list(objects_below(f"gs://{bucket}/in/", options))


@pytest.mark.usefixtures("no_credentials")
def test_executors_own_credentials_and_the_payer_go_with_each_request(
    service: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{service.server_port}"
    use_workload_identity(tmp_path, monkeypatch, f"{url}/token")
    options = options_for(url, anonymous=False, user_project="payer")

    assert fetch("gs://bucket/a", options, "3").content == b"{}"
    narrow = replace(options, gcs=replace(options.gcs, paid_buckets=frozenset({"bucket"})))
    fetch("gs://other/a", narrow)

    assert Service.asked == [
        ("/bucket/a?generation=3", "Bearer of-this-test", "payer"),
        ("/other/a", "Bearer of-this-test", None),
    ]
    assert "of-this-test" not in repr(options)


def test_keys_are_listed_on_the_payers_account_and_without_it_the_error_says_so(
    service: ThreadingHTTPServer,
) -> None:
    options = options_for(f"http://127.0.0.1:{service.server_port}", user_project="payer")

    assert list(objects_below("gs://bucket/in/", options)) == []
    listings = [path for path, *_ in Service.asked if "/o?" in path]
    assert [path for path in listings if "userProject=payer" not in path] == []
    assert listings
    unpaid = replace(options, gcs=replace(options.gcs, user_project=None))
    with pytest.raises(
        InvalidOptionError, match=r"cannot list gs://unpaid/.*requester\.pays\.mode"
    ):
        list(objects_below("gs://unpaid/in/", unpaid))


def test_a_bucket_whose_payer_is_not_named_says_which_setting_names_it(
    service: ThreadingHTTPServer,
) -> None:
    found = fetch("gs://unpaid/a", options_for(f"http://127.0.0.1:{service.server_port}"))

    assert code_of(found) == "fetch_denied"
    assert "fs.gs.requester.pays.mode" in str(found.content)


@pytest.mark.parametrize(("max_bytes", "code"), [(5000, None), (4999, "too_many_bytes")])
def test_what_is_stored_compressed_is_no_larger_than_allowed_when_it_comes(
    max_bytes: int, code: str | None, service: ThreadingHTTPServer
) -> None:
    options = options_for(f"http://127.0.0.1:{service.server_port}")

    found = fetch("gs://bucket/zipped", replace(options, max_bytes=max_bytes))

    assert code_of(found) == code
    assert code or found.content == b"x" * 5000


def test_a_payer_is_asked_for_where_hadoop_is_told_that_requesters_pay(
    spark: SparkSession,
) -> None:
    conf = spark._jsc.hadoopConfiguration()
    conf.set("fs.gs.requester.pays.mode", "CUSTOM")
    try:
        with pytest.raises(InvalidOptionError, match=r"set fs\.gs\.requester\.pays\.project\.id"):
            fetch_object("uri")
    finally:
        conf.unset("fs.gs.requester.pays.mode")
