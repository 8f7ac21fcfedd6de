"""The topics and the cluster that a checkpoint reads: the checkpoint's own record of its source.

``CHECKPOINT/_source/<n>`` (the highest counts) is JSON: ``kind``, ``cluster``, ``topics`` or
``pattern``, the ``ids`` of topics, and their ``ends`` at the time ``seen_at``. A start that does
not agree with it is refused before Spark writes a word.

**A topic that was made anew** has another id. With ``skip_lost`` it is read from its beginning.
Spark's checkpoint says up to which offset of the old topic was read, and no option moves that back.
There are three ways to do it:

- a further checkpoint begins at batch 0, and its batches replace the first ones' folders;
- reading the beginning as a batch of our own needs a number, which Spark then gives again;
- a plan for the next batch in Spark's log, whose end of the new topic is offset 0: a file of the
  form that Spark itself writes and reads. This is what is done here.

The range of such a plan is empty: with ``failOnDataLoss=false``, which ``skip_lost`` is, Spark logs
that the offset went back, runs the batch without records, commits it, and goes on at 0. The plan
takes the place of one that was made and not committed, if there is one: that was for records of the
old topic. Its other topics are set back to the last commit, and so are read by the batches after
it; what sinks may hold of it already is replaced, as by each replay. All of this can be done twice:
a start that is killed before the new record is written does it again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import InvalidOptionError, StreamError
from pyspark_vision.sources import kafka_cluster, kafka_start
from pyspark_vision.sources.kafka_cluster import Admin
from pyspark_vision.sources.kafka_losses import LOST_WITH_TOPIC
from pyspark_vision.sources.kafka_offsets import Offsets, as_json, offsets_of
from pyspark_vision.sources.source_check import SourceCheck
from pyspark_vision.spark import checkpoint_logs
from pyspark_vision.spark.checkpoint_logs import Plan, last_batch
from pyspark_vision.spark.hadoop import create_text, delete, list_names, read_text
from pyspark_vision.spark.internals import JavaError
from pyspark_vision.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pyspark_vision.sources.kafka import KafkaSource

KIND = "kafka"

# How old the ends in the record may become: of a topic that is made anew, what came since then
# is not known.
_ENDS_EVERY_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What a checkpoint reads. ``ids``: of the topics whose brokers have ids.

    ``plan_in_doubt``: a topic was made anew under the batch in hand, whose plan may be of the new
    one: it says nothing of what the old one had.
    """

    cluster: str
    topics: tuple[str, ...]
    pattern: str | None
    ids: Mapping[str, str]
    ends: Offsets
    seen_at: str
    plan_in_doubt: bool = False

    def text(self) -> str:
        """The record as the checkpoint keeps it."""
        return json.dumps({"kind": KIND, **dataclasses.asdict(self)}, indent=1)


@contextmanager
def agreed(session: SparkSession, source: KafkaSource, checkpoint: str) -> Iterator[SourceCheck]:
    """For the time that a stream runs: its source is the one of its checkpoint, and stays it.

    To be entered while the checkpoint is held, before the query starts. Raises
    :class:`InvalidOptionError` if the checkpoint reads something else, :class:`StreamError` if a
    topic was made anew and ``source.skip_lost`` does not name it.
    """
    if is_connect(session):
        yield SourceCheck()
        return
    if _kind(session, checkpoint) not in (KIND, None):
        raise InvalidOptionError(_other_kind(checkpoint, "another kind of source than Kafka"))
    with kafka_start.asking(session, source.connection) as admin:
        now = _seen(admin, source)
        before = _last(session, checkpoint)
        position = _position(session, checkpoint)
        _refuse_other(admin, checkpoint, source, before, position, now)
        lost: Counter[str] = Counter()
        anew = _made_anew(before, position, now)
        if anew:
            if not source.skip_lost:
                raise StreamError(_words(anew, before, position, now))
            lost = _begin_anew(session, checkpoint, anew, before, position)
        # Ids of topics that a pattern finds no more are kept, should they come back.
        now = dataclasses.replace(now, ids={**(before.ids if before else {}), **now.ids})
        _write(session, checkpoint, now)
    with kafka_cluster.connected(session, source.connection) as admin:
        yield SourceCheck(lost, _after_batch(session, admin, source, checkpoint, now))


def has_begun(session: SparkSession, checkpoint: str) -> bool:
    """Whether the stream goes on where it stands, and not at ``source.starting``."""
    return bool(_position(session, checkpoint)) or last_batch(session, checkpoint, "offsets") >= 0


def refuse_kafka(session: SparkSession, checkpoint: str) -> None:
    """Raise :class:`InvalidOptionError` if the checkpoint is of a stream that reads Kafka."""
    if _kind(session, checkpoint) == KIND:
        raise InvalidOptionError(_other_kind(checkpoint, "Kafka topics"))


