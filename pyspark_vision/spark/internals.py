"""All that the package uses of Spark without Spark's promise, each use by itself, with its reason.

Seen on PySpark 3.5.9 to 4.3.0. ``tests/unit/test_public_api.py`` refuses any other use. Beside this
module, :mod:`~pyspark_vision.spark.checkpoint_logs` alone knows the files of a checkpoint, and
:mod:`~pyspark_vision.spark.error_texts` what errors say.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

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

# How PySpark's parent of workers is called. Unknown: workers may print a traceback at the end.
WORKER_DAEMON = "-m pyspark.daemon"

# The logger of streaming queries. Under another name a stop that was meant logs a stack trace.
STREAMING_LOG = "org.apache.spark.sql.execution.streaming"

# Writers of a checkpoint's files on a local disk that start no process: up to 4.0, and from 4.1 on.
# Spark's default asks `stat` and `chmod` for each file: 90 ms a batch, these 15. Under another name
# Spark writes its own way.
LOCAL_CHECKPOINT_WRITERS = (
    "org.apache.spark.sql.execution.streaming.FileSystemBasedCheckpointFileManager",
    "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
)

# What PySpark starts a JVM with. Unknown: `--conf spark.driver.memory` of commands does nothing.
SUBMIT_ARGS, RESOURCE = "PYSPARK_SUBMIT_ARGS", "pyspark-shell"

# Set by PySpark where it has made a Connect session, and where it has started that one's server.
# Unknown: SPARK_REMOTE says whether to use Connect, and workers run the `python3` of the path.
CONNECT_SESSION, CONNECT_SERVER = "SPARK_CONNECT_MODE_ENABLED", "SPARK_LOCAL_REMOTE"

_SUBMIT_GATEWAY = ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
_CONNECT_CONF = "PYSPARK_REMOTE_INIT_CONF"


def jvm(session: SparkSession) -> Any:
    """The one door to public classes of Java, Hadoop, Kafka. Missing: only Connect works."""
    return session.sparkContext._jvm


def hadoop_configuration(session: SparkSession) -> Any:
    """Java's public ``JavaSparkContext.hadoopConfiguration``; PySpark has none. As :func:`jvm`."""
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


def started_jvm() -> Any:
    """The JVM, started if need be, before there is a session. As :func:`jvm`."""
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    return SparkContext._jvm


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


def not_compiled(value: Column) -> Column:
    """``value``, another literal in each batch, out of the code that Spark generates and compiles.

    Arguments of ``zip_with`` are evaluated without code (3.5.9 to 4.3.0; those of ``transform`` up
    to 4.2). Where they are not, a batch takes 25 to 50 ms longer.
    """
    from pyspark.sql import functions as F

    return F.zip_with(F.array(value), F.array(value), lambda same, _: same)[0]
