"""One submission -> the line of spark-submit, for each kind of cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pyspark_vision.clients.submitting.errors import SubmitError

from .flags import JobFlags
from .shipping import refuse_local_paths, ship

ROOT = Path(__file__).resolve().parents[2]
# `scripts/submit doctor` checks what a job submitted by the same line would find.
DOCTOR = ROOT / "pyspark_vision" / "cli" / "doctor.py"
# What `pyspark-vision` runs: its commands that have a session are submitted as jobs are.
COMMANDS = ROOT / "pyspark_vision" / "cli" / "main.py"

SHIPPED_PYTHON = "./environment/bin/python"
# Where conf/kubernetes/Dockerfile puts this checkout.
IMAGE_ROOT = "/opt/pyspark_vision"
POD_TEMPLATES = ROOT / "conf" / "kubernetes"
SERVICE_ACCOUNT = "pyspark-vision"


@dataclass(frozen=True)
class Submission:
    """What was asked for; raises :class:`SubmitError` for what cannot work.

    ``python``: of the executors, a path that each of them has. ``image``: of the pods.
    """

    master: str
    job: Path
    flags: JobFlags
    deploy_mode: str = "client"
    ship_environment: bool = False
    python: str | None = None
    image: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_impossible(self)

    @property
    def kind(self) -> str:
        """``local``, ``standalone``, ``yarn`` or ``kubernetes``."""
        kinds = {"local": "local", "spark://": "standalone", "yarn": "yarn", "k8s://": "kubernetes"}
        for prefix, kind in kinds.items():
            if self.master.startswith(prefix):
                return kind
        raise SubmitError(
            f"--master {self.master!r}: choose local[N], spark://HOST:PORT, yarn or k8s://URL"
        )

    @property
    def on_cluster(self) -> bool:
        """Whether the driver runs elsewhere."""
        return self.deploy_mode == "cluster"


@dataclass(frozen=True)
class Baggage:
    """What was built, fetched and packed to go with a submission."""

    package: Path
    jars: tuple[Path, ...] = ()
    environment: Path | None = None


def spark_submit_line(submission: Submission, baggage: Baggage | None) -> list[str]:
    """The command. ``baggage`` is ``None`` on Kubernetes, whose image holds all of that.

    In YARN's cluster mode the model and other files of the flags are made ready beside the package.
    """
    flags, job = submission.flags, str(submission.job)
    options: list[str] = []
    if baggage is None:
        conf = _kubernetes_conf(submission)
        if submission.on_cluster:
            job = f"local://{IMAGE_ROOT}/{submission.job.resolve().relative_to(ROOT)}"
    else:
        conf = _python_conf(submission)
        files: tuple[Path, ...] = ()
        if submission.on_cluster:
            shipped = ship(flags, baggage.package.parent)
            flags, files = shipped.flags, shipped.files
        options += ["--py-files", str(baggage.package)]
        for option, paths in (("--jars", baggage.jars), ("--files", files)):
            options += [option, ",".join(map(str, paths))] if paths else []
        if baggage.environment:
            options += ["--archives", f"{baggage.environment}#environment"]
    mode = [] if submission.kind == "local" else ["--deploy-mode", submission.deploy_mode]
    for key, value in (conf | dict(submission.conf)).items():
        options += ["--conf", f"{key}={value}"]
    return [_spark_submit(), "--master", submission.master, *mode, *options, job, *flags.argv]


def _refuse_impossible(asked: Submission) -> None:
    if asked.on_cluster and asked.kind == "standalone":
        raise SubmitError(
            "Spark's standalone cluster does not run Python drivers (--deploy-mode cluster is for "
            "jars there): use --deploy-mode client, from a machine that the workers can reach"
        )
    if asked.on_cluster and asked.kind == "local":
        raise SubmitError("--deploy-mode cluster needs a cluster: give --master")
    if asked.ship_environment and asked.python:
        raise SubmitError("choose --ship-environment or --python, not both")
    if asked.ship_environment and asked.kind == "local":
        raise SubmitError("--ship-environment: local mode runs this machine's own Python")
    if asked.kind == "kubernetes":
        _refuse_without_image(asked)
    elif asked.image:
        raise SubmitError("--image is for --master k8s://URL")
    else:
        _python_conf(asked)
    if asked.on_cluster:
        refuse_local_paths(asked.flags, in_image=asked.kind == "kubernetes")


def _refuse_without_image(asked: Submission) -> None:
    if asked.ship_environment or asked.python:
        raise SubmitError(
            "on Kubernetes the image holds the Python: build it with what the job needs "
            "(conf/kubernetes/Dockerfile), and leave --ship-environment and --python away"
        )
    if not asked.image and "spark.kubernetes.container.image" not in asked.conf:
        raise SubmitError(
            f"{asked.master} needs --image: built by conf/kubernetes/Dockerfile and pushed where "
            "the cluster finds it"
        )
    if asked.on_cluster and not asked.job.resolve().is_relative_to(ROOT):
        raise SubmitError(f"{asked.job} is not in the image, which holds what {ROOT} has")


def _kubernetes_conf(submission: Submission) -> dict[str, str]:
    conf = {
        "spark.kubernetes.authenticate.driver.serviceAccountName": SERVICE_ACCOUNT,
        "spark.kubernetes.driver.podTemplateFile": str(POD_TEMPLATES / "driver-pod.yaml"),
        "spark.kubernetes.executor.podTemplateFile": str(POD_TEMPLATES / "executor-pod.yaml"),
    }
    if submission.image:
        conf["spark.kubernetes.container.image"] = submission.image
    return conf


def _python_conf(submission: Submission) -> dict[str, str]:
    """Which Python executors and driver run; both must be of one minor version."""
    if submission.ship_environment:
        workers = SHIPPED_PYTHON
    elif submission.python:
        workers = submission.python
    elif "spark.pyspark.python" in submission.conf:
        workers = submission.conf["spark.pyspark.python"]
    elif _runs_here(submission):
        workers = sys.executable
    else:
        raise SubmitError(
            f"executors of {submission.master} need a Python with this package's dependencies: "
            "--ship-environment sends one, --python PATH names one that every node has"
        )
    conf = {"spark.pyspark.python": workers}
    if submission.on_cluster:
        # The driver is in a container of YARN, too.
        conf["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = workers
    else:
        conf["spark.pyspark.driver.python"] = sys.executable
    return conf


def _runs_here(submission: Submission) -> bool:
    """Whether executors run on this machine, and so have this very Python."""
    if submission.kind == "local":
        return True
    host = urlsplit(submission.master).hostname
    return host in ("127.0.0.1", "localhost", socket.gethostname().lower())


def _spark_submit() -> str:
    """That of ``SPARK_HOME`` (an edge node has its cluster's Spark there), else PySpark's."""
    if home := os.environ.get("SPARK_HOME"):
        return str(Path(home) / "bin" / "spark-submit")
    beside = Path(sys.executable).with_name("spark-submit")
    executable = str(beside) if beside.is_file() else shutil.which("spark-submit")
    if executable is None:
        raise SubmitError(
            "there is no spark-submit: enter the environment first, with `. .venv/bin/activate`, "
            "or set SPARK_HOME"
        )
    return executable
