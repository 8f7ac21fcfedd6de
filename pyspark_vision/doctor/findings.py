"""What a check found, and how checks are run: in order, each with a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from pyspark_vision.errors import PysparkVisionError
from pyspark_vision.spark.java_errors import Problem
from pyspark_vision.spark.secrets import Secrets

OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"


@dataclass(frozen=True)
class Finding:
    """``state``: ``OK``, ``FAILED`` or ``NOT_CHECKED``. ``text``: one line, without secrets."""

    check: str
    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<12} {self.check:<20} {self.text}"


class Examination:
    """Runs checks one after the other; ``report`` gets each finding as soon as it is there."""

    def __init__(self, report: Callable[[Finding], None], secrets: Secrets) -> None:
        self._report = report
        self._secrets = secrets
        self.findings: dict[str, Finding] = {}

    def look(
        self,
        check: str,
        test: Callable[[], str],
        *,
        needs: tuple[str, ...] = (),
        timeout_s: float = 60,
    ) -> bool:
        """Run a check, unless one that it needs was not ok; whether it was ok itself."""
        missing = next((name for name in needs if self.findings[name].state != OK), None)
        if missing is not None:
            return self.skip(check, f"{missing} comes first")
        try:
            return self._note(check, OK, _within(timeout_s, test))
        except TimeoutError:
            return self._note(check, FAILED, f"no answer in {timeout_s:g} s")
        except (Problem, PysparkVisionError) as error:
            return self._note(check, FAILED, str(error))
        # Whatever the engines, connectors and clients raise is a finding, too, not a traceback.
        except Exception as error:
            return self._note(check, FAILED, f"{type(error).__name__}: {str(error)[:400]}")

    def skip(self, check: str, reason: str) -> bool:
        """Note that a check was not run; always ``False``."""
        return self._note(check, NOT_CHECKED, reason)

    def _note(self, check: str, state: str, text: str) -> bool:
        line = self._secrets.masked(" ".join(text.split()))
        self.findings[check] = finding = Finding(check, state, line)
        self._report(finding)
        return state == OK


def _within(timeout_s: float, test: Callable[[], str]) -> str:
    """Run it in a thread that may be left behind: what hangs in the JVM cannot be interrupted."""
    results: list[str] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(test())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
