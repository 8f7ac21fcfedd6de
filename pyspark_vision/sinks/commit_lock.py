"""One commit at a time in a table on this machine's disks, of all jobs that write it.

Delta Lake (``HDFSLogStore``) and Iceberg (``HadoopTableOperations``) look whether a commit's file
is there and then rename theirs to it. On HDFS that fails where another was faster. On a local disk
a rename replaces, and only threads of one JVM are kept apart: of two processes one would lose a
batch. So they take turns here, by a lock of the kernel's, which goes with a process that is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark_vision.spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# In a table's folder, where readers, VACUUM and the guard of used folders pass over it.
_LOCK = "_lease/commit.lock"
# What a disk says that has no locks: NFS without its daemon, some of FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def held(session: SparkSession, table: str) -> Iterator[None]:
    """Hold the lock of the table at ``table`` (any Hadoop URI; elsewhere there is none to hold).

    Waits while another holds it. Raises :class:`OSError` where the folder cannot be written.
    """
    folder = hadoop.local_path(session, table)
    if folder is None:
        yield
        return
    lock = folder / _LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    # To read: another user's file can be locked, too.
    file = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(file)
