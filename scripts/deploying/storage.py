"""The bucket, its folders, the programs in it, and its announcements over Pub/Sub."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed

from .parts import Call, Kept, RefusedError, State
from .plan import FOLDERS, INPUT, NAME_LABEL, Plan, is_ours
from .services import Services

# A right that was given counts some seconds later, says Google's documentation of IAM, and
# Cloud Storage looks whether it may publish to the topic when a notification is made.
RIGHTS_S, RIGHTS_POLL_S = 90.0, 5.0


@dataclass(frozen=True)
class Bucket:
    """Labelled; data in it stays until its removal is asked for."""

    plan: Plan
    services: Services
    flag = "--bucket"

    @property
    def title(self) -> str:
        return f"bucket gs://{self.plan.bucket}"

    def look(self) -> State:
        try:
            bucket = self.services.storage.get_bucket(self.plan.bucket)
        except NotFound:
            return State.ABSENT
        except Forbidden as error:
            # Names of buckets are everybody's: that of another project answers so.
            if "storage.buckets.get" in str(error) or "does not have" in str(error):
                return State.FOREIGN
            raise
        return State.OURS if is_ours(self.plan, dict(bucket.labels)) else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        said = {
            "name": self.plan.bucket,
            "location": self.plan.region,
            "labels": self.plan.labels,
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
        }
        yield Call("storage.buckets.insert", said, self._insert)

    def _insert(self) -> None:
        bucket = self.services.storage.bucket(self.plan.bucket)
        bucket.labels = self.plan.labels
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        self.services.storage.create_bucket(bucket, location=self.plan.region)

    def removal(self, *, data: bool) -> Iterator[Call]:
        storage, name = self.services.storage, self.plan.bucket
        kept = 0
        refused: list[str] = []
        # Old versions, too: a bucket is not empty with one of them.
        for blob in storage.list_blobs(name, versions=True):
            made = (blob.metadata or {}).get(NAME_LABEL) == self.plan.name
            if made or (data and blob.name.startswith(FOLDERS)):
                said = {"bucket": name, "object": blob.name, "ifGenerationMatch": blob.generation}
                yield Call("storage.objects.delete", said, partial(_delete, blob, refused))
            else:
                kept += 1
        if kept:
            hint = "what is in none of its folders is not its own" if data else "--delete-data"
            raise Kept(
                f"it holds {kept:,} objects that were not uploaded by the deployment: {hint}"
            )
        if refused:
            raise RefusedError(
                f"{self.title}: {len(refused):,} objects were not deleted: {refused[0]}"
            )
        delete = partial(storage.bucket(name).delete, force=False)
        yield Call("storage.buckets.delete", {"bucket": name}, delete)


def _delete(blob: Any, refused: list[str]) -> None:
    """Delete a version of an object; one that is held or retained stays, and is noted."""
    try:
        # Of this generation only: what replaced it meanwhile is somebody's.
        blob.delete(if_generation_match=blob.generation)
    except NotFound:
        pass
    except (Forbidden, PreconditionFailed) as error:
        refused.append(" ".join(str(error).split()))


@dataclass(frozen=True)
class _Objects:
    """Objects that the deployment puts into its bucket; they go with it."""

    plan: Plan
    services: Services
    flag = ""

    def contents(self) -> dict[str, bytes | Path]:
        raise NotImplementedError

    def look(self) -> State:
        bucket = self.services.storage.bucket(self.plan.bucket)
        there = all(bucket.get_blob(name) is not None for name in self.contents())
        return State.OURS if there else State.ABSENT

    def creation(self) -> Iterator[Call]:
        for name, content in self.contents().items():
            said = {"bucket": self.plan.bucket, "name": name, "ifGenerationMatch": 0}
            if isinstance(content, Path):
                said["file"] = str(content)
            yield Call("storage.objects.insert", said, partial(self._insert, name, content))

    def _insert(self, name: str, content: bytes | Path) -> None:
        blob = self.services.storage.bucket(self.plan.bucket).blob(name)
        blob.metadata = {NAME_LABEL: self.plan.name}
        data = content.read_bytes() if isinstance(content, Path) else content
        try:
            blob.upload_from_string(data, "application/octet-stream", if_generation_match=0)
        except PreconditionFailed:
            pass  # an earlier run has put it there

    def removal(self, *, data: bool) -> Iterator[Call]:
        yield from ()


class Folders(_Objects):
    """What people see as folders: empty objects."""

    title = "folders " + " ".join(FOLDERS)

    def contents(self) -> dict[str, bytes | Path]:
        return dict.fromkeys(FOLDERS, b"")


class Programs(_Objects):
    """The job, the package and the maker of topics, each below a digest of its content.

    A running job keeps the files that it was started with.
    """

    title = "programs in apps/"

    def contents(self) -> dict[str, bytes | Path]:
        return {object_name(file): file for file in self.plan.files}


def object_name(file: Path) -> str:
    """``apps/1f2e3d4c5b6a/stream_classify.py``: another content has another name."""
    return f"apps/{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}/{file.name}"


@dataclass(frozen=True)
class Notification:
    """New objects below ``input-images/`` are announced to the topic."""

    plan: Plan
    services: Services
    flag = ""

    @property
    def title(self) -> str:
        return f"notification of gs://{self.plan.bucket}/{INPUT} to {self.plan.topic}"

    def look(self) -> State:
        return State.OURS if self._ours() else State.ABSENT

    def _ours(self) -> list[Any]:
        bucket = self.services.storage.bucket(self.plan.bucket)
        try:
            every = list(bucket.list_notifications())
        except (NotFound, Forbidden):  # of somebody else's bucket, whose name is refused there
            return []
        mark = {NAME_LABEL: self.plan.name}.items()
        return [
            notification
            for notification in every
            if mark <= (notification.custom_attributes or {}).items()
            and (notification.topic_project, notification.topic_name)
            == (self.plan.project_id, self.plan.topic)
        ]

    def creation(self) -> Iterator[Call]:
        said = {
            "bucket": self.plan.bucket,
            "topic": f"//pubsub.googleapis.com/{self.plan.topic_path}",
            "event_types": ["OBJECT_FINALIZE"],
            "object_name_prefix": INPUT,
            "payload_format": "JSON_API_V1",
            "custom_attributes": {NAME_LABEL: self.plan.name},
        }
        yield Call("storage.notifications.insert", said, self._insert)

    def _insert(self) -> None:
        deadline = time.monotonic() + RIGHTS_S
        while True:
            try:
                return self._insert_now()
            except Forbidden as error:
                if "publish" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(RIGHTS_POLL_S)

    def _insert_now(self) -> None:
        self.services.storage.bucket(self.plan.bucket).notification(
            topic_name=self.plan.topic,
            topic_project=self.plan.project_id,
            custom_attributes={NAME_LABEL: self.plan.name},
            event_types=["OBJECT_FINALIZE"],
            blob_name_prefix=INPUT,
            payload_format="JSON_API_V1",
        ).create()

    def removal(self, *, data: bool) -> Iterator[Call]:
        for notification in self._ours():
            said = {"bucket": self.plan.bucket, "notification": notification.notification_id}
            yield Call("storage.notifications.delete", said, notification.delete)
