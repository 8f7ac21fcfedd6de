"""What a deployment consists of: names, sizes, labels. Nothing is contacted here."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pyspark_vision.messages.topics import IMAGE_RESULT_TOPIC, IMAGE_TOPIC

# Whose a thing is: all that is made has both labels, and only what has both is removed.
TOOL_LABEL, TOOL = "made-by", "pyspark-vision-deploy"
NAME_LABEL = "deployment"
# Week 9's.
FOLDERS = ("input-images/", "apps/", "checkpoints/", "outputs/", "models/")
INPUT = FOLDERS[0]
KAFKA_TOPICS = (IMAGE_TOPIC, IMAGE_RESULT_TOPIC)
# What has a name of its own, by its flag.
NAMES = ("bucket", "topic", "subscription", "dataset", "table", "cluster")
# The services' own rules for names, https://cloud.google.com/docs, each in its words.
_MESSAGING = (
    r"(?!goog)[A-Za-z][\w.~+%-]{2,254}",
    "3 to 255 letters, digits and -_.~+%, without goog in front",
)
_RULES = {
    "project_id": (r"[a-z][a-z0-9-]{4,28}[a-z0-9]", "6 to 30 of a-z, 0-9 and -"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region such as us-central1"),
    "name": (r"[a-z][a-z0-9-]{0,38}[a-z0-9]", "2 to 40 of a-z, 0-9 and -, a letter first"),
    "bucket": (
        r"(?!goog)(?!.*google)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]",
        "3 to 63 of a-z, 0-9, _ and -, without goog in front or google in it",
    ),
    "topic": _MESSAGING,
    "subscription": _MESSAGING,
    "dataset": (r"[A-Za-z0-9_]{1,1024}", "letters, digits and _"),
    "table": (r"[A-Za-z0-9_]{1,1024}", "letters, digits and _"),
    "cluster": (r"[a-z]([a-z0-9-]{0,49}[a-z0-9])?", "1 to 51 of a-z, 0-9 and -, a letter first"),
    "image_version": (
        r"(2\.[2-9]|3\.[0-9]+)(\.[0-9]+)?(-[a-z]+[0-9]+)?",
        "2.2 or newer: 3.0-debian13",
    ),
}
# Of Spark's own releases, for the Spark and the Scala of an image: 2.2 and 2.3 have Spark 3.5,
# 3.0.0 to 3.0.2 have 4.1.2 (docs.cloud.google.com, "3.0.x release image versions").
_KAFKA_PACKAGES = {
    "2": "org.apache.spark:spark-sql-kafka-0-10_2.12:3.5.3",
    "3": "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.2",
}


_INPUT_SOURCE, _BOTH = "--input-source", "both"


class DeployError(ValueError):
    """What cannot be deployed or removed, in one line that says what to do."""


@dataclass(frozen=True)
class Plan:
    """Names as week 9 has them unless said otherwise.

    ``pip_packages``: the nodes' Python packages, ``name==version``. ``job_flags`` come after those
    that the plan gives the job, so that they win.
    """

    project_id: str
    region: str = "us-central1"
    name: str = "week9-streaming"
    bucket: str = ""
    topic: str = "gcs-image-notifications"
    subscription: str = "image-stream-sub"
    dataset: str = "ml_streaming"
    table: str = "image_predictions"
    cluster: str = "week9-streaming-cluster"
    workers: int = 2
    # Spark 4.1 and Python 3.12. The Pub/Sub source needs Spark 4; on Debian 12 there was a release
    # candidate alone.
    image_version: str = "3.0-debian13"
    pip_packages: tuple[str, ...] = ()
    job_flags: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.bucket:
            object.__setattr__(self, "bucket", f"{self.project_id}-week9-streaming-data")
        for field_name, (rule, words) in _RULES.items():
            value = getattr(self, field_name)
            if not re.fullmatch(rule, value, re.ASCII):
                flag = f"--{field_name.replace('_', '-')}"
                raise DeployError(f"{flag} {value!r}: it must be {words}")
        if not 2 <= self.workers <= 100:
            raise DeployError(f"--workers {self.workers}: it must be 2 to 100")

    @property
    def labels(self) -> dict[str, str]:
        """Those of all that the deployment makes."""
        return {TOOL_LABEL: TOOL, NAME_LABEL: self.name}

    @property
    def name_flags(self) -> tuple[str, ...]:
        """By which a later run finds what this one makes: the project, and what is not default."""
        usual = Plan(self.project_id)
        flags = [("--project-id", self.project_id)]
        for name in ("region", "name", *NAMES):
            if (value := getattr(self, name)) != getattr(usual, name):
                flags.append((f"--{name}", value))
        return tuple(itertools.chain.from_iterable(flags))

    @property
    def topic_path(self) -> str:
        return f"projects/{self.project_id}/topics/{self.topic}"

    @property
    def subscription_path(self) -> str:
        return f"projects/{self.project_id}/subscriptions/{self.subscription}"

    @property
    def kafka_servers(self) -> str:
        """The broker on the master, as in week 9."""
        return f"{self.cluster}-m:9092"

    @property
    def input_source(self) -> str:
        """What the job reads: both, unless its own flags say otherwise."""
        source = _BOTH
        for word, following in itertools.pairwise((*self.job_flags, "")):
            name, equals, value = word.partition("=")
            if name == _INPUT_SOURCE:
                source = value if equals else following
        return source

    @property
    def kafka_package(self) -> str:
        """Spark's Kafka connector for the image's Spark."""
        return _KAFKA_PACKAGES[self.image_version[0]]

    @property
    def dataset_path(self) -> str:
        return f"{self.project_id}.{self.dataset}"

    @property
    def table_path(self) -> str:
        """As ``--output-bq-table`` takes it."""
        return f"{self.dataset_path}.{self.table}"

    @cached_property
    def stream_flags(self) -> tuple[str, ...]:
        """Week 9's flags of the job, and what the user adds."""
        root = f"gs://{self.bucket}"
        return (
            *(_INPUT_SOURCE, _BOTH),
            *("--kafka-servers", self.kafka_servers, "--kafka-topic", IMAGE_TOPIC),
            *("--project-id", self.project_id),
            *(("--pubsub-subscription", self.subscription) if self.input_source != "kafka" else ()),
            *("--model-type", "mobilenet", "--confidence-threshold", "0.1"),
            *("--checkpoint", f"{root}/checkpoints/streaming"),
            *("--output-bq-table", self.table_path),
            *("--output-kafka-topic", IMAGE_RESULT_TOPIC),
            *("--output-gcs-path", f"{root}/outputs/predictions"),
            *self.job_flags,
        )


def is_ours(plan: Plan, labels: dict[str, str] | None) -> bool:
    """Whether what has these labels was made by this deployment."""
    return plan.labels.items() <= (labels or {}).items()
