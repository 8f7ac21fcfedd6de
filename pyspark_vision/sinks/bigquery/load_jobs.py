"""Load jobs whose ids are made of the checkpoint and the batch: the service takes an id once.

An id is ``pyspark_vision_<checkpoint>_<table>_<batch>_<attempt>``. What was sent under it is known
by asking for it, whoever has sent it and however that ended:

- **there and done**: the batch is in; a load job takes all of its rows or none;
- **there and running**: it is waited for;
- **there and failed**: it has left nothing; the next attempt has an id of its own;
- **not there**: it is sent. If the answer is lost on the way it is asked for again; if the service
  answers 409, it was taken before, and it is asked for as well.

So a driver may die before, while and after a job runs, and two drivers may send the same batch at
once: one job of all of them goes in. A batch that was not planned before this process began cannot
be there already, unless two jobs go on from copies of one checkpoint: that ends the stream.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark_vision.errors import StreamError
from pyspark_vision.sinks.bigquery.service import (
    PASSING,
    TIMEOUT_S,
    first_line,
    is_passing,
    reason,
)

if TYPE_CHECKING:
    from pyspark_vision.sinks.bigquery.table_name import TableName

_DONE = "DONE"
# The service's reason for rows that it cannot read, or that the table does not take.
_INVALID = "invalid"
# A load job of a few thousand rows takes seconds; one in a busy hour, minutes.
_POLL_S = (0.2, 5.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long the service is asked again: the first pause, the longest one, and in all."""

    first_s: float = 1.0
    longest_s: float = 60.0
    timeout_s: float = 600.0


@dataclass(frozen=True)
class BatchJob:
    """The jobs of one batch. ``may_be_there``: an earlier process may have sent it."""

    checkpoint_id: str
    table: TableName
    batch_id: int
    may_be_there: bool

    def id(self, attempt: int) -> str:
        """The same for the same batch of a checkpoint and a table, and for no other.

        >>> from pyspark_vision.sinks.bigquery.table_name import TableName
        >>> BatchJob("5f2c", TableName("a-project", "d", "t"), 7, False).id(0)
        'pyspark_vision_5f2c_bfe37a2f1bd8_7_0'
        """
        of = f"{self.checkpoint_id}_{self.table.digest}"
        return f"pyspark_vision_{of}_{self.batch_id}_{attempt}"


@dataclass(frozen=True)
class Loaded:
    """A batch that is in. ``was_there``: by an earlier process. ``rows``: as the service says.

    ``errors``: of rows that the service has left out of it.
    """

    job_id: str
    rows: int
    was_there: bool
    errors: tuple[str, ...] = ()


def already_in(client: Any, location: str, batch: BatchJob, patience: Patience) -> Loaded | None:
    """The job that has brought a batch in, waited for if it runs; ``None`` if none has.

    It is for a batch that goes another way from now on. Raises :class:`StreamError` as
    :func:`bring_in` does.
    """
    service = _Service(client, location, batch, patience)
    for attempt in itertools.count():
        job_id = batch.id(attempt)
        job = service.find(job_id)
        if job is None:
            return None
        job = service.ended(job)
        if job.error_result is None:
            return _loaded(job_id, job, was_there=True)
    raise AssertionError("there is always another attempt")


def bring_in(
    client: Any,
    location: str,
    batch: BatchJob,
    send: Callable[[str, bool], Any],
    check_table: Callable[[], object],
    patience: Patience,
) -> Loaded:
    """Have the batch in the table once; ``send(job_id, leaves_out)`` sends a job.

    ``leaves_out``: rows that cannot be read do not fail the job. It is true once a job has failed
    for such rows, after ``check_table()``, which raises if it is the table that has changed: then
    no row would be left.

    Raises :class:`StreamError` for a failure that another attempt does not mend, for one that has
    not passed within ``patience.timeout_s``, and for a batch that another job has sent.
    """
    service = _Service(client, location, batch, patience)
    pauses = service.pauses()
    leaves_out = False
    attempt = 0
    while True:
        job_id = batch.id(attempt)
        job = service.find(job_id)
        was_there = job is not None
        if job is None:
            job = service.send(job_id, functools.partial(send, job_id, leaves_out))
        elif not batch.may_be_there:
            raise _sent_by_another(batch)
        job = service.ended(job)
        failure = job.error_result
        if failure is None:
            return _loaded(job_id, job, was_there=was_there)
        why = str(failure.get("reason", ""))
        said = f"{why}: {' '.join(str(failure.get('message', '')).split())}"
        _log.warning("BigQuery: the load job %s failed (%s)", job_id, said)
        attempt += 1
        if why == _INVALID and not leaves_out:
            check_table()
            leaves_out = True
        elif not was_there:
            if why not in PASSING:
                raise StreamError(
                    f"BigQuery refuses batch {batch.batch_id} for {batch.table} ({said}); the next "
                    "start sends it again"
                )
            pauses(said)


