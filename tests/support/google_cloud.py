"""Google Cloud as a deployment sees it: what exists, in memory, behind the services' own protocols.

Storage and BigQuery by their REST paths, Pub/Sub, IAM and Dataproc by gRPC with the messages that
Google publishes. Every call that changes something is recorded, and any of them can fail, before or
after it has done its work. It keeps names, labels, contents and owners' rules (a bucket, a dataset
with something in it is not removed); it checks no rights and runs no cluster.
"""

from __future__ import annotations

import email
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import grpc
from google.cloud.dataproc_v1 import types as dataproc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from google.pubsub_v1 import types as pubsub
from google.rpc import status_pb2

ACCOUNT = "service-1@gs-project-accounts.iam.gserviceaccount.com"


class Refused(Exception):
    """An answer that is no success: HTTP's code and, for gRPC, its own."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


_GRPC_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.UNAVAILABLE,
}


@dataclass
class Cloud:
    """``things`` by path (``b/BUCKET``, ``b/BUCKET/o/NAME``, ``projects/P/topics/T``, …)."""

    things: dict[str, Any] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    # The change of this number (from 0) fails, once; with 503 Google's clients ask again.
    fails_at: int | None = None
    fails_after_its_work: bool = False
    fails_with: int = 403
    # Ids of requests, and what they made: a repeat of one is answered with that.
    answered: dict[str, Any] = field(default_factory=dict)
    # Why the next cluster is never RUNNING: its operation ends with this.
    cluster_fails: str = ""
    # So many notifications are refused before a right that was given counts.
    rights_count_after: int = 0
    http_port: int = 0
    grpc_port: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def change(self, what: str, work: Callable[[], Any]) -> Any:
        """Do ``work`` and record it, unless it is this one's turn to fail."""
        with self._lock:
            number = len(self.changes)
            self.changes.append(what)
            fails = number == self.fails_at
            if fails and not self.fails_after_its_work:
                raise Refused(self.fails_with, f"planned failure of {what}")
            answer = work()
            if fails:
                raise Refused(self.fails_with, f"planned failure after {what}")
            return answer

    def get(self, path: str) -> Any:
        if path not in self.things:
            raise Refused(404, f"{path} not found")
        return self.things[path]

    def insert(self, path: str, thing: Any, request_id: str = "") -> Any:
        def work() -> Any:
            if path in self.things:
                raise Refused(409, f"{path} exists")
            self.things[path] = thing
            if request_id:
                self.answered[request_id] = thing
            return thing

        return self.change(f"insert {path}", work)

    def delete(self, path: str, *, empty: tuple[str, ...] = ()) -> None:
        def work() -> None:
            self.get(path)
            if any(other.startswith(empty) for other in self.things if empty):
                raise Refused(409, f"{path} is not empty")
            del self.things[path]

        self.change(f"delete {path}", work)

    def below(self, path: str) -> list[Any]:
        return [thing for name, thing in sorted(self.things.items()) if name.startswith(path)]

    def environment(self) -> dict[str, str]:
        """The variables by which Google's clients find it."""
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.http_port}",
            "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{self.http_port}",
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.grpc_port}",
        }

    @contextmanager
    def dataproc_channel(self) -> Iterator[Any]:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            yield channel


# --- REST: Storage and BigQuery ---


def rest(cloud: Cloud, method: str, url: str, body: bytes, content_type: str) -> Any:
    """The answer to one request, as JSON's values; raises :class:`Refused`."""
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    words = [unquote(word) for word in parts.path.strip("/").split("/")]
    if words[:3] == ["upload", "storage", "v1"]:
        return _upload(cloud, words[4], query, body, content_type)
    said = json.loads(body) if body else {}
    if words[:2] == ["storage", "v1"]:
        return _storage(cloud, method, words[2:], said, query)
    if words[:2] == ["bigquery", "v2"]:
        return _bigquery(cloud, method, words[3:], said)
    raise Refused(404, f"{method} {url} is not part of the fake")


