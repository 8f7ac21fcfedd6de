"""All that the package reads out of the texts of Spark's errors, which Spark does not promise.

Nor do Hadoop, the connectors of stores, Delta Lake and Iceberg promise theirs. An error that
crosses from a task or from the JVM is text: no class of Kafka or of Python is left. Where a text is
another one, the error still ends the job; its last line is then Spark's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# What an error says of a Python that executors cannot run, or that lacks a module. Unknown: the
# error's first words.
NO_PYTHON = re.compile(r"Cannot run program.*|\[PYTHON_VERSION_MISMATCH\].*")
NO_WORKER = re.compile(rf"{NO_PYTHON.pattern}|(Import|ModuleNotFound)Error|failed to connect back")

# What began an error of a stream: a line of its traceback, not py4j's; and that a worker was lost,
# after which a broken pipe is the last cause. Unknown: the error's first line is shown.
CAUSE = re.compile(r"^\s*(?:Caused by: |: )?((?!py4j\.)[\w.$]+(?:Error|Exception): .+)$", re.M)
WORKER_GONE = "Python worker exited unexpectedly"

# What an error says of processes that were killed: of a worker in a task's retry by this library,
# of a container by YARN and Kubernetes, and by exit code (128 + 9). Unknown: the error's own words.
_KILLED = re.compile(
    r"ended by signal 9|exceeding (?:physical |virtual )?memory limits|OOMKilled"
    r"|(?:exit (?:code|status):?|exited with code|code:?) 137\b"
)
# What Python's faulthandler says of a worker that broke down by itself, above Spark's words of it.
_BROKE_DOWN = "Fatal Python error"

# Of a worker: what it says of a schema registry that does not answer.
_NO_REGISTRY = re.compile(r"SchemaRegistryError: ([^\n]+)")

# Kafka's, whose words name no topic.
NO_TOPIC = "UnknownTopicOrPartitionException"

# Of an exception of this package, in the traceback that Spark quotes; the first is the cause.
_OWN = re.compile(r"^(?:pyspark_vision\.[\w.]+Error): (Pub/Sub: .+)$", re.M)

# Of a stream whose Python source has ended without a word, to which Spark gives no class: what was
# written to it, or read (an EOFException, which says nothing). Unknown: these words themselves.
_SOURCE_GONE = re.compile(
    r"terminated with exception: (?:Broken pipe|Connection reset(?: by peer)?|null)? SQLSTATE.*$",
    re.M,
)

# Of a checkpoint's log, whose newest file is empty or ends too early.
_CUT_LOG = re.compile(r"Failed to read log file (.+)\. Incomplete log file")

# Of a file that was there when Spark's reader listed it.
_FILE_GONE = ("FileNotFoundException", "FILE_NOT_EXIST", "FAILED_READ_FILE")

# Delta's, when another has changed the table since it was read: whoever tries again finds the new
# one. Unknown: the stream ends, and its next start sends the batch again.
_DELTA_CONFLICT = re.compile(
    "DELTA_CONCURRENT|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|ConcurrentModification"
)
# A table's refusal of rows. Unknown: a failure with a traceback, and not one line.
_DELTA_REFUSAL = re.compile(r"\[(DELTA_[A-Z_.]+)\]\s*([^\n]*)")
# Delta 3.3, of Spark 3.5, has no class for other columns; 4 calls them DELTA_METADATA_MISMATCH.
_DELTA_MISMATCH = re.compile(r"A schema mismatch detected when writing to the Delta table[^\n]*")
_ICEBERG_REFUSAL = re.compile(r"org\.apache\.iceberg\.exceptions\.(\w+): ([^\n]*)")

# Cloud Storage's answer when a file is closed that another has made, to which the connector gives
# no class. Unknown: the job says that the folder cannot be written.
_MADE_BY_ANOTHER = "412 Precondition Failed"

# What a Hadoop file system says, by what is wrong; classes and words, for a class often says no
# more than `IOException`. Unknown: the doctor shows the error, without what to do.
NO_CONNECTOR = ("No FileSystem for scheme", "ClassNotFoundException", "NoClassDefFoundError")
NOTHING_ANSWERS = (
    *("ConnectException", "NoRouteToHost", "UnknownHost", "SocketTimeout", "Unable to execute"),
)
NOT_ALLOWED = (
    *("AccessControl", "AccessDenied", "Forbidden", "Status Code: 403", "401 Unauthorized"),
    *("InvalidAccessKeyId", "Signature"),
)
NO_AWS_CREDENTIALS = ("NoAuthWithAWS", "NoAwsCredentials", "Unable to load credentials")
NO_GOOGLE_CREDENTIALS = ("default credentials", "access token", "credential file")
NOT_OURS = ("Permission denied", "ParentNotDirectory", "Not a directory")
NO_BUCKET = ("NoSuchBucket", "404 Not Found")
NOT_THERE = (*NO_BUCKET, "does not exist")

# What a Hadoop file system raises, as its own text. Unknown: a failure with a traceback.
MISTAKES_OF_STORES = (
    *(*NO_CONNECTOR, *NOT_ALLOWED, *NO_AWS_CREDENTIALS, *NO_GOOGLE_CREDENTIALS, *NOT_OURS),
    *NOT_THERE,
)
OF_FILE_SYSTEMS = re.compile(r"(java\.(io|nio|net)|org\.apache\.hadoop)\.")

_RECORD_TOO_LARGE = re.compile(r"RecordTooLarge(?:Exception: ([^\n]+))?")

_HOW_TO_GO_ON = (
    "Go on without them by `skip_lost` TOPIC, or begin anew with another `checkpoint` and output"
)


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


def own_error(message: str) -> str | None:
    """What this package has raised in a process of Spark's, where its Python sources run.

    ``None``: an error of another kind.
    """
    raised = _OWN.search(message)
    return None if raised is None else raised.group(1).strip()


def source_gone(message: str) -> str | None:
    """That the Python process of a stream's source was ended; ``None``: it was not.

    >>> source_gone("Query terminated with exception: Broken pipe SQLSTATE: XXKST")[:36]
    "Pub/Sub: the source's Python process"
    """
    if not _SOURCE_GONE.search(message):
        return None
    return (
        "Pub/Sub: the source's Python process on the driver's machine has ended (killed, or out of "
        "memory). The next start goes on with the batch that was not committed"
    )


def cut_log(message: str) -> str | None:
    """Which file of a checkpoint was cut short; ``None``: none was.

    >>> cut_log("Failed to read log file file:/c/offsets/2. Incomplete log file")[:53]
    'file:/c/offsets/2, a file of the checkpoint, was cut '
    """
    cut = _CUT_LOG.search(message)
    if cut is None:
        return None
    return (
        f"{cut.group(1)}, a file of the checkpoint, was cut short (a full disk, or a machine that "
        "went down): put the checkpoint back from a copy, or choose a new `checkpoint` and output"
    )


def too_large_record(message: str) -> str | None:
    """Why Kafka's producer refused a record for its size (may be empty); ``None``: it did not."""
    refused = _RECORD_TOO_LARGE.search(message)
    return None if refused is None else (refused.group(1) or "").rstrip(". ")


