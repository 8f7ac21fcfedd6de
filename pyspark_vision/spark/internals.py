"""All that the package uses of Spark without Spark's promise, each use by itself, with its reason.

Seen on PySpark 3.5.9 to 4.3.0. ``tests/unit/test_public_api.py`` refuses any other use. Beside this
module, :mod:`~pyspark_vision.spark.checkpoint_logs` alone knows the files of a checkpoint, and
:mod:`~pyspark_vision.spark.error_texts` what errors say, those of Hadoop and of tables included.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

# What a call into the JVM raises; a GatewayError also where the JVM is gone. Where PySpark brings
# no py4j (pyspark-client) there is no JVM, and nothing raises them.
GatewayError: type[Exception]
JavaError: type[Exception]
try:
    from py4j import protocol
except ImportError:
    GatewayError = JavaError = type("NoJvmError", (Exception,), {})
else:
    GatewayError, JavaError = protocol.Py4JError, protocol.Py4JJavaError

# Spark's Kafka source, to see whether its jar is there. Under another name the jar counts as
# missing, and the error says how to bring it.
KAFKA_SOURCE = "org.apache.spark.sql.kafka010.KafkaSourceProvider"

# From where on a command line of spark-submit's JVM is the user's. Unknown: paths are looked at as
# this Python has them.
SUBMIT_CLASS = b"org.apache.spark.deploy."

# How PySpark's parent of workers is called.
_WORKER_DAEMON = "-m pyspark.daemon"

# The logger of streaming queries. Under another name a stop that was meant logs a stack trace.
_STREAMING_LOG = "org.apache.spark.sql.execution.streaming"

# Java's property for the encoding of file names: of the JDK alone, but in each since 1.5.
FILE_NAME_CHARSET = "sun.jnu.encoding"

# Writers of a checkpoint's files on a local disk that start no process: up to 4.0, and from 4.1 on.
# Spark's default asks `stat` and `chmod` for each file: 90 ms a batch, these 15. Under another name
# Spark writes its own way.
LOCAL_CHECKPOINT_WRITERS = (
    "org.apache.spark.sql.execution.streaming.FileSystemBasedCheckpointFileManager",
    "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
)

# What PySpark starts a JVM with. Unknown: `--conf spark.driver.memory` of commands does nothing.
SUBMIT_ARGS, RESOURCE = "PYSPARK_SUBMIT_ARGS", "pyspark-shell"

# Java's options of a spark-submit, as its scripts read them. Unknown: `--fast-start` does nothing.
SUBMIT_JAVA_OPTIONS = "SPARK_SUBMIT_OPTS"

# Settings that Spark's documentation does not have (`SET -v` leaves them out). Spark takes a name
# that it does not know, too; then:
WINDOW_SPILL_BYTES = "spark.sql.windowExec.buffer.spill.size.threshold"  # frames may fill a heap
ARROW_BATCH_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"  # rows alone bound a batch
CONNECT_PYTHON = "spark.sql.execution.pyspark.python"  # workers run the `python3` of the path
LISTING_TASKS = (
    "spark.sql.sources.parallelPartitionDiscovery.parallelism"  # a task looks at each path
)
WHOLE_STAGE_CODE = "spark.sql.codegen.wholeStage"  # small batches wait for compiled code
CODE_FACTORY = "spark.sql.codegen.factoryMode"  # the same

# How a Hadoop `FileStatus` prints itself, by which many are read in one call. A name may hold
# anything, so its end is the last that fits. In another form: five calls into the JVM for each.
FILE_STATUS = re.compile(
    r"\w+\{path=(?P<path>.*); isDirectory=(?P<folder>true|false);(?: length=(?P<size>\d+);.*?)?"
    r" modification_time=(?P<time>\d+);",
    re.DOTALL,
)

# Set by PySpark where it has made a Connect session, and where it has started that one's server.
# Unknown: SPARK_REMOTE says whether to use Connect, and workers run the `python3` of the path.
CONNECT_SESSION, CONNECT_SERVER = "SPARK_CONNECT_MODE_ENABLED", "SPARK_LOCAL_REMOTE"

_SUBMIT_GATEWAY = ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
_CONNECT_CONF = "PYSPARK_REMOTE_INIT_CONF"

_log = logging.getLogger(__name__)


def java_class(session: SparkSession | None, name: str) -> Any:
    """A public class of Java, Hadoop or Kafka; PySpark has no way there. Missing: Connect works.

    By its whole name at once: py4j would look into all of Spark's jars for each part of it.
    ``session`` is ``None`` where there is none yet, but a JVM (:func:`start_jvm`).
    """
    from pyspark import SparkContext

    context = SparkContext if session is None else session.sparkContext
    return getattr(context._jvm, name)


def hadoop_configuration(session: SparkSession) -> Any:
    """Java's public ``JavaSparkContext.hadoopConfiguration``; as :func:`java_class`."""
    return session.sparkContext._jsc.hadoopConfiguration()


def java_exception(error: Exception) -> Any:
    """The Java exception of a :class:`JavaError`; ``None`` of any other error."""
    return getattr(error, "java_exception", None)


def is_submitted() -> bool:
    """Whether spark-submit has started this process. Unknown: names and settings go unchecked."""
    return _SUBMIT_GATEWAY[0] in os.environ


def is_jvm_running() -> bool:
    """Whether there is a JVM already. Unknown: settings that come too late are not refused."""
    from pyspark import SparkContext  # not in pyspark-client

    return is_submitted() or getattr(SparkContext, "_gateway", None) is not None


