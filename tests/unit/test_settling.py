"""A file is read when it has not changed for a while, by looks and not by any clock alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from pyspark_vision.sources import settling
from pyspark_vision.sources.listed_files import ListedFile, Tally
from pyspark_vision.sources.settling import settled

SETTLE_S = 0.05


def file(name: str, age_s: float, size: int = 1) -> ListedFile:
    return ListedFile(name, name, size, round((time.time() - age_s) * 1000))


def looks(*later: tuple[int, int] | None) -> Callable[[ListedFile], tuple[int, int] | None]:
    """What each look shows, the last one from then on."""
    shown = list(later)
    return lambda _: shown.pop(0) if len(shown) > 1 else shown[0]


def test_an_older_file_is_given_at_once_and_a_fresh_one_after_a_second_look() -> None:
    fresh, old, ahead = file("fresh", 0), file("old", 100), file("ahead", -1000)

    def same(one: ListedFile) -> tuple[int, int]:
        assert one.size is not None
        assert one.modified_ms is not None
        return one.size, one.modified_ms

    began_at = time.monotonic()
    given = [one.uri for one in settled(iter([fresh, ahead, old]), SETTLE_S, same, Tally())]

    assert given == ["old", "fresh", "ahead"]
    assert time.monotonic() - began_at >= SETTLE_S


def test_a_file_that_grows_is_given_as_it_is_in_the_end() -> None:
    growing = file("growing", 0)
    now_ms = growing.modified_ms or 0

    given = list(
        settled(iter([growing]), SETTLE_S, looks((2, now_ms), (3, now_ms), (3, now_ms)), Tally())
    )

    assert [(one.uri, one.size) for one in given] == [("growing", 3)]


def test_a_file_that_never_settles_is_left_out_and_counted() -> None:
    sizes = iter(range(1_000_000))
    tally = Tally(1)

    given = list(settled(iter([file("log", 0)]), 0.001, lambda _: (next(sizes), 0), tally))

    assert given == []
    assert tally.left_out == {"not_settled": 1}


def test_a_file_that_goes_while_it_settles_is_for_its_row_to_say() -> None:
    given = list(settled(iter([file("gone", 0)]), SETTLE_S, looks(None), Tally()))

    assert [one.uri for one in given] == ["gone"]


def test_zero_takes_files_at_once() -> None:
    def refuse(_: ListedFile) -> None:
        raise AssertionError

    assert len(list(settled(iter([file("a", 0), file("b", -9)]), 0, refuse, Tally()))) == 2


def test_no_more_files_wait_than_the_driver_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_MOST_WAITING", 10)
    listed: list[ListedFile] = []

    def files() -> Iterator[ListedFile]:
        for number in range(35):
            listed.append(file(str(number), -9))
            yield listed[-1]

    given = 0
    for _ in settled(files(), 0.001, lambda one: (1, one.modified_ms or 0), Tally()):
        assert len(listed) - given <= 10
        given += 1

    assert given == 35