def _storage(
    cloud: Cloud, method: str, words: list[str], said: dict[str, Any], query: dict[str, str]
) -> Any:
    match method, words:
        case "GET", ["projects", _, "serviceAccount"]:
            return {"kind": "storage#serviceAccount", "email_address": ACCOUNT}
        case "POST", ["b"]:
            return cloud.insert(f"b/{said['name']}", said)
        case "GET", ["b", name]:
            return cloud.get(f"b/{name}")
        case "DELETE", ["b", name]:
            cloud.delete(f"b/{name}", empty=(f"b/{name}/o/",))
            for path in [path for path in cloud.things if path.startswith(f"b/{name}/")]:
                del cloud.things[path]  # its notifications go with it
            return None
        case "GET", ["b", name, "o"]:
            cloud.get(f"b/{name}")
            every = cloud.below(f"b/{name}/o/")
            if query.get("versions", "").lower() != "true":
                every = [one for one in every if "timeDeleted" not in one]
            return {"items": every}
        case "GET", ["b", name, "o", key]:
            return cloud.get(f"b/{name}/o/{key}")
        case "DELETE", ["b", name, "o", key]:
            path = f"b/{name}/o/{key}"
            if f"{path}#{query.get('generation')}" in cloud.things:  # an old version
                path = f"{path}#{query['generation']}"
            if cloud.get(path).get("temporaryHold"):
                raise Refused(403, f"Object '{name}/{key}' is under active Temporary hold")
            return cloud.delete(path)
        case "GET", ["b", name, "notificationConfigs"]:
            cloud.get(f"b/{name}")
            return {"items": cloud.below(f"b/{name}/notificationConfigs/")}
        case "POST", ["b", name, "notificationConfigs"]:
            topic = said["topic"].removeprefix("//pubsub.googleapis.com/")
            policy = cloud.things.get(f"{topic}/policy", policy_pb2.Policy())
            if not any(f"serviceAccount:{ACCOUNT}" in b.members for b in policy.bindings):
                raise Refused(403, "the service account of Storage cannot publish to the topic")
            if cloud.rights_count_after > 0:
                cloud.rights_count_after -= 1
                raise Refused(403, "the account does not have permission to publish messages")
            number = str(len(cloud.changes))
            thing = {**said, "id": number}
            return cloud.insert(f"b/{name}/notificationConfigs/{number}", thing)
        case "DELETE", ["b", name, "notificationConfigs", number]:
            return cloud.delete(f"b/{name}/notificationConfigs/{number}")
    raise Refused(404, f"{method} {words} is not part of the fake")


def _upload(
    cloud: Cloud, bucket: str, query: dict[str, str], body: bytes, content_type: str
) -> Any:
    cloud.get(f"b/{bucket}")
    headed = b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    whole: Any = email.message_from_bytes(headed)
    described, content = whole.get_payload()
    said = json.loads(described.get_payload(decode=True))
    path = f"b/{bucket}/o/{said['name']}"
    if path in cloud.things and query.get("ifGenerationMatch") == "0":
        raise Refused(412, f"{path} exists")
    size = str(len(content.get_payload(decode=True) or b""))
    return cloud.insert(path, {**said, "bucket": bucket, "generation": "1", "size": size})


def _bigquery(cloud: Cloud, method: str, words: list[str], said: dict[str, Any]) -> Any:
    project, kind, *rest_words = words
    root = f"bigquery/{project}/datasets"
    match method, rest_words:
        case "POST", []:
            return cloud.insert(f"{root}/{said['datasetReference']['datasetId']}", said)
        case "GET", [dataset]:
            return cloud.get(f"{root}/{dataset}")
        case "DELETE", [dataset]:
            return cloud.delete(f"{root}/{dataset}", empty=(f"{root}/{dataset}/",))
        case "POST", [dataset, "tables"]:
            cloud.get(f"{root}/{dataset}")
            return cloud.insert(f"{root}/{dataset}/{said['tableReference']['tableId']}", said)
        case "GET", [dataset, "tables"]:
            return {"tables": cloud.below(f"{root}/{dataset}/")}
        case "GET", [dataset, "tables", table]:
            return cloud.get(f"{root}/{dataset}/{table}")
        case "DELETE", [dataset, "tables", table]:
            return cloud.delete(f"{root}/{dataset}/{table}")
    raise Refused(404, f"{method} {kind} {rest_words} is not part of the fake")


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: else each answer waits 40 ms for an ACK

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            kind = self.headers.get("Content-Type") or ""
            code, said = 200, None
            try:
                said = rest(cloud, self.command, self.path, body, kind)
            except Refused as refused:
                code = refused.code
                said = {"error": {"code": code, "message": str(refused), "errors": []}}
            text = b"" if said is None else json.dumps(said).encode()
            self.send_response(code if said is not None else 204)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            """Nothing: tests say what they see."""

    return Handler


