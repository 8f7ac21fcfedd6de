"""Whether a job failed because something was killed, as its error's words tell.

Python workers, and the containers they are in, are killed for want of memory before all else. Under
other words the error is shown as it is.
"""

from __future__ import annotations

import re

from pyspark_vision.spark.internals import WORKER_GONE

# Of a worker in a task's retry by this library (executor/isolation.py), of a container by YARN and
# by Kubernetes, and by exit code: 128 and the signal's number.
_KILLED = re.compile(
    r"ended by signal 9|exceeding (?:physical |virtual )?memory limits|OOMKilled"
    r"|(?:exit (?:code|status):?|exited with code|code:?) 137\b"
)

# What Python's faulthandler says of a worker that broke down by itself, behind Spark's words of it.
_BROKE_DOWN = "Fatal Python error"


def killed_for_memory(said: str) -> bool:
    """Whether an error tells of workers or containers that were killed, and not how they broke.

    >>> killed_for_memory("Container killed by YARN for exceeding physical memory limits.")
    True
    >>> killed_for_memory(f"{WORKER_GONE} (crashed): Fatal Python error: Segmentation fault")
    False
    """
    if _KILLED.search(said):
        return True
    return WORKER_GONE in said and _BROKE_DOWN not in said
