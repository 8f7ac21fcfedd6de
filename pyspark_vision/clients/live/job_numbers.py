"""The job's own numbers, from the port that its ``--metrics-port`` opens."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.parser import text_string_to_metric_families

from pyspark_vision.errors import InvalidOptionError

_ASK_EVERY_S = 2.0
_TIMEOUT_S = 2.0
_MAX_BYTES = 1_000_000
_PREFIX = "pyspark_vision_"
# Directly: a proxy of the environment knows nothing of this machine's ports.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class JobNumbers:
    """``values``: by the metric's name without prefix; ``failed``, ``dropped``: rows by code and by
    reason. ``problem``: why there are no numbers now; those of the last answer stay.
    """

    url: str
    job_name: str = ""
    values: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)
    problem: str | None = None
    since: float = 0.0


def checked_url(text: str) -> str:
    """The URL of ``--metrics``, with ``/metrics`` where it has no path.

    Raises :class:`InvalidOptionError`.

    >>> checked_url("http://127.0.0.1:9108")
    'http://127.0.0.1:9108/metrics'
    """
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise InvalidOptionError(
            f"--metrics {text}: it must be a URL as http://127.0.0.1:PORT/metrics, with the port "
            "of the job's --metrics-port"
        )
    path = parts.path if parts.path.strip("/") else "/metrics"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def parsed(text: str, url: str) -> JobNumbers:
    """What Prometheus's text says of a job. Raises :class:`ValueError` if it is none.

    >>> parsed('pyspark_vision_backlog_rows{job_name="detect"} 7.0\\n', "").values
    {'backlog_rows': 7.0}
    """
    values: dict[str, float] = {}
    failed: dict[str, float] = {}
    dropped: dict[str, float] = {}
    job_name = ""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith(_PREFIX):
                continue
            name = sample.name.removeprefix(_PREFIX)
            job_name = sample.labels.get("job_name", job_name)
            if "code" in sample.labels:
                failed[sample.labels["code"]] = sample.value
            elif "reason" in sample.labels:
                dropped[sample.labels["reason"]] = sample.value
            else:
                values[name] = sample.value
    return JobNumbers(url, job_name, values, failed, dropped)


class JobWatch:
    """Asks for the numbers every two seconds, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._stopping = threading.Event()
        self._numbers = JobNumbers(url, problem="not asked yet", since=time.time())
        self._thread = threading.Thread(target=self._ask, name="live-job", daemon=True)

    def start(self) -> None:
        """Begin to ask; the job may be away."""
        self._thread.start()

    def stop(self) -> None:
        """End, whatever is waited for."""
        self._stopping.set()

    @property
    def numbers(self) -> JobNumbers:
        """The last ones."""
        return self._numbers

    def _ask(self) -> None:
        while not self._stopping.is_set():
            self._numbers = self._next()
            self._stopping.wait(_ASK_EVERY_S)

    def _next(self) -> JobNumbers:
        last = self._numbers
        try:
            with _OPENER.open(last.url, timeout=_TIMEOUT_S) as answer:
                text = answer.read(_MAX_BYTES).decode("utf-8", "replace")
            numbers = parsed(text, last.url)
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"it answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            problem = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        except ValueError:
            problem = "what it answers are no metrics"
        else:
            return JobNumbers(
                numbers.url,
                numbers.job_name,
                numbers.values,
                numbers.failed,
                numbers.dropped,
                since=last.since if last.problem is None else time.time(),
            )
        since = last.since if last.problem is not None and last.since else time.time()
        return JobNumbers(
            last.url, last.job_name, last.values, last.failed, last.dropped, problem.lower(), since
        )
