"""scripts/deploy_dataproc against a fake of Google Cloud: made once, resumed, removed if ours."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_cloud
import guides
import pytest
from deploying import command, dataproc, deploy, storage
from deploying.plan import DeployError, Plan
from deploying.services import Services
from google.cloud.dataproc_v1 import types
from google.pubsub_v1 import types as pubsub
from google_cloud import Cloud

PROJECT = "example-project"
ARGUMENTS = ["--project-id", PROJECT]
BUCKET = f"b/{PROJECT}-week9-streaming-data"
TOPIC = f"projects/{PROJECT}/topics/gcs-image-notifications"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/image-stream-sub"
DATASET = f"bigquery/{PROJECT}/datasets/ml_streaming"
CLUSTER = f"clusters/{PROJECT}/us-central1/week9-streaming-cluster"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with google_cloud.running() as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, ...]:
    """Small files with the programs' names, and no packing."""
    files = tuple(
        tmp_path / name
        for name in ("stream_classify.py", "pyspark_vision.zip", "make_kafka_topics.py")
    )
    for file in files:
        file.write_text(file.name)
    monkeypatch.setattr(command, "programs", lambda: files)
    return files


def run(cloud: Cloud, *arguments: str) -> int:
    with cloud.dataproc_channel() as channel:
        services = Services(PROJECT, "us-central1", channel)
        try:
            return command.main([*ARGUMENTS, *arguments], services)
        finally:
            close(services)


def close(services: Services) -> None:
    """What the process's end closes for a user."""
    for name in ("storage", "bigquery"):
        if name in vars(services):
            getattr(services, name).close()
    for name in ("publisher", "subscriber"):
        if name in vars(services):
            getattr(services, name).transport.close()


def existing(cloud: Cloud) -> list[str]:
    """The names of what exists; jobs and notifications, whose ids are random, by what they are."""
    words = []
    for path, thing in cloud.things.items():
        if path.startswith("jobs/"):
            state = thing.status.state.name
            words.append(f"job {thing.labels['step']} {state}")
        elif "notificationConfigs" in path:
            words.append(f"notification {thing['topic']}")
        else:
            words.append(path)
    return sorted(words)


def test_a_deployment_is_whole_labelled_and_made_once(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cloud, "--yes") == 0
    first, changes = existing(cloud), len(cloud.changes)
    assert run(cloud, "--yes") == 0

    assert existing(cloud) == first
    assert len(cloud.changes) == changes
    assert [word for word in first if not word.startswith(f"{BUCKET}/o/")] == [
        BUCKET,
        DATASET,
        f"{DATASET}/image_predictions",
        CLUSTER,
        "job kafka-topics DONE",
        "job stream RUNNING",
        f"notification //pubsub.googleapis.com/{TOPIC}",
        SUBSCRIPTION,
        TOPIC,
        f"{TOPIC}/policy",
    ]
    labels = {"made-by": "pyspark-vision-deploy", "deployment": "week9-streaming"}
    of_rest = [cloud.things[path]["labels"] for path in (BUCKET, DATASET)]
    of_grpc = [dict(cloud.things[path].labels) for path in (TOPIC, SUBSCRIPTION, CLUSTER)]
    assert [*of_rest, *of_grpc] == [labels] * 5
    assert "pyspark-vision simulate --mode gcs" in capsys.readouterr().out


def test_the_cluster_and_the_jobs_are_messages_of_the_published_types(cloud: Cloud) -> None:
    run(cloud, "--yes", "--workers", "3")

    [made, topics, stream] = cloud.requests
    assert isinstance(made, types.CreateClusterRequest)
    config = made.cluster.config
    assert (config.master_config.num_instances, config.worker_config.num_instances) == (1, 3)
    assert config.worker_config.machine_type_uri == "n1-standard-4"
    assert config.lifecycle_config.idle_delete_ttl.seconds == 1800
    assert config.lifecycle_config.auto_delete_ttl.seconds == 3 * 3600
    packages = config.software_config.properties["dataproc:pip.packages"].split(",")
    assert {"numpy", "tensorflow", "google-cloud-pubsub", "confluent-kafka"} <= {
        package.partition("==")[0] for package in packages
    }
    assert all(package.count("==") == 1 for package in packages)
    assert list(topics.job.pyspark_job.args) == [
        "week9-streaming-cluster-m:9092",
        "image-stream",
        "image-stream-results",
    ]
    program = stream.job.pyspark_job
    assert program.main_python_file_uri.endswith("/stream_classify.py")
    assert [uri.rpartition("/")[2] for uri in program.python_file_uris] == ["pyspark_vision.zip"]
    uris = [program.main_python_file_uri, *program.python_file_uris]
    assert all(
        f"b/{uri.removeprefix('gs://').replace('/', '/o/', 1)}" in cloud.things for uri in uris
    )
    assert stream.job.scheduling.max_failures_per_hour == 5


