"""Spark sessions: what the library asks of one, and how jobs make theirs."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import pyspark
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pyspark_vision.errors import InvalidOptionError, WorkerEnvironmentError
from pyspark_vision.spark import connect, delta_lake, error_texts, internals, own_jvm
from pyspark_vision.spark.java_errors import has_class


def active_session() -> Any:
    """The session that functions publish models to: the active one, classic or Connect."""
    try:
        session: Any = SparkSession.active()  # of the thread, or else of the process
    except PySparkRuntimeError:
        raise WorkerEnvironmentError(
            "no active SparkSession: models are shipped to executors through one. Start it first "
            "with SparkSession.builder.getOrCreate()"
        ) from None
    if is_connect(session):
        connect.refuse_old_version(pyspark.__version__)
    use_own_python_locally(session)
    _bound_arrow_input(session)
    return session


def is_connect(session: Any) -> bool:
    """Whether the session speaks Spark Connect (no JVM on this side)."""
    try:
        return session.sparkContext is None
    except (AttributeError, NotImplementedError):  # the second: PySpark 3.5
        return True


def parallelism(session: Any) -> int:
    """How many tasks run at a time, as far as Spark says; under Connect what a shuffle makes."""
    if is_connect(session):
        return int(session.conf.get("spark.sql.shuffle.partitions"))
    return int(session.sparkContext.defaultParallelism)


def row_timeout_s(session: Any) -> float:
    """Seconds that one row may take in a task's retry, where each has a process of its own.

    A fifth of ``spark.python.worker.idleTimeoutSeconds``, after which Spark takes a worker that
    says nothing for stuck: several rows may hang before their results fill what is sent at once.
    """
    idle_s = float(session.conf.get("spark.python.worker.idleTimeoutSeconds", "0") or 0)
    return (idle_s or _DEFAULT_IDLE_S) / 5


def use_own_python_locally(session: Any) -> None:
    """In local mode, let workers run this very Python.

    With ``PYSPARK_PYTHON`` unset PySpark starts them with the ``python3`` on the path, which is
    not that of a virtual environment that was not activated, and lacks its packages.
    """
    if "PYSPARK_PYTHON" in os.environ:
        return
    if is_connect(session):
        # Set by PySpark where this process has started the server: remote("local").
        if internals.CONNECT_SERVER in os.environ and not session.conf.get(
            internals.CONNECT_PYTHON, None
        ):
            session.conf.set(internals.CONNECT_PYTHON, sys.executable)
        return
    context = session.sparkContext
    # Asked for with each UDF, and each look at a setting is a call to the JVM.
    if context.pythonExec == sys.executable or not context.master.startswith("local"):
        return
    if not session.conf.get("spark.pyspark.python", None):
        context.pythonExec = sys.executable


def _bound_arrow_input(session: Any) -> None:
    """Hand rows to workers in pieces bounded by their bytes, unless the user has said otherwise.

    Spark 4.2's columnar input copies whole batches, up to ``arrow.maxRecordsPerBatch`` (10,000)
    rows of Parquet, into vectors of the JVM, without a look at ``arrow.maxBytesPerBatch``: images
    of 215 KB pass the 2 GiB that a vector can hold, and the task fails.
    """
    for key, value in BOUNDED_ARROW_INPUT.items():
        if session.conf.get(key, None) is None:
            session.conf.set(key, value)


BOUNDED_ARROW_INPUT = {"spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false"}

_SECRETS = (
    "(?i)secret|password|passwd|token|access[.]?key|private[.]?key|credential|encryption[.]?key|sasl|jaas"
    "|keystore|truststore"
)

_DEFAULT_IDLE_S = 300.0

# Without tries, a local session fails on the first worker that a picture ends.
_LOCAL = re.compile(r"local(?:\[(\*|\d+)\])?")
_LOCAL_TRIES = 4

# sun_path of Linux's unix(7), less its closing zero; macOS has 4 fewer. Spark's names: a dot, a
# UUID, ".sock".
_SOCKET_PATH_BYTES = 103
_SOCKET_NAME_BYTES = len("/.00000000-0000-0000-0000-000000000000.sock")

_PROGRESS_BAR = "spark.ui.showConsoleProgress"

# What a job sets where neither spark-submit nor spark-defaults.conf does.
JOB_DEFAULTS = {
    # A worker stuck in native code is found by its stack trace and replaced. Loading a large
    # model counts as idle, hence minutes.
    "spark.python.worker.idleTimeoutSeconds": f"{_DEFAULT_IDLE_S:.0f}",
    "spark.python.worker.killOnIdleTimeout": "true",
    "spark.python.worker.faulthandler.enabled": "true",
    # Encoded pictures are large rows, copied several times between Parquet and Python: pieces that
    # stay in the processor's cache, and below what allocators keep (`make bench` runs with these).
    "spark.sql.execution.arrow.maxRecordsPerBatch": "128",
    internals.ARROW_BATCH_BYTES: "4m",
    "spark.sql.parquet.columnarReaderBatchSize": "64",
    # Results on their way from a worker wait until they fill its buffer (64 KB, which a small
    # batch of a stream never does). Less than Arrow's smallest message, so that none waits. The
    # same for both kinds of UDF: Spark would start a daemon for each.
    "spark.sql.execution.pandas.udf.buffer.size": "64",
    "spark.sql.execution.python.udf.buffer.size": "64",
    **BOUNDED_ARROW_INPUT,
    # Freshness and dedupe sort frames by camera: in Spark's windows 4,096 rows of a group may stay
    # in memory, which is 10 GB of large frames.
    internals.WINDOW_SPILL_BYTES: "64m",
    # Shuffles are small: counts per error code, frames by camera within a batch.
    "spark.sql.shuffle.partitions": "4",
    # Errors would say on which line of Python a column was made: eight calls to the JVM for each
    # column, half of all that a job makes before its first batch.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Spark's progress bar overwrites the lines that the job prints.
    _PROGRESS_BAR: "false",
    "spark.log.level": "WARN",
    # Spark's own patterns miss encryption keys and Kafka's sasl.jaas.config, which would stand in
    # plans and event logs.
    "spark.redaction.regex": _SECRETS,
    "spark.sql.redaction.options.regex": f"(?i)url|{_SECRETS.removeprefix('(?i)')}",
}

_HOW_TO_SET = (
    "Set --conf spark.pyspark.python=PATH (or PYSPARK_PYTHON) to a Python that every node has, or "
    "ship one: --archives env.tar.gz#environment --conf "
    "spark.pyspark.python=./environment/bin/python; the package itself travels with --py-files "
    "dist/pyspark_vision.zip"
)

_HOW_TO_SET_CONNECT = (
    "Start the Spark Connect server with PYSPARK_PYTHON set to a Python that every node has, or "
    "ship one: spark.addArtifacts('env.tar.gz#environment', archive=True) and "
    f"spark.conf.set('{internals.CONNECT_PYTHON}', 'environment/bin/python') "
    "(spark-submit --remote: --archives and --conf); the package itself travels with "
    "spark.addArtifacts('dist/pyspark_vision.zip', pyfile=True)"
)


def how_to_set(session: Any) -> str:
    """What brings executors a Python with the packages that they need, for people to read."""
    if is_connect(session):
        return _HOW_TO_SET_CONNECT
    context = session.sparkContext
    of_others = os.environ.get("PYSPARK_PYTHON") == context.pythonExec
    if of_others and context.master.startswith("local"):
        return f"PYSPARK_PYTHON names it: unset it if it is another project's. {_HOW_TO_SET}"
    return _HOW_TO_SET


def job_session(name: str, *, writes_delta: bool = False) -> SparkSession:
    """The session of a job: what ``spark-submit`` says wins, ``JOB_DEFAULTS`` fill the rest.

    ``writes_delta``: with Delta Lake's settings too, where its jar is there.

    With ``spark-submit --remote`` or ``SPARK_REMOTE`` it is a Spark Connect session, to which the
    package has been shipped.
    """
    session: SparkSession
    if connect.is_wanted():
        session = connect.make_session(name, JOB_DEFAULTS)
    else:
        session = _classic_session(name, {}, JOB_DEFAULTS, writes_delta=writes_delta)
    use_own_python_locally(session)
    return session


def tool_session(name: str, master: str | None, settings: Sequence[str]) -> SparkSession:
    """The session of a command of ours: ``settings`` are KEY=VALUE, and each counts or is refused.

    Where the JVM runs already (``scripts/submit replay``), what only its start can take is refused.
    """
    given: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InvalidOptionError(f"--conf {setting!r} is not KEY=VALUE")
        given[key] = value
    if master is not None:
        given["spark.master"] = master
    session = _classic_session(name, given, {"spark.master": "local[*]", **JOB_DEFAULTS})
    use_own_python_locally(session)
    return session


def _classic_session(
    name: str,
    given: Mapping[str, str],
    defaults: Mapping[str, str],
    *,
    writes_delta: bool = False,
) -> SparkSession:
    """``given`` beats what spark-submit and its files say, which beats ``defaults``."""
    from pyspark import SparkConf  # not in pyspark-client

    own_jvm.start(given)
    known = SparkConf()
    conf: dict[str, bool | float | int | str | None] = dict(given)
    if not internals.is_submitted():
        # `python jobs/….py` is Spark's shell to Spark, which turns the bar on for it.
        conf = {_PROGRESS_BAR: "false", **conf}
    missing = {"spark.app.name": name, **defaults}
    # As many tries as a cluster gives a task: a retry finds the row that ended its worker.
    master = given.get("spark.master") or known.get("spark.master") or defaults.get("spark.master")
    if local := _LOCAL.fullmatch(master or ""):
        conf["spark.master"] = f"local[{local.group(1) or 1},{_LOCAL_TRIES}]"
        missing |= _local_sockets()
    # Spark would print a page about an extension whose jar it has not.
    if writes_delta and has_class(None, delta_lake.EXTENSION):
        missing |= delta_lake.SETTINGS
        others = known.get(delta_lake.EXTENSIONS) or ""
        if others and delta_lake.EXTENSION not in others:
            conf[delta_lake.EXTENSIONS] = f"{others},{delta_lake.EXTENSION}"
    for key, value in missing.items():
        if key not in conf and not known.contains(key):
            conf[key] = value
    active = SparkSession.getActiveSession()
    # Not SparkConf itself: the builder reads it whole, with two calls to the JVM for each setting.
    session = SparkSession.builder.config(map=conf).getOrCreate()
    if active is None:
        own_jvm.end_workers_at_exit(session)
    return session


def _local_sockets() -> dict[str, str]:
    """Workers on Unix sockets: over TCP each task waits 40 ms for a delayed acknowledgement.

    From Spark 4.1. Not on clusters, whose folders may be deeper than a socket's name can be long
    (YARN's are); conf/spark-defaults.conf has it for them.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) + _SOCKET_NAME_BYTES > _SOCKET_PATH_BYTES:
        return {}
    return {
        "spark.python.unix.domain.socket.enabled": "true",
        "spark.python.unix.domain.socket.dir": folder,
    }


def check_workers(session: SparkSession) -> None:
    """Raise :class:`WorkerEnvironmentError` if an executor's Python lacks what UDFs import."""

    def probe(_: int) -> tuple[str, list[str]]:
        import importlib.util
        import sys

        needed = ("numpy", "pandas", "pyarrow", "PIL", "pyspark_vision")
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if "pyspark_vision" not in missing:
            from pyspark_vision.executor.worker import idle

            idle.wait_quietly()
        return sys.executable, missing

    # Without Arrow, which may be what is missing.
    udf = F.udf(probe, "struct<executable: string, missing: array<string>>", useArrow=False)
    try:
        ((worker,),) = session.range(0, 1, 1, 1).select(udf("id")).collect()
    # Spark's refusal of a Python that is not there, or of another version, comes in many classes.
    except Exception as error:
        known = error_texts.NO_PYTHON.search(str(error))
        python = "Python" if is_connect(session) else session.sparkContext.pythonExec
        raise WorkerEnvironmentError(
            f"executors cannot run {python}: "
            f"{known.group() if known else str(error)[:300]}. {how_to_set(session)}"
        ) from None
    if worker["missing"]:
        raise WorkerEnvironmentError(
            f"executors run {worker['executable']}, which lacks {', '.join(worker['missing'])}. "
            f"{how_to_set(session)}"
        )


def lack_of_workers(error: Exception) -> WorkerEnvironmentError | None:
    """What :func:`check_workers` says, if a job has failed because workers cannot run its tasks.

    A job's first task is what tries its executors: to try them before it takes seconds of each
    start. ``None`` if they can do what they must: the failure has another reason.
    """
    if not error_texts.NO_WORKER.search(str(error)):
        return None
    try:
        check_workers(active_session())
    except WorkerEnvironmentError as lack:
        return lack
    return None