# --- gRPC: Pub/Sub, IAM, Dataproc ---


def methods(cloud: Cloud) -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """(Type of the request, what answers it) by the method's full name."""

    def subscribed(topic: Any) -> Any:
        every = [t for t in cloud.things.values() if isinstance(t, pubsub.Subscription)]
        names = [one.name for one in every if one.topic == topic.topic]
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=names)

    def removed(path: str) -> Any:
        cloud.delete(path)
        return empty_pb2.Empty()

    def topic_removed(request: Any) -> Any:
        cloud.things.pop(f"{request.topic}/policy", None)
        return removed(request.topic)

    def policy_of(request: Any) -> Any:
        cloud.get(request.resource)
        return cloud.things.get(f"{request.resource}/policy", policy_pb2.Policy())

    def policy_set(request: Any) -> Any:
        def work() -> Any:
            cloud.things[f"{request.resource}/policy"] = request.policy
            return request.policy

        return cloud.change(f"policy {request.resource}", work)

    def cluster_path(request: Any) -> str:
        return f"clusters/{request.project_id}/{request.region}/{request.cluster_name}"

    def cluster_made(request: Any) -> Any:
        if request.request_id in cloud.answered:
            return _done(cloud.answered[request.request_id])
        cluster = dataproc.Cluster(request.cluster)
        cluster.cluster_uuid = str(uuid.uuid4())
        cluster.status = dataproc.ClusterStatus(state="RUNNING")
        where = f"clusters/{request.project_id}/{request.region}/{cluster.cluster_name}"
        cloud.requests.append(request)
        if why := cloud.cluster_fails:
            cloud.cluster_fails = ""
            cluster.status = dataproc.ClusterStatus(state="ERROR", detail=why)
            cloud.insert(where, cluster, request.request_id)
            error = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message=why)
            return operations_pb2.Operation(name="operations/1", done=True, error=error)
        return _done(cloud.insert(where, cluster, request.request_id))

    def cluster_removed(request: Any) -> Any:
        there = cloud.get(cluster_path(request))
        if there.status.state.name == "DELETING":
            raise Refused(412, "Cannot delete cluster while it has other pending delete operations")
        if request.cluster_uuid not in ("", there.cluster_uuid):
            raise Refused(404, "another cluster has the name")
        cloud.delete(cluster_path(request))
        return _done(empty_pb2.Empty())

    def job_submitted(request: Any) -> Any:
        if request.request_id in cloud.answered:
            return cloud.answered[request.request_id]
        job = dataproc.Job(request.job)
        name = job.placement.cluster_name
        cluster = cloud.get(f"clusters/{request.project_id}/{request.region}/{name}")
        job.placement.cluster_uuid = cluster.cluster_uuid
        job.reference = dataproc.JobReference(
            project_id=request.project_id, job_id=str(uuid.uuid4())
        )
        # A stream goes on, the maker of topics is done at once.
        ends = job.labels["step"] != "stream"
        job.status = dataproc.JobStatus(state="DONE" if ends else "RUNNING")
        cloud.requests.append(request)
        return cloud.insert(f"jobs/{job.reference.job_id}", job, request.request_id)

    def jobs_listed(request: Any) -> Any:
        every = cloud.below("jobs/")
        return dataproc.ListJobsResponse(
            jobs=[job for job in every if job.placement.cluster_name == request.cluster_name]
        )

    def job_cancelled(request: Any) -> Any:
        job = cloud.get(f"jobs/{request.job_id}")
        if job.status.state.name in ("DONE", "ERROR", "CANCELLED"):
            raise Refused(412, f"{request.job_id} has ended")

        def work() -> Any:
            job.status = dataproc.JobStatus(state="CANCELLED")
            return job

        return cloud.change(f"cancel jobs/{request.job_id}", work)

    publisher, subscriber = "google.pubsub.v1.Publisher", "google.pubsub.v1.Subscriber"
    clusters = "google.cloud.dataproc.v1.ClusterController"
    jobs = "google.cloud.dataproc.v1.JobController"
    return {
        f"/{publisher}/GetTopic": (pubsub.GetTopicRequest, lambda r: cloud.get(r.topic)),
        f"/{publisher}/CreateTopic": (pubsub.Topic, lambda r: cloud.insert(r.name, r)),
        f"/{publisher}/DeleteTopic": (pubsub.DeleteTopicRequest, topic_removed),
        f"/{publisher}/ListTopicSubscriptions": (
            pubsub.ListTopicSubscriptionsRequest,
            subscribed,
        ),
        f"/{subscriber}/GetSubscription": (
            pubsub.GetSubscriptionRequest,
            lambda r: cloud.get(r.subscription),
        ),
        f"/{subscriber}/CreateSubscription": (
            pubsub.Subscription,
            lambda r: cloud.insert(r.name, r),
        ),
        f"/{subscriber}/DeleteSubscription": (
            pubsub.DeleteSubscriptionRequest,
            lambda r: removed(r.subscription),
        ),
        "/google.iam.v1.IAMPolicy/GetIamPolicy": (iam_policy_pb2.GetIamPolicyRequest, policy_of),
        "/google.iam.v1.IAMPolicy/SetIamPolicy": (iam_policy_pb2.SetIamPolicyRequest, policy_set),
        f"/{clusters}/GetCluster": (
            dataproc.GetClusterRequest,
            lambda r: cloud.get(cluster_path(r)),
        ),
        f"/{clusters}/CreateCluster": (dataproc.CreateClusterRequest, cluster_made),
        f"/{clusters}/DeleteCluster": (dataproc.DeleteClusterRequest, cluster_removed),
        f"/{jobs}/SubmitJob": (dataproc.SubmitJobRequest, job_submitted),
        f"/{jobs}/ListJobs": (dataproc.ListJobsRequest, jobs_listed),
        f"/{jobs}/CancelJob": (dataproc.CancelJobRequest, job_cancelled),
    }


