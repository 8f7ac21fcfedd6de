"""The command `events-api` on a real broker: each event once in its topic, whatever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from events_api import Api, Customers, in_topic
from local_services.kafka import Kafka

AWAY = "127.0.0.1:1"
SEED = int(os.environ.get("SEED", "23"))
CURL = {"User_Agent": "curl/7.47.0", "Accept": "*/*"}


@pytest.fixture
def api(kafka: Kafka, new_topic: Callable[..., str], tmp_path: Path) -> Api:
    """Not started yet; its topic has one partition, so that its order is to be seen."""
    return Api(kafka.bootstrap_servers, new_topic(partitions=1), tmp_path / "journal")


def test_requests_become_the_courses_messages(kafka: Kafka, api: Api) -> None:
    with api:
        answers = [
            api.request("GET", "/", **CURL),
            api.request("GET", "/purchase_a_sword?colour=r%C3%B6d&empty=", **CURL),
            api.request("GET", "/purchase_a_knife", **CURL, Cookie="secret", x_forwarded_for="a"),
            api.request(
                *("POST", "/join_guild", b'{"members": [1, {"a": null}], "description": "quiet"}'),
                Content_Type="application/json",
                Accept="application/json",
            ),
            api.request(
                *("POST", "/join_guild", b"guild=thieves"),
                Content_Type="application/x-www-form-urlencoded",
            ),
        ]
        code, said, complained = api.stop()

    assert [status for status, _, _ in answers] == [200] * 5
    assert answers[1][2] == b"Sword Purchased!\n"
    as_json = json.loads(answers[3][2])
    assert as_json == {
        "event_id": answers[3][1]["event-id"],
        "event_type": "join_guild",
        "status": "sent",
        "message": "Guild Joined!",
    }
    host = {"Host": f"127.0.0.1:{api.port}", "Accept-Encoding": "identity"}
    curl = {**host, "User-Agent": "curl/7.47.0", "Accept": "*/*"}
    sent = in_topic(kafka.bootstrap_servers, api.topic, 5)
    assert [message.event for message in sent] == [
        {"event_type": "default", **curl},
        {"event_type": "purchase_sword", "metadata": {"colour": "röd", "empty": ""}, **curl},
        {
            "event_type": "purchase_knife",
            "description": "very sharp knife",
            **curl,
            "X-Forwarded-For": "a",
        },
        {
            "event_type": "join_guild",
            "description": "quiet",
            "metadata": {"members": [1, {"a": None}]},
            **host,
            "Content-Type": "application/json",
            "Content-Length": "53",
            "Accept": "application/json",
        },
        {
            "event_type": "join_guild",
            "metadata": {"guild": "thieves"},
            **host,
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": "13",
        },
    ]
    assert [f"{m.journal}-{m.number}" for m in sent] == [a[1]["event-id"] for a in answers]
    assert (code, said, complained) == (0, "events-api: events 5, sent 5\n", "")


@pytest.mark.parametrize(
    ("form", "event"),
    [
        ("words", "purchased_sword"),
        ("event-type", {"event_type": "purchase_sword"}),
    ],
)
def test_an_earlier_weeks_form_has_no_place_for_parameters(
    kafka: Kafka, api: Api, form: str, event: object
) -> None:
    api.flags = ("--form", form)
    with api:
        status, _, _ = api.request("GET", "/purchase_a_sword")
        refused, _, reason = api.request("GET", "/purchase_a_sword?colour=red")
        _, said, _ = api.stop()

    assert [message.event for message in in_topic(kafka.bootstrap_servers, api.topic, 1)] == [event]
    assert (status, refused) == (200, 400)
    assert reason.decode().startswith("parameters have no place in an event here (--form")
    assert said == "events-api: events 1, sent 1, refused 1 (bad_input 1)\n"


@pytest.mark.slow
def test_while_kafka_is_away_events_are_kept_and_then_sent_in_order(kafka: Kafka, api: Api) -> None:
    with api:
        before = api.request("GET", "/")
        kafka.broker.kill()
        try:
            kept = [api.request("GET", f"/purchase_a_sword?n={n}", **CURL) for n in range(3)]
            again = api.request("GET", "/", Idempotency_Key=kept[0][1]["event-id"])
            # A process that starts now starts all the same, and keeps what the one before it kept.
            api.kill()
            started = api.start()
            kept.append(api.request("GET", "/purchase_a_sword?n=3", Accept="application/json"))
        finally:
            kafka.broker.start()
        deadline = time.monotonic() + 30
        while api.request("GET", "/", Idempotency_Key=kept[0][1]["event-id"])[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        code, said, complained = api.stop()

    assert (before[0], again[0]) == (200, 503)
    assert again[1]["event-id"] == kept[0][1]["event-id"]
    assert [status for status, _, _ in kept] == [503] * 4
    assert all(headers["retry-after"] == "5" for _, headers, _ in kept)
    event_id = kept[0][1]["event-id"]
    assert kept[0][2].decode().startswith(f"Kafka is away. Event {event_id} is kept and will be")
    assert json.loads(kept[3][2])["status"] == "kept"
    assert "with 3 events to send" in started
    sent = in_topic(kafka.bootstrap_servers, api.topic, 5)
    assert [message.number for message in sent] == [1, 2, 3, 4, 5]
    numbers = [message.event["metadata"]["n"] for message in sent[1:]]  # type: ignore[index]
    assert numbers == ["0", "1", "2", "3"]
    assert (code, said) == (0, "events-api: events 1, sent 4\n")
    assert f"Events are kept in {api.journal}" in complained
    assert complained.splitlines()[-1] == "events-api: Kafka takes events again"


@pytest.mark.slow
def test_a_journal_that_is_full_keeps_what_it_has_and_says_so(kafka: Kafka, api: Api) -> None:
    api.servers, servers = AWAY, api.servers
    api.flags = ("--journal-mb", "1")
    body = json.dumps({"text": "x" * 60_000}).encode()
    with api:
        answers = [
            api.request("POST", "/join_guild", body, Content_Type="application/json")
            for _ in range(20)
        ]
        code, said, _ = api.stop(signal.SIGHUP)
        kept = [status for status, _, _ in answers].count(503)
        api.servers = servers
        api.start()
        sent = in_topic(kafka.bootstrap_servers, api.topic, kept)
        after = api.request("POST", "/join_guild", body, Content_Type="application/json")

    assert [status for status, _, _ in answers] == [503] * kept + [507] * (20 - kept)
    assert 14 <= kept <= 17
    assert (
        answers[-1][2].decode().startswith("the event is not kept: the journal has its 1 MB full")
    )
    assert answers[-1][1]["retry-after"] == "5"
    assert code == 0
    assert f"events {kept}, sent 0, kept {kept} in {api.journal}, to be sent at the" in said
    assert f"refused {20 - kept} (not_kept {20 - kept})" in said
    assert [message.number for message in sent] == list(range(1, kept + 1))
    assert after[0] == 200


def test_a_request_that_is_sent_again_with_its_key_is_one_event_also_after_a_kill(
    kafka: Kafka, api: Api
) -> None:
    buy = ("POST", "/join_guild", b'{"guild": "thieves"}')
    headers = {"Content_Type": "application/json", "Idempotency_Key": "order-17"}
    with api:
        first, again = api.request(*buy, **headers), api.request(*buy, **headers)
        api.kill()
        api.start()
        after = api.request(*buy, **headers)
        other = api.request("POST", "/join_guild", b'{"guild": "bards"}', **headers)
        bad = api.request(*buy, **{**headers, "Idempotency_Key": "ü"})

    assert first[0] == again[0] == after[0] == 200
    assert first[1]["event-id"] == again[1]["event-id"] == after[1]["event-id"]
    assert (other[0], bad[0]) == (409, 400)
    assert len(in_topic(kafka.bootstrap_servers, api.topic, 1)) == 1


def lose_nothing(kafka: Kafka, api: Api, kills: int, seed: int) -> None:
    """Kill the API under load, at every fifth time Kafka before it; look for each purchase."""
    moments = random.Random(seed)
    with api, Customers(api) as customers:
        for kill in range(kills):
            time.sleep(moments.uniform(0.1, 2.0))
            with_kafka = kill % 5 == 1
            if with_kafka:
                kafka.broker.kill()
                time.sleep(moments.uniform(0.0, 3.0))
            api.kill()
            time.sleep(moments.uniform(0.0, 0.3))
            api.start()
            if with_kafka:
                time.sleep(moments.uniform(0.0, 1.0))
                kafka.broker.start()
                await_sent(api)
        await_sent(api)
    with api:  # what was kept when the last one was killed
        code, _, _ = api.stop()
    bought = customers.answered
    sent = in_topic(kafka.bootstrap_servers, api.topic, len(bought) + 1)

    assert code == 0
    assert len(bought) > 10 * kills
    assert [message.number for message in sent] == list(range(1, len(sent) + 1))
    names = [message.event["metadata"]["name"] for message in sent]  # type: ignore[index]
    assert sorted(names) == sorted([*bought, "asked"])
    statuses = list(bought.values())
    print(f"{kills} kills, {len(bought)} events, {statuses.count(503)} of them kept first")
    assert statuses.count(200) > kills


def await_sent(api: Api) -> None:
    """Until Kafka takes events again; the question is an event, too, of one key."""
    deadline = time.monotonic() + 60
    body = json.dumps({"name": "asked"}).encode()
    headers = {"Content_Type": "application/json", "Idempotency_Key": "asked"}
    while api.request("POST", "/join_guild", body, **headers)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_killed_three_times_under_load_nothing_is_lost_or_repeated(kafka: Kafka, api: Api) -> None:
    lose_nothing(kafka, api, kills=3, seed=SEED)


@pytest.mark.slow
def test_killed_twenty_times_under_load_nothing_is_lost_or_repeated(kafka: Kafka, api: Api) -> None:
    lose_nothing(kafka, api, kills=20, seed=SEED)


def test_what_is_wrong_at_the_start_is_one_line(
    kafka: Kafka, api: Api, tmp_path: Path, new_topic: Callable[..., str]
) -> None:
    said = {}
    with api:
        for name, other in {
            "topic": Api(api.servers, "no_such_topic", tmp_path / "a"),
            "port": Api(api.servers, api.topic, tmp_path / "b", port=api.port),
            "journal": Api(api.servers, api.topic, api.journal),
            "folder": Api(api.servers, api.topic, tmp_path),
            "size": Api(api.servers, api.topic, tmp_path / "c", ("--journal-mb", "0")),
        }.items():
            with other:
                assert other.process is not None
                _, said[name] = other.process.communicate(timeout=30)
                assert other.process.returncode == 2
    begins = "pyspark-vision events-api: "
    assert all(line.startswith(begins) and line.count("\n") == 1 for line in said.values())
    assert "topic no_such_topic does not exist" in said["topic"]
    assert f"--port {api.port}: another program has it" in said["port"]
    assert "is another running events-api's" in said["journal"]
    assert "is no journal and has" in said["folder"]
    assert "--journal-mb 0: at least 1" in said["size"]
