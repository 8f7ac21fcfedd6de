"""S3 keys and a SASL password, looked for in all that a running and a failing job shows."""

from __future__ import annotations

import json
import random
import re
import urllib.request
from pathlib import Path
from typing import Any

import numbered_frames as frames
import pytest
from detect_job import DetectJob
from fault_cases import Case
from local_services import proc
from local_services.kafka import Kafka
from local_services.process import free_ports, wait_until
from local_services.s3 import S3
from pictures import scene_jpeg
from planted_secrets import leaks, sasl_properties

# Pages of Spark's UI and its REST interface, below the address of the driver.
_PAGES = ("jobs/", "stages/", "storage/", "environment/", "executors/", "SQL/", "StreamingQuery/")
_REST = ("environment", "sql?details=true", "jobs", "stages", "allexecutors")

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.full_size
def test_secrets_stand_in_nothing_that_a_job_shows_or_leaves(
    root: Path,
    tmp_path: Path,
    kafka: Kafka,
    s3_server: S3,
    s3_client: Any,
    bucket: str,
    case: Case,
    rng: random.Random,
) -> None:
    case.expected = "found nowhere"
    s3_client.put_object(Bucket=bucket, Key="1.jpg", Body=scene_jpeg(1, 96, 64))
    topic, results = frames.topics(kafka.bootstrap_servers)
    uris = [f"s3://{bucket}/{name}.jpg" for name in (1, "none")]
    messages = [(0, frames.message_of(number, uri)) for number, uri in enumerate(uris)]
    frames.produce(kafka.bootstrap_servers, topic, messages)
    given, left = tmp_path / "given", tmp_path / "left"
    given.mkdir()
    (left / "events").mkdir(parents=True)
    properties = sasl_properties(given / "kafka.properties", kafka.user, kafka.password)
    [ui_port] = free_ports(1)
    conf = {
        **{f"spark.hadoop.{key}": value for key, value in s3_server.hadoop_conf().items()},
        # As people give them to s3a; the fetching of objects takes those of the environment.
        "spark.hadoop.fs.s3a.access.key": s3_server.credentials.access_key_id,
        "spark.hadoop.fs.s3a.secret.key": s3_server.credentials.secret_access_key,
        "spark.ui.enabled": "true",
        "spark.ui.port": str(ui_port),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (left / "events").as_uri(),
        "spark.log.level": "INFO",
    }
    sent = frames.Sent(topic, results, {(0, 0): 0, (0, 1): 1}, frozenset())
    job = DetectJob(
        *(root, left, kafka.sasl_bootstrap_servers, sent),
        flags=(
            *("--payload", "uri", "--uri-prefix", f"s3://{bucket}/"),
            *("--kafka-config", str(properties), "--metrics-port", "auto"),
        ),
        conf=conf,
    )
    shown: dict[str, str] = {}
    with job.running() as process:
        assert wait_until(lambda: job.rows() == 2, timeout_s=90), job.tail()
        shown |= pages(f"http://127.0.0.1:{ui_port}")
        [metrics] = re.findall(r"metrics at (http://\S+)", job.tail(None))
        shown["metrics"] = page(metrics)
        # Python workers, their daemon and the driver; Java is started with its settings.
        for pid in proc.members(process.pid):
            shown[f"arguments of {pid}"] = proc.command_line(pid)
        (left / "out").rename(left / "away")  # so that it fails, with a traceback
        (left / "out").write_text("in the way")
        frames.produce(kafka.bootstrap_servers, topic, [(0, frames.message_of(3, uris[0]))])
        code = process.wait(120)

    secrets = {
        "S3 secret": s3_server.credentials.secret_access_key,
        "S3 access key": s3_server.credentials.access_key_id,
        "SASL password": kafka.password,
    }
    # What the test itself gives to Java on its command line is the user's, not the job's.
    own = {name for name in shown if name.startswith("arguments") and "spark.hadoop" in shown[name]}
    found = leaks(secrets, left, *(text for name, text in shown.items() if name not in own))
    case.injected = f"{len(secrets)} secrets; {len(shown)} pages and command lines, log, event log"
    case.found = "; ".join(found) or "none"
    assert code == 1
    assert "Traceback" in job.tail(None)
    assert any("StreamingQuery" in name for name in shown)
    assert found == []


def pages(ui: str) -> dict[str, str]:
    """Spark's own, by their names."""
    applications: list[dict[str, Any]] = json.loads(page(f"{ui}/api/v1/applications"))
    rest = f"api/v1/applications/{applications[0]['id']}"
    names = [*_PAGES, *(f"{rest}/{name}" for name in _REST)]
    return {name: page(f"{ui}/{name}") for name in names}


def page(url: str) -> str:
    """What a server answers."""
    with _DIRECT.open(url, timeout=20) as answer:
        return str(answer.read().decode())
