"""The parts in order: look at all, make what is absent; or remove what is ours, the other way."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TextIO, TypeVar

from google.api_core.exceptions import Conflict, GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError

from . import bigquery, dataproc, pubsub, storage
from .parts import Call, Kept, Part, RefusedError, State, refuse_foreign
from .plan import INPUT, DeployError, Plan
from .services import LOG_IN, NO_LOGIN, Services

Say = Callable[[str], None]
_Answer = TypeVar("_Answer")


def parts(plan: Plan, services: Services) -> list[Part]:
    """In the order in which they are made: what is needed comes before what needs it."""
    return [
        storage.Bucket(plan, services),
        storage.Folders(plan, services),
        pubsub.Topic(plan, services),
        pubsub.Publishing(plan, services),
        pubsub.Subscription(plan, services),
        storage.Notification(plan, services),
        bigquery.Dataset(plan, services),
        bigquery.Table(plan, services),
        dataproc.Cluster(plan, services),
        storage.Programs(plan, services),
        dataproc.KafkaTopics(plan, services),
        dataproc.Stream(plan, services),
    ]


def print_calls(plan: Plan, services: Services, say: Say) -> None:
    """All calls that make the deployment; none is made, and no login is needed."""
    for part in parts(plan, services):
        say(f"# {part.title}")
        for call in part.creation():
            say(str(call))


def survey(plan: Plan, services: Services) -> dict[str, State]:
    """What the services say of each part, by title: the prerequisites are met if they answer.

    Raises :class:`DeployError` for a name that is somebody else's, or a service that refuses.
    """
    states: dict[str, State] = {}
    for part in parts(plan, services):
        absent = State.ABSENT in states.values() and isinstance(part, storage.Programs)
        states[part.title] = State.ABSENT if absent else _asked(part, part.look)
        if states[part.title] is State.FOREIGN:
            refuse_foreign(part, plan)
    return states


def deploy(
    plan: Plan,
    services: Services,
    agreed: Callable[[str], bool],
    say: Say,
    pause_s: float = dataproc.POLL_S,
) -> bool:
    """Make what is absent; false where the user does not agree. Raises :class:`DeployError`."""
    states = survey(plan, services)
    for title, state in states.items():
        say(f"{state.value:>7}  {title}")
    if State.ABSENT in states.values() and not agreed(cost(plan, states)):
        return False
    for part in parts(plan, services):
        # Looked at again: parts before may be new, and time has passed since the question.
        state = _asked(part, part.look)
        if state is State.FOREIGN:
            refuse_foreign(part, plan)
        if state is State.ABSENT and not _is_coming(part):
            for call in part.creation():
                _asked(part, partial(_make, part, plan, call))
            say(f"== {part.title}: made")
        if isinstance(part, dataproc.Cluster | dataproc.KafkaTopics):
            _asked(part, partial(part.wait, pause_s))
        if isinstance(part, dataproc.Stream) and _asked(part, part.differs):
            say(
                "== job stream_classify runs with other flags or programs: it was left running. "
                "--cleanup ends it (data stays), and a new run starts this one"
            )
    say(hints(plan))
    return True


def _make(part: Part, plan: Plan, call: Call) -> None:
    """Run a call that makes something.

    What is there already is right if it is ours: the client asked again for an answer that was
    lost, or another run was faster.
    """
    try:
        call.run()
    except Conflict:
        match part.look():
            case State.ABSENT:
                raise
            case State.FOREIGN:
                refuse_foreign(part, plan)


def _is_coming(part: Part) -> bool:
    """Whether an earlier run's job makes it right now."""
    return isinstance(part, dataproc.KafkaTopics) and bool(_asked(part, part.under_way))


def cost(plan: Plan, states: dict[str, State]) -> str:
    """What is about to be made, in what is charged for; prices are Google's and change."""
    absent = [title for title, state in states.items() if state is State.ABSENT]
    lines = [f"About to make in project {plan.project_id}, {plan.region}:"]
    lines += [f"  {title}" for title in absent]
    if any(title.startswith("Dataproc cluster") for title in absent):
        disk_gb = dataproc.MASTER_DISK_GB + plan.workers * dataproc.WORKER_DISK_GB
        lines += [
            f"Charged: {1 + plan.workers} {dataproc.MACHINE} machines with {disk_gb} GB of disk, "
            "Dataproc's fee for their cores,",
            f"until the cluster deletes itself: {dataproc.IDLE_S // 60} minutes idle, at the "
            f"latest after {dataproc.AGE_S // 3600} hours;",
        ]
    return "\n".join([*lines, "and what bucket, messages and table hold, until --cleanup."])


