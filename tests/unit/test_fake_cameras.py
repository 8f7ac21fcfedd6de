"""scripts/fake_cameras.py: what it says of frames is what a broker has, also after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

import fake_cameras
import pytest

FLAGS = ["--kafka-servers", "b:9092", "--cameras", "1", "--loop", "1", "--size", "64x48"]


class Broker:
    """Takes the first ``confirms`` frames; Ctrl-C comes with frame ``interrupted_at``."""

    def __init__(self, confirms: int, interrupted_at: int | None) -> None:
        self.confirms, self.interrupted_at = confirms, interrupted_at
        self.frames: list[Callable[..., None]] = []
        self.results = 0

    def produce(
        self, topic: str, value: bytes, on_delivery: Callable[..., None] | None = None
    ) -> None:
        if on_delivery is None:
            self.results += 1
            return
        if len(self.frames) == self.interrupted_at:
            raise KeyboardInterrupt
        self.frames.append(on_delivery)

    def poll(self, timeout: float) -> None: ...

    def flush(self, timeout: float) -> None:
        for number, on_delivery in enumerate(self.frames):
            on_delivery(None if number < self.confirms else "timed out", None)


@pytest.mark.parametrize(
    ("confirms", "interrupted_at", "sent", "results"),
    [(9, None, 4, 4), (9, 3, 3, 3), (2, None, 2, 4), (0, None, 0, 4), (9, 0, 0, 0)],
)
def test_what_is_on_its_way_is_sent_and_what_arrived_is_counted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    confirms: int,
    interrupted_at: int | None,
    sent: int,
    results: int,
) -> None:
    broker = Broker(confirms, interrupted_at)
    monkeypatch.setattr(fake_cameras, "Producer", lambda settings: broker)

    fake_cameras.main([*FLAGS, "--rate", "40", "--duration", "0.1"])

    assert capsys.readouterr().out.splitlines()[-1] == (
        f"fake_cameras.py: {sent} frames sent to pycturestream"
    )
    assert broker.results == results