def _kind(session: SparkSession, checkpoint: str) -> str | None:
    """Of its own record, else of Spark's last plan; ``None`` where neither says it."""
    number = _number(session, checkpoint)
    text = None if number is None else read_text(session, f"{checkpoint}/_source/{number}")
    if text is not None:
        return str(json.loads(text)["kind"])
    if "files.json" in (list_names(session, f"{checkpoint}/_source") or []):
        return "files"
    plan = checkpoint_logs.plan(session, checkpoint, last_batch(session, checkpoint, "offsets"))
    if plan is None:
        return None
    return KIND if any(_offsets(end) is not None for end in plan.ends) else "another"


def _other_kind(checkpoint: str, reads: str) -> str:
    return (
        f"`checkpoint` {checkpoint} reads {reads}, and this job does not: choose a new "
        "`checkpoint` and output, or the checkpoint of this job"
    )


def _after_batch(
    session: SparkSession,
    admin: Admin,
    source: KafkaSource,
    checkpoint: str,
    agreed_on: Record,
) -> Callable[[], None]:
    """Refuses a batch, before it is committed, while which a topic was made anew.

    Its records may be of both. What was read before the ids were asked was of the topic that then
    had them: a look after each batch is enough. It costs a few milliseconds.
    """
    ids, recorded, written_at = dict(agreed_on.ids), len(agreed_on.ids), time.monotonic()

    def look() -> None:
        nonlocal recorded, written_at
        try:
            known = kafka_start.known_topics(admin, source)
            now = {name: topic.topic_id for name, topic in known.items() if topic.topic_id}
            anew = [name for name in now if ids.setdefault(name, now[name]) != now[name]]
            is_due = len(ids) > recorded or time.monotonic() - written_at > _ENDS_EVERY_S
            if is_due and not anew:
                record = dataclasses.replace(_seen(admin, source), ids=dict(ids))
                _write(session, checkpoint, record)
                recorded, written_at = len(ids), time.monotonic()
        except JavaError:  # brokers that are away for a while: Spark waits for them, too
            _log.warning("the brokers could not be asked whether a topic was made anew")
            return
        for name in anew:
            if (last := _last(session, checkpoint)) is not None:
                _write(session, checkpoint, dataclasses.replace(last, plan_in_doubt=True))
            raise StreamError(
                f"{name} was made anew while it was read (topic id {ids[name]} is now "
                f"{now[name]}): the batch in hand was not committed, and what the old one had that "
                f"was not read is gone. {_how_to_go_on(*anew)}"
            )

    return look


def _seen(admin: Admin, source: KafkaSource) -> Record:
    known = kafka_start.known_topics(admin, source)
    ends: Offsets = {}
    for (topic, partition), end in kafka_cluster.end_offsets(admin, known).items():
        ends.setdefault(topic, {})[partition] = end
    return Record(
        cluster=kafka_cluster.cluster_id(admin),
        topics=source.topics,
        pattern=source.pattern,
        ids={name: topic.topic_id for name, topic in known.items() if topic.topic_id},
        ends=ends,
        seen_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _refuse_other(
    admin: Admin,
    checkpoint: str,
    source: KafkaSource,
    before: Record | None,
    position: Offsets,
    now: Record,
) -> None:
    """Raise if a topic that was read is not read any more, or the cluster is another."""
    if not position:  # nothing has begun: the checkpoint is as a new one
        return
    if before is not None and before.cluster != now.cluster:
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} reads from the Kafka cluster {before.cluster}, and "
            f"`kafka_servers` {source.connection.servers} is the cluster {now.cluster}: give the "
            "brokers of that one, or choose a new `checkpoint` and output"
        )
    was_read = set(position) | set(before.topics if before else ())
    if source.pattern:
        # Whether they are there or not: of a topic that is gone Spark says so.
        reads = {name for name in was_read if kafka_cluster.fits(admin, source.pattern, name)}
        given = f"`kafka_topic_pattern` {source.pattern} does not fit "
    else:
        reads, given = set(source.topics), f"`kafka_topic` says {', '.join(source.topics)}"
    if missing := ", ".join(sorted(was_read - reads)):
        given += missing if source.pattern else ""
        raise InvalidOptionError(
            f"`checkpoint` {checkpoint} reads {', '.join(sorted(was_read))}, and {given}: go on "
            f"with {missing}, or choose a new `checkpoint` and output"
        )


def _made_anew(before: Record | None, position: Offsets, now: Record) -> dict[str, str]:
    """Topics that are other ones than those that were read: name -> in which words.

    Where ids are not known, a topic that ends before what was read of it is another.
    """
    reasons = {}
    for name, partitions in now.ends.items():
        old, new = (before.ids.get(name) if before else None), now.ids.get(name)
        if old and new:
            if old != new:
                reasons[name] = f"topic id {old} is now {new}"
        elif any(at > partitions.get(place, 0) for place, at in position.get(name, {}).items()):
            reasons[name] = "the topic id of the old one is not known"
    return reasons


