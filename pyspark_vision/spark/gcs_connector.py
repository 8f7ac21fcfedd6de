"""``gs://`` by Google's connector for Hadoop, set up where nobody has said otherwise.

Hadoop 3.5 (Spark 4.2 and later) names a file system of its own for ``gs://``, which PySpark does
not bring, and has sizes like ``64m`` for settings of the same names, which Google's connector
cannot read. What spark-submit, core-site.xml or a platform has set stays as it is.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from pyspark_vision.executor.fetch.gcs_clients import EMULATOR
from pyspark_vision.spark.hadoop_settings import set_as_bytes, set_by, set_missing
from pyspark_vision.spark.java_errors import has_class

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECTOR = "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem"

_DEFAULTS = {
    "fs.gs.impl": CONNECTOR,
    "fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
    # As Google's other clients, fetch_object's among them; the connector's own default looks for
    # them only where Google runs the machine.
    "fs.gs.auth.type": "APPLICATION_DEFAULT",
    # Hadoop 3.5's own choice fails where Spark writes JSON or CSV: its jobs have no number yet.
    "mapreduce.outputcommitter.factory.scheme.gs": (
        "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
    ),
}
# Of a test server, which Google's other clients find by this variable of the environment.
_OF_EMULATOR = {
    "fs.gs.auth.type": "UNAUTHENTICATED",
    "fs.gs.project.id": "emulator",
    # fake-gcs-server has no moveTo, and no storageLayout, which says whether folders are real.
    "fs.gs.operation.move.enable": "false",
    "fs.gs.hierarchical.namespace.folders.enable": "false",
}
# Those with suffixes in Hadoop 3.5's core-default.xml.
_SIZES = (
    "fs.gs.block.size",
    "fs.gs.inputstream.inplace.seek.limit",
    "fs.gs.inputstream.min.range.request.size",
    "fs.gs.outputstream.buffer.size",
    "fs.gs.rewrite.max.chunk.size",
)

_preparing = threading.Lock()
_prepared: weakref.WeakSet[Any] = weakref.WeakSet()


def prepare(session: SparkSession) -> None:
    """Let the session read and write ``gs://`` if the connector is on its class path; once."""
    context = session.sparkContext
    with _preparing:  # nobody goes on while another is at it
        if context not in _prepared:
            if has_class(session, CONNECTOR):
                _set_up(session)
            _prepared.add(context)


def _set_up(session: SparkSession) -> None:
    settings = dict(_DEFAULTS)
    if (url := os.environ.get(EMULATOR)) and set_by(session, "fs.gs.storage.root.url") is None:
        settings |= {"fs.gs.storage.root.url": url if "://" in url else f"http://{url}"}
        settings |= _OF_EMULATOR
    set_missing(session, settings)
    for name in _SIZES:
        set_as_bytes(session, name)
