"""One submission -> the line of spark-submit, for each kind of cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .errors import SubmitError
from .flags import JobFlags
from .shipping import refuse_local, ship

ROOT = Path(__file__).resolve().parents[2]
# `scripts/submit doctor` checks what a job submitted by the same line would find.
DOCTOR = ROOT / "pyspark_vision" / "cli" / "doctor.py"

SHIPPED_PYTHON = "./environment/bin/python"
# Where conf/kubernetes/Dockerfile puts this checkout.
IMAGE_ROOT = "/opt/pyspark_vision"
EXECUTOR_POD = ROOT / "conf" / "kubernetes" / "executor-pod.yaml"
SERVICE_ACCOUNT = "pyspark-vision"


@dataclass(frozen=True)
class Submission:
    """What was asked for.

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

    @property
    def kind(self) -> str:
        """``local``, ``standalone``, ``yarn`` or ``kubernetes``."""
        for prefix, kind in (
            ("local", "local"),
            ("spark://", "standalone"),
            ("k8s://", "kubernetes"),
        ):
            if self.master.startswith(prefix):
                return kind
        if self.master == "yarn":
            return "yarn"
        raise SubmitError(
            f"--master {self.master!r}: choose local[N], spark://HOST:PORT, yarn or k8s://URL"
        )

    @property
    def on_cluster(self) -> bool:
        """Whether the driver runs elsewhere."""
        return self.deploy_mode == "cluster"


def spark_submit_line(submission: Submission) -> list[str]:
    """The command; raises :class:`SubmitError` for what cannot work."""
    _refuse_impossible(submission)
    if submission.kind == "kubernetes":
        return _kubernetes(submission)
    flags, files = submission.flags, ()
    if submission.on_cluster:
        shipped = ship(flags, submission.zip.parent)
        flags, files = shipped.flags, shipped.files
    line = [*_begin(submission), "--py-files", str(submission.zip)]
    for option, paths in (("--jars", submission.jars), ("--files", files)):
        if paths:
            line += [option, ",".join(map(str, paths))]
    if submission.ship_environment:
        line += ["--archives", f"{submission.ship_environment}#environment"]
    return [
        *line,
        *_conf(_python_conf(submission) | submission.conf),
        str(submission.job),
        *flags.argv,
    ]


def _refuse_impossible(submission: Submission) -> None:
    kind = submission.kind
    if submission.on_cluster and kind == "standalone":
        raise SubmitError(
            "Spark's standalone cluster does not run Python drivers (--deploy-mode cluster is for "
            "jars there): use --deploy-mode client, from a machine that the workers can reach"
        )
    if submission.on_cluster and kind == "local":
        raise SubmitError("--deploy-mode cluster needs a cluster: give --master")
    if submission.ship_environment and kind == "local":
        raise SubmitError("--ship-environment: local mode runs this machine's own Python")
    if kind == "kubernetes" and (submission.ship_environment or submission.python):
        raise SubmitError(
            "on Kubernetes the image holds the Python: build it with what the job needs "
            "(conf/kubernetes/Dockerfile), and leave --ship-environment and --python away"
        )
    if submission.image and kind != "kubernetes":
        raise SubmitError("--image is for --master k8s://URL")
    if submission.ship_environment and submission.python:
        raise SubmitError("choose --ship-environment or --python, not both")


def _begin(submission: Submission) -> list[str]:
    mode = [] if submission.kind == "local" else ["--deploy-mode", submission.deploy_mode]
    return [_spark_submit(), "--master", submission.master, *mode]


def _spark_submit() -> str:
    """That of ``SPARK_HOME`` (an edge node has its cluster's Spark there), else of PySpark."""
    if home := os.environ.get("SPARK_HOME"):
        return str(Path(home) / "bin" / "spark-submit")
    beside = Path(sys.executable).with_name("spark-submit")
    found = str(beside) if beside.is_file() else shutil.which("spark-submit")
    if found is None:
        raise SubmitError(
            "there is no spark-submit: enter the environment first, with `. .venv/bin/activate`, "
            "or set SPARK_HOME"
        )
    return found


def _python_conf(submission: Submission) -> dict[str, str]:
    """Which Python executors and driver run; both must be of one minor version."""
    conf = {}
    if submission.ship_environment:
        workers = SHIPPED_PYTHON
    elif submission.python:
        workers = submission.python
    elif "spark.pyspark.python" in submission.conf:
        workers = submission.conf["spark.pyspark.python"]
    elif _on_this_machine(submission):
        workers = sys.executable
    else:
        raise SubmitError(
            f"executors of {submission.master} need a Python with this package's dependencies: "
            "--ship-environment sends one, --python PATH names one that every node has"
        )
    conf["spark.pyspark.python"] = workers
    if submission.on_cluster:
        # The driver is in a container of YARN, too.
        conf["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = workers
    else:
        conf["spark.pyspark.driver.python"] = sys.executable
    return conf


def _on_this_machine(submission: Submission) -> bool:
    if submission.kind == "local":
        return True
    host = urlsplit(submission.master).hostname
    return host in ("127.0.0.1", "localhost", socket.gethostname().lower())


def _in_image(submission: Submission) -> list[str]:
    """On Kubernetes; the job is in the image, too, if the driver is a pod."""
    conf = {
        "spark.kubernetes.authenticate.driver.serviceAccountName": SERVICE_ACCOUNT,
        "spark.kubernetes.executor.podTemplateFile": str(EXECUTOR_POD),
    }
    if submission.image:
        conf["spark.kubernetes.container.image"] = submission.image
    conf |= dict(submission.conf)
    if "spark.kubernetes.container.image" not in conf:
        raise SubmitError(
            f"{submission.master} needs --image: built by conf/kubernetes/Dockerfile and pushed "
            "where the cluster finds it"
        )
    job = str(submission.job)
    if submission.on_cluster:
        refuse_local(submission.flags)
        if not submission.job.resolve().is_relative_to(ROOT):
            raise SubmitError(f"{job} is not in the image, which holds what {ROOT} has")
        job = f"local://{IMAGE_ROOT}/{submission.job.resolve().relative_to(ROOT)}"
    return [*_begin(submission), *_conf(conf), job, *submission.flags.argv]


def _conf(conf: dict[str, str]) -> Sequence[str]:
    return [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