def _loaded(job_id: str, job: Any, *, was_there: bool) -> Loaded:
    errors = tuple(str(entry.get("message", "")) for entry in job.errors or ())
    return Loaded(job_id, job.output_rows or 0, was_there, errors)


class _Service:
    """Asks the service, and asks again for as long as what it answers may pass."""

    def __init__(self, client: Any, location: str, batch: BatchJob, patience: Patience) -> None:
        self._client = client
        self._location = location
        self._batch = batch
        self._patience = patience

    def find(self, job_id: str) -> Any:
        """The job of this id; ``None`` if there is none."""
        from google.api_core import exceptions

        def get() -> Any:
            try:
                return self._client.get_job(
                    job_id, location=self._location, retry=None, timeout=TIMEOUT_S
                )
            except exceptions.NotFound:
                return None

        return self._patiently(get)

    def send(self, job_id: str, send: Callable[[], Any]) -> Any:
        """Send it, once; the job as the service has it."""
        from google.api_core import exceptions

        was_sent = False

        def attempt() -> Any:
            nonlocal was_sent
            if was_sent and (job := self.find(job_id)) is not None:
                return job
            was_sent = True
            try:
                return send()
            except exceptions.Conflict:
                return self._after_conflict(job_id)

        return self._patiently(attempt)

    def ended(self, job: Any) -> Any:
        """The job, when it is done."""
        pause_s, longest_s = _POLL_S
        while job.state != _DONE:
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, longest_s)
            self._patiently(lambda: job.reload(retry=None, timeout=TIMEOUT_S))
        return job

    def pauses(self) -> Callable[[str], None]:
        """``pause(why)`` before another attempt, longer each time, until the patience ends."""
        from google.api_core import retry

        lengths = retry.exponential_sleep_generator(
            self._patience.first_s, self._patience.longest_s
        )
        deadline = time.monotonic() + self._patience.timeout_s

        def pause(why: str) -> None:
            length_s = next(lengths)
            if time.monotonic() + length_s > deadline:
                raise self._out_of_patience(why)
            time.sleep(length_s)

        return pause

    def _after_conflict(self, job_id: str) -> Any:
        """The job that has the id. For a moment it may be taken and not found."""
        job = self.find(job_id)
        pause = self.pauses()
        while job is None:
            pause(f"the job {job_id} is there and is not found")
            job = self.find(job_id)
        return job

    def _patiently(self, call: Callable[[], Any]) -> Any:
        from google.api_core import exceptions, retry
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        asked = retry.Retry(
            predicate=is_passing,
            initial=self._patience.first_s,
            maximum=self._patience.longest_s,
            timeout=self._patience.timeout_s,
            on_error=self._say,
        )
        try:
            return asked(call)()
        except exceptions.RetryError as error:
            raise self._out_of_patience(first_line(error.cause or error)) from None
        except exceptions.GoogleAPICallError as error:
            raise StreamError(
                f"BigQuery refuses batch {self._batch.batch_id} for {self._batch.table} "
                f"({reason(error) or error.code}: {first_line(error)}); the next start sends it "
                "again"
            ) from None
        except (GoogleAuthError, RequestException) as error:
            raise StreamError(
                f"BigQuery cannot be asked for batch {self._batch.batch_id} of {self._batch.table} "
                f"({type(error).__name__}: {first_line(error)}); the next start sends it again"
            ) from None

    def _say(self, error: Exception) -> None:
        if is_passing(error):
            _log.warning("BigQuery: %s; asking again", first_line(error))

    def _out_of_patience(self, why: str) -> StreamError:
        return StreamError(
            f"BigQuery did not take batch {self._batch.batch_id} for {self._batch.table} within "
            f"{self._patience.timeout_s:g} s ({why}); the next start sends it again"
        )


def _sent_by_another(batch: BatchJob) -> StreamError:
    return StreamError(
        f"batch {batch.batch_id} is in {batch.table} already, and this job has only just read it: "
        "the checkpoint was restored from a copy, or another job goes on from a copy of it. Go on "
        "with the newest checkpoint, or begin a new one; rows that are read again are then there "
        "twice"
    )