def test_the_job_takes_the_flags_that_it_is_submitted_with(root: Path) -> None:
    plan = Plan(PROJECT, job_flags=("--confidence-threshold", "0.5"))

    options = (
        guides.script(root / "jobs" / "stream_classify.py").parser().parse_args(plan.stream_flags)
    )

    assert options.input_source == "both"
    assert options.pubsub_subscription == ["image-stream-sub"]
    assert options.output_bq_table == f"{PROJECT}.ml_streaming.image_predictions"
    assert options.checkpoint == f"gs://{PROJECT}-week9-streaming-data/checkpoints/streaming"
    assert options.confidence_threshold == 0.5


@pytest.mark.parametrize("flags", [("--input-source", "kafka"), ("--input-source=kafka",)])
def test_a_job_of_kafka_alone_is_not_told_of_a_subscription(
    flags: tuple[str, ...], root: Path
) -> None:
    plan = Plan(PROJECT, job_flags=flags)

    job = guides.script(root / "jobs" / "stream_classify.py")

    assert job.parser().parse_job(plan.stream_flags, job.check).pubsub_subscription == []


def test_a_newer_image_has_the_connector_of_its_scala() -> None:
    assert Plan(PROJECT).image_version == "3.0-debian13"
    assert Plan(PROJECT).kafka_package.endswith("_2.13:4.1.2")
    assert "_2.12:3.5" in Plan(PROJECT, image_version="2.3-debian12").kafka_package


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before its work", "after its work"])
def test_after_a_failure_of_any_call_another_run_ends_as_one_without(
    cloud: Cloud, after: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cloud, "--yes") == 0
    whole, calls = existing(cloud), len(cloud.changes)
    assert calls > 15

    for number in range(calls):
        cloud.things.clear()
        cloud.changes.clear()
        cloud.fails_at, cloud.fails_after_its_work = number, after
        assert run(cloud, "--yes") == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("deploy_dataproc: ")
        assert "planned failure" in said
        cloud.fails_at = None
        assert run(cloud, "--yes") == 0
        assert existing(cloud) == whole, f"after a failure of call {number}"


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before its work", "after its work"])
def test_after_a_failure_of_any_call_of_a_cleanup_another_one_removes_the_rest(
    cloud: Cloud, after: bool
) -> None:
    run(cloud, "--yes")
    cloud.changes.clear()
    assert run(cloud, "--cleanup", "--yes") == 0
    calls = len(cloud.changes)
    assert [word for word in existing(cloud) if not word.startswith("job ")] == []

    for number in range(calls):
        cloud.things.clear()
        cloud.fails_at = None
        run(cloud, "--yes")
        cloud.changes.clear()
        cloud.fails_at, cloud.fails_after_its_work = number, after
        assert run(cloud, "--cleanup", "--yes") == 2
        cloud.fails_at = None
        assert run(cloud, "--cleanup", "--yes") == 0
        assert [word for word in existing(cloud) if not word.startswith("job ")] == []


@pytest.mark.parametrize(
    "kind", ["bucket", "topics", "subscriptions", "datasets", "clusters", "jobs"]
)
def test_an_answer_that_is_lost_makes_nothing_twice(cloud: Cloud, kind: str) -> None:
    run(cloud, "--yes")
    whole, changes = existing(cloud), list(cloud.changes)
    wanted = f"insert {BUCKET}" if kind == "bucket" else f"{kind}/"
    [number, *_] = [number for number, change in enumerate(changes) if wanted in change]
    cloud.things.clear()
    cloud.changes.clear()
    cloud.fails_at, cloud.fails_after_its_work, cloud.fails_with = number, True, 503

    code = run(cloud, "--yes")

    assert (code, existing(cloud)) == (0, whole)