def _done(answer: Any) -> operations_pb2.Operation:
    """A long operation that has ended."""
    packed = any_pb2.Any()
    packed.Pack(type(answer).pb(answer) if hasattr(type(answer), "pb") else answer)
    return operations_pb2.Operation(name=f"operations/{uuid.uuid4()}", done=True, response=packed)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, cloud: Cloud) -> None:
        self._methods = methods(cloud)

    def service(self, call: Any) -> Any:
        if call.method not in self._methods:
            return None
        kind, answer = self._methods[call.method]

        def handle(request: Any, context: Any) -> Any:
            try:
                return answer(request)
            except Refused as refused:
                return context.abort(_GRPC_CODES[refused.code], str(refused))

        read = kind.deserialize if hasattr(kind, "deserialize") else kind.FromString
        return grpc.unary_unary_rpc_method_handler(handle, read, _written)


def _written(answer: Any) -> bytes:
    kind = type(answer)
    data: bytes = (
        kind.serialize(answer) if hasattr(kind, "serialize") else answer.SerializeToString()
    )
    return data


@contextmanager
def running() -> Iterator[Cloud]:
    """An empty cloud on free ports, until the end of the block."""
    cloud = Cloud()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[_Handlers(cloud)])
        cloud.http_port = http.server_port
        cloud.grpc_port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield cloud
        finally:
            server.stop(None).wait()
            http.shutdown()
            http.server_close()
            thread.join()