def delta_conflict(message: str) -> bool:
    """Whether a commit failed because another came first."""
    return _DELTA_CONFLICT.search(message) is not None


def table_refusal(message: str) -> str | None:
    """Why a Delta or Iceberg table refused rows, with its own name of it; ``None``: it did not.

    >>> table_refusal("[DELTA_INVARIANT_VIOLATION] CHECK constraint score violated by row")
    'CHECK constraint score violated by row (DELTA_INVARIANT_VIOLATION)'
    """
    refused = _DELTA_REFUSAL.search(message) or _ICEBERG_REFUSAL.search(message)
    if refused is None:
        mismatch = _DELTA_MISMATCH.search(message)
        return None if mismatch is None else f"{mismatch.group()} (DELTA_METADATA_MISMATCH)"
    name, why = refused.groups()
    return f"{why.strip() or name} ({name})"


def file_gone(message: str) -> bool:
    """Whether a file went, or was written anew, between its listing and its reading."""
    return any(words in message for words in _FILE_GONE)


def made_by_another(message: str) -> bool:
    """Whether an object could not be made because another has made it meanwhile."""
    return _MADE_BY_ANOTHER in message


def no_schema_registry(message: str) -> str | None:
    """Why a batch failed for want of a schema; ``None``: it failed for something else."""
    said = _NO_REGISTRY.search(message)
    return None if said is None else said.group(1).strip()


def lost_records(message: str) -> str | None:
    """What Spark's Kafka source has lost, and how to go on; ``None``: an error of another kind.

    ``spark-sql-kafka-0-10`` raises ``KAFKA_DATA_LOSS`` in several forms, among a page of advice
    and without that name; the texts are those of its ``error/kafka-error-conditions.json``.
    """
    text = " ".join(message.split())
    if "Some data may have been lost because they are not available in Kafka" not in text:
        return None
    for pattern, say in _FORMS:
        match = re.search(pattern, text)
        if match is not None:
            return f"{say(*match.groups())}. {_HOW_TO_GO_ON}"
    return f"records are gone that were not read yet. {_HOW_TO_GO_ON}"


def _range_gone(start: str, end: str, place: str) -> str:
    # Of a part of the batch: the source splits a partition where there are more cores.
    return f"{place} has lost records, at least of the offsets {start}..{int(end) - 1}"


def _moved_back(place: str, before: str, now: str) -> str:
    if int(now) < int(before):
        return (
            f"{place} ends at offset {now} and was read up to {before}: the topic was made anew, "
            "and what the old one had beyond that is gone"
        )
    return f"{place} has lost the offsets {before}..{int(now) - 1}, by retention"


_FORMS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"records in offset \[(\d+), (\d+)\) for topic partition (\S+) with", _range_gone),
    (r"Partition (\S+) offset was changed from (\d+) to (\d+)", _moved_back),
    (r"Starting offset for (\S+) was (\d+) but consumer reset to (\d+)", _moved_back),
    (
        r"Added partition (\S+) starts from (\d+) instead of 0",
        lambda place, start: f"{place} has lost the offsets 0..{int(start) - 1}, by retention",
    ),
    (
        r"(?:Partitions|initial offsets for partitions) (.+?)(?: have been deleted|\. They)",
        lambda places: f"{places} are gone with all that was not read of them",
    ),
)
