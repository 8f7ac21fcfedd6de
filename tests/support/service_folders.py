"""Folders for services, in which nothing works any more when they have stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_services.proc import working_in
from local_services.process import wait_until


@contextmanager
def service_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder in which no process works any more when the service has stopped."""
    folder = tmp_path_factory.mktemp(name)
    yield folder
    wait_until(lambda: not working_in(folder), timeout_s=5)
    assert working_in(folder) == []