def _words(anew: Mapping[str, str], before: Record | None, position: Offsets, now: Record) -> str:
    said = []
    for name, ids in anew.items():
        at = position.get(name, {})
        partition = max(
            at, key=lambda place: at[place] - now.ends[name].get(place, 0), default=None
        )
        text = f"the topic was made anew ({ids}), and what was not read of the old one is gone"
        if partition is None:
            said.append(f"{name}: {text}")
            continue
        end = now.ends[name].get(partition, 0)
        said.append(
            f"{name}-{partition} ends at offset {end} and was read up to {at[partition]}: {text}"
        )
    return f"{'; '.join(said)}. {_how_to_go_on(*anew)}"


def _how_to_go_on(*names: str) -> str:
    return (
        f"Go on by `skip_lost` {' '.join(names)}, which reads the new topic from its beginning and "
        "counts what is known to be lost; or begin anew with another `checkpoint` and output"
    )


def _begin_anew(
    session: SparkSession,
    checkpoint: str,
    anew: Mapping[str, str],
    before: Record | None,
    position: Offsets,
) -> Counter[str]:
    """Have Spark read these topics from their beginning; what is known to be lost of the old."""
    committed = last_batch(session, checkpoint, "commits")
    planned = last_batch(session, checkpoint, "offsets")
    if not position and planned < 0:
        return Counter()  # nothing was read of any topic, and none was begun with
    known_ends = [before.ends] if before is not None else []
    known = checkpoint_logs.plan(session, checkpoint, max(committed, 0))
    if planned > committed and not (before is not None and before.plan_in_doubt):
        known_ends.append(_ends(checkpoint_logs.plan(session, checkpoint, planned)) or {})
    if not position or (_ends(known) is None and planned >= 0):
        raise StreamError(
            f"`checkpoint` {checkpoint}: {', '.join(anew)} was made anew, and Spark's log in this "
            "checkpoint has a form that is not known here; begin anew with another `checkpoint` "
            "and output"
        )
    settings = checkpoint_logs.FIRST_SETTINGS if known is None else known.settings
    ends = {
        name: dict.fromkeys(partitions, 0) if name in anew else partitions
        for name, partitions in position.items()
    }
    # Other sources stay where they are.
    all_ends = known.ends if known is not None else ("",)
    plan = Plan(
        settings,
        tuple(as_json(ends) if len(all_ends) == 1 or _offsets(end) else end for end in all_ends),
    )
    checkpoint_logs.replace_plan(session, checkpoint, committed + 1, plan)
    lost = 0
    for name, ids in anew.items():
        gone = sum(
            max(0, max((ends.get(name, {}).get(place, at) for ends in known_ends), default=at) - at)
            for place, at in position.get(name, {}).items()
        )
        when = f"at {before.seen_at}" if before is not None else "at a time that is not known"
        _log.warning(
            "%s was made anew (%s) and is read from its beginning; %d records of the old one were "
            "not read, as of its end %s: what came to it after that is not known",
            name, ids, gone, when,
        )  # fmt: skip
        lost += gone
    return Counter({LOST_WITH_TOPIC: lost} if lost else {})


def _position(session: SparkSession, checkpoint: str) -> Offsets:
    """Up to where committed batches have read, or where the first begins; empty if neither is."""
    committed = last_batch(session, checkpoint, "commits")
    if committed >= 0:
        return _ends(checkpoint_logs.plan(session, checkpoint, committed)) or {}
    return _offsets(checkpoint_logs.beginning(session, checkpoint)) or {}


def _ends(plan: Plan | None) -> Offsets | None:
    """Of a plan with Kafka as its one source of offsets; ``None`` for any other."""
    known = [] if plan is None else [_offsets(end) for end in plan.ends]
    offsets = [end for end in known if end is not None]
    return offsets[0] if len(offsets) == 1 else None


def _offsets(text: str) -> Offsets | None:
    try:
        return offsets_of(text)
    except (ValueError, AttributeError, TypeError):
        return None


def _last(session: SparkSession, checkpoint: str) -> Record | None:
    number = _number(session, checkpoint)
    text = None if number is None else read_text(session, f"{checkpoint}/_source/{number}")
    if text is None:
        return None
    given: dict[str, Any] = json.loads(text)
    ends = {name: {int(p): at for p, at in of.items()} for name, of in given["ends"].items()}
    return Record(
        cluster=given["cluster"],
        topics=tuple(given["topics"]),
        pattern=given["pattern"],
        ids=given["ids"],
        ends=ends,
        seen_at=given["seen_at"],
        plan_in_doubt=given.get("plan_in_doubt", False),
    )


def _write(session: SparkSession, checkpoint: str, record: Record) -> None:
    """Write the next record, then remove the one before it."""
    number = _number(session, checkpoint)
    following = 0 if number is None else number + 1
    if not create_text(session, f"{checkpoint}/_source/{following}", record.text()):
        raise StreamError(f"{checkpoint}/_source/{following} was written by another job")
    if number is not None:
        delete(session, f"{checkpoint}/_source/{number}")


def _number(session: SparkSession, checkpoint: str) -> int | None:
    names = list_names(session, f"{checkpoint}/_source") or []
    return max((int(name) for name in names if name.isdigit()), default=None)
