"""One run: checked, started part by part, watched until a signal or a part ends it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from pyspark_vision.clients import stopping
from pyspark_vision.clients.brokers import Brokers
from pyspark_vision.clients.capture import webcam
from pyspark_vision.clients.local_services import kafka
from pyspark_vision.clients.local_services.process import ServiceError, reserved_ports
from pyspark_vision.clients.pycturestream import BadMessageError, read_result
from pyspark_vision.clients.stopping import Stop
from pyspark_vision.clients.submitting import fast_start
from pyspark_vision.clients.up import checks, commands, run_folder
from pyspark_vision.clients.up.commands import JOB, PAGE, PRODUCER, TOPICS, Run
from pyspark_vision.clients.up.parts import PartEndedError, Parts
from pyspark_vision.clients.up.progress import Progress
from pyspark_vision.messages.topics import RESULT_TOPIC

# At the producer's usual five pictures a second. A second scene takes as much of two cores as the
# job has to spare while it starts: its first boxes are then half a minute old.
DRAWN = ("drawn:2",)

# Of each topic's one partition: minutes of a few cameras. docs/up.md has the sum.
RETENTION_BYTES = 256 * 1024 * 1024

_PAGE_TIMEOUT_S = 60.0
_POLL_S = 0.2
_SLOW_S = 120.0
# The page's own first line.
_ADDRESS = re.compile(r"http://\S+")


@dataclass(frozen=True)
class UpOptions:
    """``base``: where folders of runs lie. ``port``: the page's, ``None``: any. ``drawn``: without
    a look for a webcam."""

    base: Path
    port: int | None
    opens: bool
    drawn: bool


def up(options: UpOptions) -> int:
    """Run until Ctrl-C, SIGTERM or SIGHUP: 0, or until a part ends by itself: 1.

    Raises a :class:`~pyspark_vision.errors.PysparkVisionError` for what is lacking, before anything
    is started.
    """
    progress, parts = Progress(), Parts()
    folder: Path | None = None
    code = 0
    try:
        with stopping.listening(stopping.interrupt, lambda _: parts.kill_all()) as stop:
            around = checks.refuse_lacks(options.port)
            for remark in around.remarks:
                progress.say(f"== {remark}")
            with run_folder.new_run(options.base, progress.say) as folder:
                progress.say(f"== data and logs: {folder}")
                try:
                    _run(options, Setting(folder, around.variables, progress, parts, stop))
                except (PartEndedError, ServiceError) as error:
                    progress.say(f"up: {error}")
                    code = 1
                finally:
                    stop.begin()
                    parts.kill_all()
                    shutil.rmtree(folder / "tmp", ignore_errors=True)
    except KeyboardInterrupt:
        pass
    if folder is not None:
        progress.stage(f"all has ended. Data and logs: {folder}")
    return code


@dataclass(frozen=True)
class Setting:
    """What a run goes on in. ``variables``: the environment for Spark."""

    folder: Path
    variables: Mapping[str, str]
    progress: Progress
    parts: Parts
    stop: Stop


def _run(options: UpOptions, setting: Setting) -> None:
    """Start all, and watch; ends by an exception only."""
    checks.fetch_jars()
    variables = _with_archive(setting.variables, setting.progress)
    kafka_folder = setting.folder / "kafka"
    kafka_folder.mkdir()
    (setting.folder / "tmp").mkdir()
    with kafka.running(kafka_folder, retention_bytes=RETENTION_BYTES) as broker:
        servers = broker.bootstrap_servers
        _make_topics(servers)
        setting.parts.watch(broker.broker)
        setting.progress.stage(f"Kafka: {servers}")
        # Held until the end: the job takes its port in some seconds, and the page asks there.
        with reserved_ports(1) as (metrics_port,):
            run = Run(setting.folder, servers, metrics_port, options.port, options.opens)
            try:
                _start_parts(run, options.drawn, commands.environment(run, variables), setting)
                while True:
                    setting.parts.check()
                    time.sleep(_POLL_S)
            finally:
                setting.stop.begin()
                setting.progress.stage("ending")
                setting.parts.stop()


def _start_parts(run: Run, drawn: bool, environment: Mapping[str, str], setting: Setting) -> None:
    """The slowest first: the job needs some seconds more than the others together."""
    parts, progress = setting.parts, setting.progress
    parts.start(JOB, commands.job(run), run.folder, environment)
    page = parts.start(PAGE, commands.page(run), run.folder, environment)
    sources = DRAWN if drawn else _cameras(progress)
    parts.start(PRODUCER, commands.producer(run, sources), run.folder, environment)
    progress.stage(f"cameras: {', '.join(sources)}")
    progress.stage(f"page: {_address(page.log, parts)}")
    with _results(run.servers) as results:
        _wait_for_boxes(results, run, progress, parts)
    progress.say("== Ctrl-C ends all of it")


def _with_archive(variables: Mapping[str, str], progress: Progress) -> Mapping[str, str]:
    """Spark starts in half the time with an archive of its classes, which is made once."""
    try:
        return fast_start.with_archive(variables)
    except fast_start.NoArchiveError as error:
        progress.say(f"== no archive of Spark's classes, so Spark starts slower: {error}")
        return variables


def _make_topics(servers: str) -> None:
    admin = AdminClient(Brokers(servers).config())
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]).values():
        future.result(timeout=30)


def _cameras(progress: Progress) -> tuple[str, ...]:
    """The first webcam that gives pictures, else drawn scenes."""
    number, refused = webcam.first_working()
    if number is not None:
        return (f"webcam:{number}",)
    progress.say(f"== no webcam, so drawn scenes: {'; '.join(refused)}")
    return DRAWN


def _address(log: Path, parts: Parts) -> str:
    """The page's, which chooses its port; when it says so it listens."""
    deadline = time.monotonic() + _PAGE_TIMEOUT_S
    while time.monotonic() < deadline:
        if said := _ADDRESS.search(log.read_text(encoding="utf-8", errors="replace")):
            return said.group()
        parts.check()
        time.sleep(_POLL_S)
    raise ServiceError(f"{PAGE} did not say its address in {_PAGE_TIMEOUT_S:g} s; its log: {log}")


@contextmanager
def _results(servers: str) -> Iterator[Consumer]:
    settings = {"group.id": "up", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    with closing(Consumer({**Brokers(servers).config(), **settings})) as consumer:
        consumer.subscribe([RESULT_TOPIC])
        yield consumer


def _wait_for_boxes(results: Consumer, run: Run, progress: Progress, parts: Parts) -> None:
    """Until the job has detected something; a webcam may show nothing that it knows."""
    is_told = is_running = False
    while True:
        parts.check()
        message = results.poll(_POLL_S)
        if message is not None and not message.error():
            boxes = _boxes(message.value())
            if boxes:
                progress.stage(f"{JOB}: first boxes, {boxes} in a picture")
                return
            if not is_running:
                progress.stage(f"{JOB}: first result, without a box yet")
                is_running = True
        if not is_told and progress.elapsed_s > _SLOW_S:
            where = f"{run.folder}/*.log"
            progress.stage(f"no boxes yet; what each part says: {where}")
            is_told = True


def _boxes(value: bytes | None) -> int:
    try:
        return len(read_result(value or b"").objects)
    except BadMessageError:
        return 0
