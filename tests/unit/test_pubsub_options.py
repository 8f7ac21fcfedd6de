"""Options of the source: what is refused, in which words."""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.api_core import exceptions as google_exceptions

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.sources.pubsub.options import reader_options, whole_name
from pyspark_vision.sources.pubsub.service import AwayError, RefusedError, Service
from pyspark_vision.spark.error_texts import own_error

# Their constructors are untyped.
exceptions: Any = google_exceptions

GIVEN = {
    "subscription": "a-sub, projects/q2x/subscriptions/b-sub",
    "project": "proj",
    "journal": "/j",
}


def test_names_are_completed_by_the_project_and_whole_names_stay() -> None:
    options = reader_options(GIVEN)

    assert options.subscriptions == (
        "projects/proj/subscriptions/a-sub",
        "projects/q2x/subscriptions/b-sub",
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"subscription": ""}, "option subscription is missing"),
        ({"subscription": "a-sub,a-sub"}, "names one of them twice"),
        ({"project": ""}, "needs its project"),
        ({"project": "No Such"}, "'No Such' is no id of a project"),
        ({"subscription": "1x"}, "'1x' is no name of a subscription"),
        ({"journal": ""}, "option journal is missing"),
        ({"maxMessagesPerBatch": "0"}, "maxMessagesPerBatch='0' must be a whole number from 1"),
        ({"maxBytesPerBatch": "many"}, "maxBytesPerBatch='many' must be a whole number"),
        ({"ackDeadlineSeconds": "9"}, "from 10 to 600"),
        ({"readers": "²"}, "readers='²' must be"),
        ({"maxMessagePerBatch": "5"}, "no option maxMessagePerBatch; did you mean maxMessages"),
        ({"path": "x"}, "no option path; it has subscription, project, "),
    ],
)
def test_an_option_out_of_its_range_is_refused(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        reader_options({**GIVEN, **changed})


def test_a_whole_name_needs_no_project() -> None:
    assert whole_name("projects/p1x/subscriptions/sub", None) == "projects/p1x/subscriptions/sub"


def test_a_topic_is_completed_as_a_subscription_is_and_one_is_not_the_other() -> None:
    assert whole_name("t-1", "proj", "topic") == "projects/proj/topics/t-1"
    assert whole_name("projects/p1x/topics/t-1", None, "topic") == "projects/p1x/topics/t-1"
    with pytest.raises(InvalidOptionError, match="is no name of a topic"):
        whole_name("projects/p1x/subscriptions/sub", "proj", "topic")


class Refusing:
    """A client whose requests end with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def pull(self, **_: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (exceptions.NotFound("x"), RefusedError, "projects/p/subscriptions/s is not there"),
        (
            exceptions.PermissionDenied("x"),
            RefusedError,
            "give it the role roles/pubsub.subscriber",
        ),
        (exceptions.ServiceUnavailable("gone\nmore"), AwayError, "does not answer .* (503 gone)"),
    ],
)
def test_what_the_service_refuses_is_one_line(
    error: Exception, kind: type[Exception], said: str
) -> None:
    service = Service("127.0.0.1:1")
    service._pulling = Refusing(error)

    with pytest.raises(kind, match=said.replace("(", r"\(").replace(")", r"\)")) as raised:
        service.pull("projects/p/subscriptions/s", 1)

    assert "\n" not in str(raised.value)


def test_an_emulator_may_be_named_as_a_browser_has_it() -> None:
    with Service("http://127.0.0.1:1/") as service:
        assert service.place == "127.0.0.1:1"


def test_a_request_is_tried_again_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyspark_vision.sources.pubsub.service._REQUEST_TIMEOUT_S", 0.5)
    began = time.monotonic()

    with Service("127.0.0.1:1") as service, pytest.raises(AwayError, match=r"within 0\.5 s"):
        service.is_ordered("projects/p/subscriptions/s")

    assert time.monotonic() - began < 10


def test_an_empty_answer_in_time_is_no_message() -> None:
    service = Service("127.0.0.1:1")
    service._pulling = Refusing(exceptions.DeadlineExceeded("x"))

    assert service.pull("projects/p/subscriptions/s", 1) == []


def test_a_readers_error_is_found_in_what_spark_quotes() -> None:
    quoted = (
        '[STREAM_FAILED] … Traceback (most recent call last):\n  File "x.py", line 1\n'
        "pyspark_vision.sources.pubsub.service.RefusedError: Pub/Sub: the subscription is gone\n\n"
    )

    assert own_error(quoted) == "Pub/Sub: the subscription is gone"
    assert own_error("java.lang.IllegalStateException: no") is None
