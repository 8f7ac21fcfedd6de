"""The cluster, with the nodes' Python packages and Kafka, and the jobs on it."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud.dataproc_v1 import types
from google.protobuf.duration_pb2 import Duration

from .parts import Call, State
from .plan import KAFKA_TOPICS, DeployError, Plan, is_ours
from .services import Services
from .storage import object_name

# Week 9's machines and limits. Its autoscaling is left out: Google's documentation says that
# Dataproc's does not support Structured Streaming.
MACHINE, MASTER_DISK_GB, WORKER_DISK_GB = "n1-standard-4", 100, 50
IDLE_S, AGE_S = 30 * 60, 3 * 3600
# Google's own, https://github.com/GoogleCloudDataproc/initialization-actions/tree/master/kafka
KAFKA_ACTION = "gs://goog-dataproc-initialization-actions-{region}/kafka/kafka.sh"
# A cluster takes minutes, its packages (TensorFlow) some more.
TIMEOUT_S = 30 * 60
POLL_S = 10.0
# A driver that fails is started again so often in an hour; the checkpoint makes that exact.
RESTARTS_PER_HOUR = 5
STEP_LABEL, CONTENT_LABEL = "step", "content"
# Not among them: ATTEMPT_FAILURE, of a job that Dataproc is about to start again.
_ENDED = ("DONE", "ERROR", "CANCELLED")
_CANCELLING = ("CANCEL_PENDING", "CANCEL_STARTED")


@dataclass(frozen=True)
class Cluster:
    """It deletes itself when it is idle or old, so that nothing goes on costing."""

    plan: Plan
    services: Services
    flag = "--cluster"

    @property
    def title(self) -> str:
        return f"Dataproc cluster {self.plan.cluster}"

    def look(self) -> State:
        try:
            cluster = self._cluster()
        except NotFound:
            return State.ABSENT
        return State.OURS if is_ours(self.plan, dict(cluster.labels)) else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        request = types.CreateClusterRequest(
            project_id=self.plan.project_id, region=self.plan.region, cluster=described(self.plan)
        )
        yield Call(
            "dataproc.ClusterController.CreateCluster",
            request,
            lambda: self.services.clusters.create_cluster(request=_once(request)).result(TIMEOUT_S),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        cluster = self._cluster()
        if cluster.status.state.name == "DELETING":  # a second deletion is refused
            where = types.GetClusterRequest(**self._where())
            yield Call("dataproc.ClusterController.GetCluster", where, self._wait_until_gone)
            return
        # Of this cluster, not of one that has got its name meanwhile.
        request = types.DeleteClusterRequest(**self._where(), cluster_uuid=cluster.cluster_uuid)
        yield Call(
            "dataproc.ClusterController.DeleteCluster",
            request,
            lambda: self.services.clusters.delete_cluster(request=request).result(TIMEOUT_S),
        )

    def wait(self, pause_s: float = POLL_S) -> None:
        """Until it runs; an earlier run may have left it in the making.

        Raises :class:`DeployError` where it never will.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while (status := self._cluster().status).state.name != "RUNNING":
            if status.state.name == "DELETING":
                raise DeployError(f"{self.title} is being deleted: run it again in some minutes")
            if status.state.name in ("ERROR", "ERROR_DUE_TO_UPDATE", "STOPPED"):
                raise DeployError(
                    f"{self.title} is {status.state.name}: {status.detail or 'no detail'}. "
                    "Remove it with --cleanup, then deploy again"
                )
            if time.monotonic() > deadline:
                raise DeployError(f"{self.title} is still {status.state.name} after {TIMEOUT_S} s")
            time.sleep(pause_s)

    def uuid(self) -> str:
        """The id that no other cluster of this name has had; empty where there is none."""
        try:
            return str(self._cluster().cluster_uuid)
        except NotFound:
            return ""

    def _wait_until_gone(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while uuid := self.uuid():
            if time.monotonic() > deadline:
                raise DeployError(f"{self.title}, {uuid}, is not gone after {TIMEOUT_S} s")
            time.sleep(POLL_S)

    def _cluster(self) -> Any:
        return self.services.clusters.get_cluster(request=self._where())

    def _where(self) -> dict[str, str]:
        plan = self.plan
        return {
            "project_id": plan.project_id,
            "region": plan.region,
            "cluster_name": plan.cluster,
        }


def _once(request: Any) -> Any:
    """The request with an id of its own.

    Google's client asks again where an answer is lost; by the id the service knows that it has done
    it. A dry run prints none: the same plan is the same text.
    """
    request.request_id = str(uuid.uuid4())
    return request


def described(plan: Plan) -> types.Cluster:
    """The cluster that a plan asks for."""
    packages = ",".join(plan.pip_packages)
    return types.Cluster(
        project_id=plan.project_id,
        cluster_name=plan.cluster,
        labels=plan.labels,
        config=types.ClusterConfig(
            gce_cluster_config=types.GceClusterConfig(
                service_account_scopes=["https://www.googleapis.com/auth/cloud-platform"],
                # pip and the jars come from the internet; newer images have no way out otherwise.
                internal_ip_only=False,
                # Kafka's action puts brokers on workers only, unless told.
                metadata={"run-on-master": "true"},
            ),
            master_config=_machines(1, MASTER_DISK_GB),
            worker_config=_machines(plan.workers, WORKER_DISK_GB),
            software_config=types.SoftwareConfig(
                image_version=plan.image_version,
                optional_components=[types.Component.ZOOKEEPER],  # Kafka's action asks for it
                properties={"dataproc:pip.packages": packages} if packages else {},
            ),
            initialization_actions=[
                types.NodeInitializationAction(
                    executable_file=KAFKA_ACTION.format(region=plan.region),
                    execution_timeout=Duration(seconds=600),
                )
            ],
            lifecycle_config=types.LifecycleConfig(
                idle_delete_ttl=Duration(seconds=IDLE_S), auto_delete_ttl=Duration(seconds=AGE_S)
            ),
        ),
    )


def _machines(count: int, disk_gb: int) -> types.InstanceGroupConfig:
    return types.InstanceGroupConfig(
        num_instances=count,
        machine_type_uri=MACHINE,
        disk_config=types.DiskConfig(boot_disk_size_gb=disk_gb),
    )


@dataclass(frozen=True)
class _Job:
    """A job is there while it is under way; which of its kind is said by a label."""

    plan: Plan
    services: Services
    flag = ""
    step = ""

    def job(self) -> types.Job:
        raise NotImplementedError

    def look(self) -> State:
        return State.OURS if self.under_way() else State.ABSENT

    def under_way(self) -> list[Any]:
        """Those of this deployment that have not ended."""
        return [job for job in self.every() if job.status.state.name not in _ENDED]

    def every(self) -> list[Any]:
        """Those on the cluster that is there: a job may outlive its cluster in the lists."""
        cluster_uuid = Cluster(self.plan, self.services).uuid()
        if not cluster_uuid:
            return []
        labels = {**self.plan.labels, STEP_LABEL: self.step}
        request = types.ListJobsRequest(
            project_id=self.plan.project_id,
            region=self.plan.region,
            cluster_name=self.plan.cluster,
            filter=" AND ".join(f"labels.{key} = {value}" for key, value in labels.items()),
        )
        # Asked twice, and not in vain: what has not all the labels is somebody's.
        every = self.services.jobs.list_jobs(request=request)
        return [
            job
            for job in every
            if labels.items() <= dict(job.labels).items()
            and job.placement.cluster_uuid == cluster_uuid
        ]

    def creation(self) -> Iterator[Call]:
        request = types.SubmitJobRequest(
            project_id=self.plan.project_id, region=self.plan.region, job=self.job()
        )
        yield Call(
            "dataproc.JobController.SubmitJob",
            request,
            lambda: self.services.jobs.submit_job(request=_once(request)),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        for job in self.under_way():
            if job.status.state.name in _CANCELLING:
                continue
            request = types.CancelJobRequest(
                project_id=self.plan.project_id,
                region=self.plan.region,
                job_id=job.reference.job_id,
            )
            yield Call("dataproc.JobController.CancelJob", request, partial(self._cancel, request))

    def _cancel(self, request: types.CancelJobRequest) -> None:
        try:
            self.services.jobs.cancel_job(request=request)
        except FailedPrecondition:
            if any(job.reference.job_id == request.job_id for job in self.under_way()):
                raise

    def _labelled(self, program: types.PySparkJob, restarts_per_hour: int) -> types.Job:
        content = hashlib.sha256(types.PySparkJob.to_json(program, sort_keys=True).encode())
        return types.Job(
            placement=types.JobPlacement(cluster_name=self.plan.cluster),
            pyspark_job=program,
            scheduling=types.JobScheduling(max_failures_per_hour=restarts_per_hour),
            labels={
                **self.plan.labels,
                STEP_LABEL: self.step,
                CONTENT_LABEL: content.hexdigest()[:16],
            },
        )

    def _uri(self, name: str) -> str:
        [file] = (file for file in self.plan.files if file.name == name)
        return f"gs://{self.plan.bucket}/{object_name(file)}"


@dataclass(frozen=True)
class KafkaTopics(_Job):
    """Topics made by a job on the cluster: its brokers are reached from inside only."""

    step = "kafka-topics"

    @property
    def title(self) -> str:
        return f"Kafka topics {' '.join(KAFKA_TOPICS)}"

    def look(self) -> State:
        """There once the job is done; topics go with their cluster."""
        is_done = any(job.status.state.name == "DONE" for job in self.every())
        return State.OURS if is_done else State.ABSENT

    def job(self) -> types.Job:
        program = types.PySparkJob(
            main_python_file_uri=self._uri("make_kafka_topics.py"),
            args=[self.plan.kafka_servers, *KAFKA_TOPICS],
        )
        return self._labelled(program, 0)

    def wait(self, pause_s: float = POLL_S) -> None:
        """Until the job is done. Raises :class:`DeployError` if it fails."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.look() is not State.OURS:
            if not self.under_way():
                failed = [job for job in self.every() if job.status.state.name == "ERROR"]
                logs = failed[0].driver_output_resource_uri if failed else "its page in the console"
                raise DeployError(f"{self.title}: the job that makes them failed. See {logs}")
            if time.monotonic() > deadline:
                raise DeployError(f"{self.title}: the job takes longer than {TIMEOUT_S} s")
            time.sleep(pause_s)


@dataclass(frozen=True)
class Stream(_Job):
    """`jobs/stream_classify.py` with week 9's flags."""

    step = "stream"

    @property
    def title(self) -> str:
        return "job stream_classify"

    def job(self) -> types.Job:
        program = types.PySparkJob(
            main_python_file_uri=self._uri("stream_classify.py"),
            python_file_uris=[self._uri("pyspark_vision.zip")],
            args=list(self.plan.stream_flags),
            properties={"spark.jars.packages": self.plan.kafka_package},
        )
        return self._labelled(program, RESTARTS_PER_HOUR)

    def differs(self) -> bool:
        """Whether the one under way has other flags or programs than the plan's."""
        content = self.job().labels[CONTENT_LABEL]
        return any(job.labels.get(CONTENT_LABEL) != content for job in self.under_way())
