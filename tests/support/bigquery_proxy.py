"""A proxy in front of BigQuery's emulator: what the service does with jobs, and the emulator not.

The emulator takes the id of a job twice, gives uploads ids of its own, and never has a job that
runs. This proxy keeps the jobs that were sent through it by their ids, as the service documents:
a second ``jobs.insert`` of an id is refused with 409 ``duplicate``, whichever way it comes, and
``jobs.get`` knows each job. It can also fail, in the ways in which the service and the network do.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from http_double import HttpDouble

_JOBS = re.compile(r"/(?:upload/)?bigquery/v2/projects/([^/]+)/jobs")
_JOB = re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)")
# Of one hop only; the proxy sets its own.
_OWN_HEADERS = ("connection", "transfer-encoding", "content-length", "host", "accept-encoding")

# By https://cloud.google.com/bigquery/docs/error-messages: reason -> HTTP status.
REFUSALS = {"rateLimitExceeded": 403, "quotaExceeded": 403, "backendError": 503}
# Before a job is taken, after it was taken, and a job that runs for some polls.
LOST_BEFORE, LOST_AFTER, RUNNING = "lost before", "lost after", "running"
_POLLS_RUNNING = 3


@dataclass
class _Job:
    resource: dict[str, Any]
    polls_left: int = 0

    def shown(self) -> dict[str, Any]:
        """As ``jobs.get`` gives it: it runs for a few polls more, or is done."""
        if self.polls_left <= 0:
            return self.resource
        self.polls_left -= 1
        return {**self.resource, "status": {"state": "RUNNING"}}


class BigQueryProxy(HttpDouble):
    """``misbehave(how, 2)``: the next two jobs that are sent meet that.

    ``how``: a reason of :data:`REFUSALS`: the insert is refused; ``"failed REASON"``: the job is
    taken, and fails; :data:`LOST_BEFORE`, :data:`LOST_AFTER`: the connection ends without an
    answer; :data:`RUNNING`: the job is not done at once.

    ``bring`` is called with each URI that a job loads, before it is taken, to put it where the
    emulator reads it. ``jobs``: by id. ``refused``: how often an id was refused as a duplicate.
    """

    def __init__(self, target: str) -> None:
        super().__init__()
        self.bring: Callable[[str], object] = lambda uri: None
        self._target = urlsplit(target).netloc
        self._lock = threading.RLock()
        self._fault, self._faults_left = "", 0
        self._chances: Mapping[str, float] = {}
        self._random = random.Random()
        self._uploads: dict[str, str] = {}
        self.jobs: dict[str, _Job] = {}
        self.refused = 0

    def misbehave(self, how: str, times: int = 1) -> None:
        """From now on, so many times."""
        with self._lock:
            self._fault, self._faults_left = how, times

    def misbehave_at_random(self, chances: Mapping[str, float], seed: int) -> None:
        """From now on each job that is sent meets a fault with its chance."""
        with self._lock:
            self._chances, self._random = chances, random.Random(seed)

    def _next_fault(self) -> str:
        if self._faults_left:
            self._faults_left -= 1
            return self._fault
        if self._chances:
            names, weights = list(self._chances), list(self._chances.values())
            [fault] = self._random.choices(["", *names], [1 - sum(weights), *weights])
            return str(fault)
        return ""

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length) if length else b""
        place = urlsplit(request.path)
        upload = parse_qs(place.query).get("upload_id", [place.path])[0]
        with self._lock:  # one job at a time: an id is looked up and taken in one step
            if request.command == "POST" and _JOBS.fullmatch(place.path):
                self._insert(request, body, is_upload=place.path.startswith("/upload/"))
            elif request.command == "PUT" and upload in self._uploads:
                self._take(request, body, self._uploads[upload], is_upload=True)
            elif request.command == "GET" and (job := self._known(place.path)) is not None:
                _send(request, 200, job.shown())
            else:
                _pass_back(request, *self._forward(request, body))

    def _known(self, path: str) -> _Job | None:
        known = _JOB.fullmatch(path)
        return self.jobs.get(known.group(2)) if known else None

    def _insert(self, request: BaseHTTPRequestHandler, body: bytes, *, is_upload: bool) -> None:
        asked = json.loads(body)
        job_id = asked.get("jobReference", {}).get("jobId")
        if job_id is None or "load" not in asked.get("configuration", {}):
            _pass_back(request, *self._forward(request, body))
        elif job_id in self.jobs:
            self._refuse(request, job_id)
        elif is_upload:
            status, headers, content = self._forward(request, body)
            location = urlsplit(headers["location"])
            upload = parse_qs(location.query).get("upload_id", [location.path])[0]
            self._uploads[upload] = job_id
            headers["location"] = location._replace(
                scheme="http", netloc=urlsplit(self.url).netloc
            ).geturl()
            _pass_back(request, status, headers, content)
        else:
            for uri in asked["configuration"]["load"]["sourceUris"]:
                self.bring(uri)
            self._take(request, body, job_id, is_upload=False)

    def _take(
        self, request: BaseHTTPRequestHandler, body: bytes, job_id: str, *, is_upload: bool
    ) -> None:
        """The moment at which a job is taken, or not."""
        if job_id in self.jobs:
            self._refuse(request, job_id)
            return
        fault = self._next_fault()
        if fault in REFUSALS:
            _send_error(request, REFUSALS[fault], fault, "as told")
            return
        if fault == LOST_BEFORE:
            request.close_connection = True
            return
        if fault.startswith("failed "):
            reason = {"reason": fault.removeprefix("failed "), "message": "as told"}
            status = {"state": "DONE", "errorResult": reason, "errors": [reason]}
            job = _Job({**_reference(job_id), "configuration": {"load": {}}, "status": status})
        else:
            code, headers, content = self._forward(request, body)
            if code != 200:
                _pass_back(request, code, headers, content)
                return
            resource = {**json.loads(content), **_reference(job_id)}
            if is_upload:  # the emulator says how many rows the table has
                rows = {"outputRows": str(body.count(b"\n"))}
                resource["statistics"] = {**resource.get("statistics", {}), "load": rows}
            job = _Job(resource, _POLLS_RUNNING if fault == RUNNING else 0)
        self.jobs[job_id] = job
        if fault == LOST_AFTER:
            request.close_connection = True
            return
        _send(request, 200, job.shown())

    def _refuse(self, request: BaseHTTPRequestHandler, job_id: str) -> None:
        self.refused += 1
        _send_error(request, 409, "duplicate", f"Already Exists: Job local-project:US.{job_id}")

    def _forward(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        headers = _of_two_hops(request.headers.items())
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            given = _of_two_hops(answer.getheaders())
            return answer.status, given, answer.read()
        finally:
            connection.close()


def _of_two_hops(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    named = {name.lower(): value for name, value in headers}
    return {name: value for name, value in named.items() if name not in _OWN_HEADERS}


def _reference(job_id: str) -> dict[str, Any]:
    reference = {"projectId": "local-project", "jobId": job_id, "location": "US"}
    return {"kind": "bigquery#job", "id": f"local-project:US.{job_id}", "jobReference": reference}


def _send_error(request: BaseHTTPRequestHandler, status: int, reason: str, message: str) -> None:
    entry = {"message": message, "domain": "global", "reason": reason}
    _send(request, status, {"error": {"code": status, "message": message, "errors": [entry]}})


def _send(request: BaseHTTPRequestHandler, status: int, content: Mapping[str, Any]) -> None:
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    _pass_back(request, status, headers, json.dumps(content).encode())


def _pass_back(
    request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], content: bytes
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def bring_from(client: Any, buckets: Path) -> Callable[[str], object]:
    """``bring`` of a :class:`BigQueryProxy`: objects of a GCS server go where the emulator reads.

    ``client``: google-cloud-storage's; ``buckets``: the emulator's folder of buckets.
    """

    def bring(uri: str) -> None:
        bucket, _, path = uri.removeprefix("gs://").partition("/")
        target = buckets / bucket / path
        target.parent.mkdir(parents=True, exist_ok=True)
        client.bucket(bucket).blob(path).download_to_filename(target)

    return bring