def start_jvm() -> None:
    """Before there is a session; nothing where the JVM runs. As :func:`java_class`."""
    from pyspark import SparkContext

    from pyspark_vision.spark.interrupts import interrupted_afterwards

    with interrupted_afterwards():
        SparkContext._ensure_initialized()


def file_name_charset(session: SparkSession | None = None) -> str:
    """How the JVM decodes and encodes file names."""
    return str(java_class(session, "java.lang.System").getProperty(FILE_NAME_CHARSET))


def worker_daemons(session: SparkSession) -> list[Any]:
    """Java's ``ProcessHandle`` of each parent of Python workers that the JVM has started.

    Under another name none: workers may print a traceback at the end.
    """
    children = java_class(session, "java.lang.ProcessHandle").current().children().toArray()
    return [child for child in children if _WORKER_DAEMON in child.info().commandLine().orElse("")]


def muted_end_of_query(session: SparkSession) -> Callable[[], None]:
    """Keep Spark from logging the end of a query as a failure; gives what takes that back."""
    log4j = "org.apache.logging.log4j"
    before = java_class(session, f"{log4j}.LogManager").getLogger(_STREAMING_LOG).getLevel()
    set_level = java_class(session, f"{log4j}.core.config.Configurator").setLevel
    set_level(_STREAMING_LOG, java_class(session, f"{log4j}.Level").OFF)
    return lambda: set_level(_STREAMING_LOG, before)


def leave_submitted_jvm() -> None:
    """Have PySpark start a Connect server in a new JVM; spark-submit's has not all its classes."""
    for variable in _SUBMIT_GATEWAY:
        os.environ.pop(variable, None)


def connect_settings() -> dict[str, str]:
    """What spark-submit hands on to a Connect script. Unknown: ``--conf`` and files are ignored."""
    settings: dict[str, str] = {}
    for part in range(int(os.environ.get(f"{_CONNECT_CONF}_LEN", "0"))):
        settings.update(json.loads(os.environ[f"{_CONNECT_CONF}_{part}"]))
    return settings


def executor_count(session: SparkSession) -> int:
    """By Scala's ``SparkStatusTracker``, which counts the driver. Missing: the doctor says so."""
    infos = session.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
    is_local = str(session.sparkContext.master).startswith("local")
    return max(len(infos) - 1, int(is_local))


def let_jvm_call_python(session: SparkSession) -> None:
    """For signals that reach the JVM, as ``foreachBatch`` does. Missing: no stream starts."""
    from pyspark import java_gateway

    start: Any = java_gateway.ensure_callback_server_started
    start(session.sparkContext._gateway)


def heard_by_jvm(
    session: SparkSession, names: Sequence[str], heard: Callable[[], None]
) -> Callable[[], None]:
    """Let the JVM call ``heard`` for signals (``TERM``); gives what takes that back.

    By ``sun.misc.Signal``, which the JDK has beside its public API: there is no other way, and the
    JVM would shut down in the middle of a batch. Missing: a warning, and it does so.
    """
    java_signal = java_class(session, "sun.misc.Signal")
    handler = _JvmSignalHandler(heard)
    before: list[tuple[Any, Any]] = []

    def unheard() -> None:
        for signal, had in before:
            java_signal.handle(signal, had)

    let_jvm_call_python(session)
    try:
        for name in names:
            signal = java_signal(name)
            before.append((signal, java_signal.handle(signal, handler)))
    except (TypeError, GatewayError):  # no such class, or a JVM that was told to leave signals
        _log.warning("Spark's JVM does not pass signals on: one that it gets cuts a batch short")
    return unheard


class _JvmSignalHandler:
    """``sun.misc.SignalHandler``, called by the JVM in a thread of its own."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def handle(self, number: Any) -> None:
        self._heard()

    class Java:
        implements: ClassVar = ["sun.misc.SignalHandler"]


def spark_version(home: Path) -> str | None:
    """Of the Spark in a folder, by the name of a jar. Missing: it counts as a folder without."""
    for jar in home.glob("jars/spark-core_*.jar"):
        return jar.stem.split("-", 2)[2]
    return None


def observed_metrics(query: StreamingQuery, name: str) -> dict[str, Any] | None:
    """What ``DataFrame.observe`` has counted as ``name`` in the batch in hand, once it was read.

    Spark's progress has the same, but only when the batch has ended. ``None`` where Spark does not
    give it: the batch's results are kept and counted in a pass of their own.
    """
    try:
        execution: Any = query._jsq.streamingQuery().lastExecution()
        metrics: dict[str, Any] = json.loads(execution.observedMetrics().apply(name).json())
    except (AttributeError, TypeError, GatewayError):
        return None
    return metrics


def mark(column: Column, name: str, value: Any) -> None:
    """Note something on a Column, which has room for it as most Python objects have.

    Without room: it is not noted, and what looks for it goes without (two passes instead of one).
    """
    with suppress(TypeError):
        vars(column)[name] = value


def mark_of(column: Column | str, name: str) -> Any:
    """What :func:`mark` has noted; ``None`` of any other column, and of a name."""
    # Not by getattr, by which a Column has a field of any name.
    try:
        return vars(column).get(name)
    except TypeError:
        return None


def not_compiled(value: Column) -> Column:
    """``value``, another literal in each batch, out of the code that Spark generates and compiles.

    Arguments of ``zip_with`` are evaluated without code (3.5.9 to 4.3.0; those of ``transform`` up
    to 4.2). Where they are not, a batch takes 25 to 50 ms longer.
    """
    from pyspark.sql import functions as F

    return F.zip_with(F.array(value), F.array(value), lambda same, _: same)[0]