def test_what_another_run_makes_in_the_same_moment_is_taken_as_it_is(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = cloud.insert

    def insert_after_another(path: str, thing: Any, request_id: str = "") -> Any:
        if path in (BUCKET, TOPIC, SUBSCRIPTION, DATASET, CLUSTER):
            insert(path, thing)
        return insert(path, thing, request_id)

    monkeypatch.setattr(cloud, "insert", insert_after_another)

    assert run(cloud, "--yes") == 0
    assert "job stream RUNNING" in existing(cloud)


def test_a_cluster_that_has_deleted_itself_and_its_job_are_made_again(cloud: Cloud) -> None:
    run(cloud, "--yes")
    del cloud.things[CLUSTER]  # of its job the lists may say for a while that it runs

    assert run(cloud, "--yes") == 0

    assert existing(cloud).count("job stream RUNNING") == 2
    assert existing(cloud).count("job kafka-topics DONE") == 2


def test_a_cluster_that_fails_on_its_way_is_said_each_time_until_a_cleanup(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.cluster_fails = "Insufficient 'CPUS' quota. Requested 12.0, available 8.0."
    for said in ("429 Insufficient 'CPUS' quota", "is ERROR: Insufficient 'CPUS' quota"):
        assert run(cloud, "--yes") == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert cloud.requests[1:] == []  # no job without a cluster

    assert run(cloud, "--cleanup", "--yes") == 0
    assert run(cloud, "--yes") == 0
    assert "job stream RUNNING" in existing(cloud)


def test_a_job_that_is_about_to_be_started_again_is_not_submitted_twice(cloud: Cloud) -> None:
    run(cloud, "--yes")
    [stream] = jobs_of(cloud, "stream")
    stream.status = types.JobStatus(state="ATTEMPT_FAILURE")

    assert run(cloud, "--yes") == 0
    assert jobs_of(cloud, "stream") == [stream]
    assert run(cloud, "--cleanup", "--yes") == 0
    assert stream.status.state.name == "CANCELLED"


def jobs_of(cloud: Cloud, step: str) -> list[Any]:
    every = [cloud.things[path] for path in cloud.things if path.startswith("jobs/")]
    return [job for job in every if job.labels["step"] == step]


def test_a_cleanup_passes_what_ends_or_goes_meanwhile(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cloud, "--yes")
    monkeypatch.setattr(dataproc, "POLL_S", 0.0)
    cloud.things[CLUSTER].status = types.ClusterStatus(state="DELETING")  # of an earlier cleanup
    [stream] = jobs_of(cloud, "stream")
    stream.status = types.JobStatus(state="CANCEL_STARTED")
    delete, look, looks = cloud.delete, cloud.get, []

    def get(path: str) -> Any:
        looks.append(path)
        if path == CLUSTER and looks.count(CLUSTER) == 6:
            cloud.things.pop(CLUSTER)
        return look(path)

    def delete_after_another(path: str, **options: Any) -> None:
        cloud.things.pop(path, None)
        delete(path, **options)

    monkeypatch.setattr(cloud, "get", get)
    monkeypatch.setattr(cloud, "delete", delete_after_another)

    assert run(cloud, "--cleanup", "--yes") == 0
    assert [word for word in existing(cloud) if not word.startswith("job ")] == []


def test_a_cleanup_that_one_service_refuses_removes_the_rest_and_says_what_is_left(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    look = cloud.get

    def get(path: str) -> Any:
        if path.startswith("bigquery/"):
            raise google_cloud.Refused(403, "BigQuery API has not been used in project 1")
        return look(path)

    monkeypatch.setattr(cloud, "get", get)

    assert run(cloud, "--cleanup", "--yes") == 2

    assert [word for word in existing(cloud) if not word.startswith("job ")] == [
        DATASET,
        f"{DATASET}/image_predictions",
    ]
    [said] = [line for line in capsys.readouterr().err.splitlines() if "deploy_dataproc: " in line]
    assert "BigQuery table" in said
    assert "BigQuery dataset" in said
    assert "gcloud services enable" in said


def test_old_versions_go_with_their_bucket_and_what_is_held_stays(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    old, held = "input-images/old.jpg", "input-images/held.jpg"
    for number, more in (("3", {"timeDeleted": "2026-11-28T00:00:00Z"}), ("4", {})):
        cloud.things[f"{BUCKET}/o/{old}" + f"#{number}" * ("timeDeleted" in more)] = {
            "name": old,
            "generation": number,
            **more,
        }
    cloud.things[f"{BUCKET}/o/{held}"] = {
        "name": held,
        "generation": "7",
        "temporaryHold": True,
    }

    assert run(cloud, "--cleanup", "--yes", "--delete-data") == 2
    left = [word for word in existing(cloud) if not word.startswith("job ")]
    said = capsys.readouterr().err
    cloud.things[f"{BUCKET}/o/{held}"]["temporaryHold"] = False
    assert run(cloud, "--cleanup", "--yes", "--delete-data") == 0

    assert left == [BUCKET, f"{BUCKET}/o/{held}"]
    assert "1 objects were not deleted: " in said
    assert "under active Temporary hold" in said
    assert [word for word in existing(cloud) if not word.startswith("job ")] == []


def test_rows_that_were_streamed_a_moment_ago_are_data(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    table = cloud.things[f"{DATASET}/image_predictions"]
    table |= {"numRows": "0", "streamingBuffer": {"estimatedRows": "1200"}}

    assert run(cloud, "--cleanup", "--yes") == 0

    assert "it holds 1,200 rows: --delete-data" in capsys.readouterr().out
    assert f"{DATASET}/image_predictions" in cloud.things


def test_a_notification_that_googles_client_cannot_read_is_said_in_one_line(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    topic = "//pubsub.googleapis.com/projects/example.com:old/topics/theirs"
    cloud.things[f"{BUCKET}/notificationConfigs/x"] = {"id": "x", "topic": topic}

    assert run(cloud, "--yes") == 2

    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"deploy_dataproc: notification of gs://{PROJECT}-week9")
    assert topic in line


def test_the_line_that_ends_it_names_what_was_given_another_name(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes", "--cluster", "other", "--bucket", "b2b", "--topic", "a~b")
    [end] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("End:")]

    assert run(cloud, *shlex.split(end)[4:], "--yes") == 0

    assert [word for word in existing(cloud) if not word.startswith("job ")] == []


@pytest.mark.parametrize("path", [BUCKET, TOPIC, SUBSCRIPTION, DATASET, CLUSTER])
@pytest.mark.parametrize("labels", [{}, {"made-by": "pyspark-vision-deploy", "deployment": "b"}])
def test_what_others_made_under_a_name_of_ours_is_neither_used_nor_removed(
    cloud: Cloud, path: str, labels: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    thing = cloud.things[path]
    if isinstance(thing, dict):
        thing["labels"] = labels
    else:
        thing.labels = labels
    taken = existing(cloud)
    assert run(cloud, "--yes") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "was not made by deployment week9-streaming" in said
    assert "Choose another name with --" in said
    assert existing(cloud) == taken

    assert run(cloud, "--cleanup", "--yes", "--delete-data") == 0

    assert path in cloud.things
    assert "made by somebody else, left alone" in capsys.readouterr().out


def test_data_stays_in_a_cleanup_until_it_is_asked_for(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    for name in ("input-images/cat 1.jpg", "outputs/predictions/part-0.json", "notes.txt"):
        cloud.things[f"{BUCKET}/o/{name}"] = {"name": name, "generation": "7"}
    cloud.things[f"{DATASET}/image_predictions"]["numRows"] = "1200"
    cloud.things[f"{DATASET}/theirs"] = {
        "tableReference": {"projectId": PROJECT, "datasetId": "ml_streaming", "tableId": "theirs"}
    }
    cloud.things[f"projects/{PROJECT}/subscriptions/theirs"] = pubsub.Subscription(
        name=f"projects/{PROJECT}/subscriptions/theirs", topic=TOPIC
    )
    capsys.readouterr()

    assert run(cloud, "--cleanup", "--yes") == 0
    said = capsys.readouterr().out
    kept = [word for word in existing(cloud) if not word.startswith("job ")]
    assert run(cloud, "--cleanup", "--yes", "--delete-data") == 0
    left = [word for word in existing(cloud) if not word.startswith("job ")]

    assert "it holds 3 objects that were not uploaded by the deployment: --delete-data" in said
    assert "it holds 1,200 rows: --delete-data" in said
    assert f"others subscribe to it: projects/{PROJECT}/subscriptions/theirs" in said
    assert {BUCKET, f"{BUCKET}/o/input-images/cat 1.jpg", f"{DATASET}/image_predictions"} <= {*kept}
    assert left == [
        BUCKET,
        f"{BUCKET}/o/notes.txt",
        DATASET,
        f"{DATASET}/theirs",
        f"projects/{PROJECT}/subscriptions/theirs",
        TOPIC,
        f"{TOPIC}/policy",
    ]


def test_two_deployments_stand_side_by_side(cloud: Cloud) -> None:
    run(cloud, "--yes")
    first = existing(cloud)
    others = {
        "bucket": "b2b",
        "topic": "t22",
        "subscription": "s22",
        "dataset": "d",
        "cluster": "c",
    }
    flags = [word for name, value in others.items() for word in (f"--{name}", value)]
    assert run(cloud, "--yes", "--name", "second", *flags) == 0
    assert run(cloud, "--cleanup", "--yes", "--name", "second", *flags) == 0

    left = [word for word in existing(cloud) if word != "job stream CANCELLED"]
    assert [word for word in left if not word.startswith("job ")] == [
        word for word in first if not word.startswith("job ")
    ]
    assert left.count("job stream RUNNING") == 1


def test_another_package_while_the_job_runs_leaves_it_running(
    cloud: Cloud, programs: tuple[Path, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    programs[0].write_text("a newer job")

    assert run(cloud, "--yes") == 0

    assert existing(cloud).count("job stream RUNNING") == 1
    assert "runs with other flags or programs" in capsys.readouterr().out


def test_a_topic_maker_that_failed_is_said_and_made_again(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    for path in [path for path in cloud.things if path.startswith("jobs/")]:
        job = cloud.things[path]
        if job.labels["step"] == "kafka-topics":
            job.status = types.JobStatus(state="ERROR")
            job.driver_output_resource_uri = "gs://staging/driveroutput"
    plan = Plan(PROJECT)
    with cloud.dataproc_channel() as channel:
        services = Services(PROJECT, "us-central1", channel)
        with pytest.raises(DeployError, match="failed. See gs://staging/driveroutput"):
            dataproc.KafkaTopics(plan, services).wait(0)
        cluster = cloud.things[CLUSTER]
        cluster.status = types.ClusterStatus(state="ERROR", detail="no quota for 12 CPUs")
        with pytest.raises(DeployError, match="is ERROR: no quota for 12 CPUs. Remove it with"):
            dataproc.Cluster(plan, services).wait(0)
        cluster.status = types.ClusterStatus(state="RUNNING")

    assert run(cloud, "--yes") == 0
    assert "job kafka-topics DONE" in existing(cloud)


def test_a_dry_run_prints_each_call_and_makes_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/at/all.json")

    assert command.main([*ARGUMENTS, "--dry-run", "--", "--console"]) == 0

    lines = capsys.readouterr().out.splitlines()
    calls = [line.split(" ", 1) for line in lines if not line.startswith("#")]
    assert [method for method, _ in calls if not method.startswith("storage.objects")] == [
        "storage.buckets.insert",
        "pubsub.Publisher.CreateTopic",
        "pubsub.IAMPolicy.SetIamPolicy",
        "pubsub.Subscriber.CreateSubscription",
        "storage.notifications.insert",
        "bigquery.datasets.insert",
        "bigquery.tables.insert",
        "dataproc.ClusterController.CreateCluster",
        "dataproc.JobController.SubmitJob",
        "dataproc.JobController.SubmitJob",
    ]
    requests: list[dict[str, Any]] = [json.loads(request) for _, request in calls]
    assert requests[-1]["job"]["pyspark_job"]["args"][-1] == "--console"
    assert types.SubmitJobRequest.from_json(calls[-1][1]).job.labels["step"] == "stream"


def test_a_dry_cleanup_removes_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    run(cloud, "--yes")
    whole = existing(cloud)
    capsys.readouterr()

    assert run(cloud, "--cleanup", "--dry-run") == 0

    assert existing(cloud) == whole
    said = capsys.readouterr().out
    assert "dataproc.ClusterController.DeleteCluster" in said
    assert "pubsub.Publisher.DeleteTopic" in said


def test_a_cleanup_of_nothing_says_so(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cloud, "--cleanup", "--yes") == 0
    *absent, last = capsys.readouterr().out.splitlines()
    assert "== Dataproc cluster week9-streaming-cluster: absent" in absent
    assert last == (
        "== nothing of deployment week9-streaming is there under these names; what was made with "
        "others is removed with the same flags"
    )


def test_a_cleanup_passes_a_bucket_that_is_not_to_be_looked_into(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cloud, "--yes")
    look = cloud.get

    def get(path: str) -> Any:
        if path == BUCKET:
            raise google_cloud.Refused(403, "somebody does not have storage.buckets.get access")
        return look(path)

    monkeypatch.setattr(cloud, "get", get)

    assert run(cloud, "--cleanup", "--yes") == 0

    assert CLUSTER not in cloud.things
    assert TOPIC not in cloud.things
    assert BUCKET in cloud.things
    assert "made by somebody else, left alone" in capsys.readouterr().out


def test_a_right_that_counts_a_little_later_is_waited_for(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "RIGHTS_POLL_S", 0.01)
    cloud.rights_count_after = 3

    assert run(cloud, "--yes") == 0

    assert [word for word in existing(cloud) if word.startswith("notification")]


def test_a_reader_of_the_dry_run_that_goes_ends_it_without_a_word(root: Path) -> None:
    script = [str(root / "scripts" / "deploy_dataproc"), *ARGUMENTS, "--dry-run"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dry_run:
        assert dry_run.stdout is not None
        assert dry_run.stderr is not None
        dry_run.stdout.readline()
        dry_run.stdout.close()
        assert dry_run.stderr.read() == b""


@pytest.mark.parametrize("answers", [io.StringIO("y\n"), None], ids=["a pipe", "closed"])
def test_without_a_terminal_and_without_yes_it_refuses_in_one_line(
    answers: io.StringIO | None,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", answers)

    assert run(cloud) == 2

    said = capsys.readouterr().err
    assert "3 n1-standard-4 machines with 200 GB of disk" in said
    assert said.splitlines()[-1] == (
        "deploy_dataproc: nobody is there to be asked (no terminal): say --yes"
    )
    assert cloud.changes == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)],
)
def test_only_yes_is_taken_for_yes(answer: str, expected: bool) -> None:
    assert deploy.ask("About to", io.StringIO(answer), True) is expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bucket", "A b"], "--bucket 'A b': it must be 3 to 63"),
        (["--bucket", "my-google-bucket"], "--bucket 'my-google-bucket': it must be 3 to 63"),
        (["--topic", "goog-images"], "--topic 'goog-images': it must be 3 to 255"),
        (["--image-version", "2.0"], "--image-version '2.0': it must be 2.2 or newer"),
        (
            ["--image-version", "2.3"],
            "--image-version 2.3 has Spark 3.5, and the job reads",
        ),
        (
            ["--", "--confidense-threshold", "0.5"],
            "flags after --: stream_classify: error: there is no option --confidense-threshold; "
            "did you mean --confidence-threshold?",
        ),
        (["--workers", "1"], "--workers 1: it must be 2 to 100"),
        (["--image-version", "1.5"], "--image-version '1.5': it must be"),
        (["--name", "Ä"], "--name 'Ä': it must be"),
        (["--delete-data"], "--delete-data is for --cleanup"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_before_anything_is_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*ARGUMENTS, *arguments]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"deploy_dataproc: {said}")


def test_without_a_login_it_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    assert command.main([*ARGUMENTS, "--yes"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert "gcloud auth application-default login" in line


def test_a_test_server_beside_googles_machines_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")

    assert command.main([*ARGUMENTS, "--yes"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert "the cluster would be made at Google: unset STORAGE_EMULATOR_HOST" in line


@pytest.mark.parametrize("content", [None, b"[]", b"\xff", b"{}"])
def test_a_login_that_is_none_is_one_line(
    content: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "login.json"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    assert command.main([*ARGUMENTS, "--cleanup", "--yes"]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("deploy_dataproc: no login for Google Cloud: ")


def test_dataproc_md_its_commands_deploy_and_remove(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    block = guides.block("dataproc.md", "scripts/deploy_dataproc", {"PROJECT": PROJECT})
    dry, make, remove = (shlex.split(line, comments=True)[3:] for line in block.commands)

    assert run(cloud, *dry) == 0
    assert cloud.changes == []
    assert run(cloud, *make, "--yes") == 0
    assert CLUSTER in cloud.things
    assert run(cloud, *remove, "--yes") == 0
    assert CLUSTER not in cloud.things