def cleanup(
    plan: Plan,
    services: Services,
    agreed: Callable[[str], bool],
    say: Say,
    *,
    data: bool,
    dry_run: bool = False,
) -> bool:
    """Remove what has the deployment's labels; false where the user does not agree."""
    removable, refusals = [], []
    for part in reversed(parts(plan, services)):
        if isinstance(part, storage.Folders | storage.Programs | pubsub.Publishing):
            continue  # they go with their bucket and their topic
        try:
            if isinstance(part, dataproc.KafkaTopics):
                state = State.OURS if _asked(part, part.under_way) else State.ABSENT
            else:
                state = _asked(part, part.look)
        except RefusedError as refusal:
            refusals.append(refusal)
            continue
        if state is State.OURS:
            removable.append(part)
        elif part.flag:  # by which it may have been given another name
            left = "" if state is State.ABSENT else ", left alone"
            say(f"== {part.title}: {state.value}{left}")
    if not removable and not refusals:
        say(
            f"== nothing of deployment {plan.name} is there under these names; what was made with "
            "others is removed with the same flags"
        )
        return True
    listed = "\n".join(f"  {part.title}" for part in removable)
    words = "with their data" if data else "without data: what holds any stays"
    question = f"About to remove from project {plan.project_id}, {words}:\n{listed}"
    if removable and not dry_run and not agreed(question):
        return False
    for part in removable:
        try:
            _remove(part, say, data=data, dry_run=dry_run)
        except RefusedError as refusal:  # the rest goes all the same: it costs
            refusals.append(refusal)
    if refusals:
        raise DeployError(f"{'; '.join(map(str, refusals))}. Run it again for these")
    return True


def _remove(part: Part, say: Say, *, data: bool, dry_run: bool) -> None:
    try:
        for call in _asked_each(part, part.removal(data=data)):
            if dry_run:
                say(str(call))
            else:
                _asked(part, partial(_run_unless_gone, call))
    except Kept as reason:
        stays = "stays as things are now" if dry_run else "stays"
        say(f"== {part.title}: {stays}, {reason}")
        return
    if not dry_run:
        say(f"== {part.title}: removed")


def _asked_each(part: Part, calls: Iterator[Call]) -> Iterator[Call]:
    """The calls of a removal, each of which may ask the service; none for what is gone."""

    def following() -> Call | None:
        try:
            return next(calls, None)
        except NotFound:
            return None

    while (call := _asked(part, following)) is not None:
        yield call


def _run_unless_gone(call: Call) -> None:
    try:
        call.run()
    except NotFound:
        pass  # somebody was faster, or an answer was lost


def _asked(part: Part, ask: Callable[[], _Answer]) -> _Answer:
    """The answer; a service's refusal as one line that names the part."""
    try:
        return ask()
    except GoogleAuthError as error:
        raise DeployError(f"{NO_LOGIN}: {_line(error)}. {LOG_IN}") from None
    except DeployError:
        raise
    # Google's clients raise ValueError for what they cannot read: a notification to a topic of a
    # project of an older kind.
    except (GoogleAPIError, OSError, ValueError) as error:
        raise RefusedError(f"{part.title}: {_line(error)}{_hint(str(error))}") from None


def _hint(said: str) -> str:
    if "SERVICE_DISABLED" in said or "has not been used in project" in said:
        return (
            ". Enable it: gcloud services enable compute.googleapis.com dataproc.googleapis.com "
            "storage.googleapis.com pubsub.googleapis.com bigquery.googleapis.com"
        )
    return ""


def _line(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return words[:400] or type(error).__name__


def hints(plan: Plan) -> str:
    """Where to look, how to send pictures, how to end it."""
    return f"""
Pictures into the bucket, from here:
  pyspark-vision simulate --mode gcs --rate 0.5 --duration 300 --gcs-bucket {plan.bucket} \
--gcs-prefix {INPUT}
Pictures to Kafka, on the master (gcloud compute ssh {plan.cluster}-m):
  pyspark-vision simulate --mode kafka --rate 2 --duration 300 --kafka-servers {plan.kafka_servers}
Rows: bq query --use_legacy_sql=false 'SELECT label, confidence, processed_at FROM \
`{plan.table_path}` ORDER BY processed_at DESC LIMIT 20'
End:  scripts/deploy_dataproc {shlex.join(plan.name_flags)} --cleanup"""


def ask(question: str, answers: TextIO, is_terminal: bool) -> bool:
    """Print the question and take ``y`` or ``yes``.

    Raises :class:`DeployError` where nobody is there to answer.
    """
    print(question, file=sys.stderr)
    if not is_terminal:
        raise DeployError("nobody is there to be asked (no terminal): say --yes")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return answers.readline().strip().lower() in ("y", "yes")
