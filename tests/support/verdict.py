"""After a fault: the rest is read, and every frame is where it belongs."""

from __future__ import annotations

import numbered_frames as frames
from detect_job import DetectJob
from fault_cases import Case
from local_services.hdfs import Hdfs


def nothing_is_lost(job: DetectJob, case: Case, *, is_finished: bool = False) -> frames.Found:
    """Let the job read the rest, unless it has, and look for every frame."""
    if not is_finished:
        assert job.finish() == 0, job.tail()
    found = frames.look(job.servers, job.sent, job.output, job.dead_letters)
    repeats = found.messages.total() - len(found.messages)
    problems = found.problems(job.sent)
    case.found = "; ".join(problems) or (
        f"{found.parquet.total()} rows, {found.letters.total()} dead letters, "
        f"{found.messages.total()} messages ({repeats} repeats)"
    )
    assert not problems
    return found


def nothing_is_lost_on_hdfs(job: DetectJob, hdfs: Hdfs, case: Case) -> frames.Found:
    """:func:`nothing_is_lost` of a job whose ``storage`` is there, copied here to be looked at."""
    assert job.finish() == 0, job.tail()
    for name in ("out", "dead"):
        hdfs.shell("-get", f"{job.storage}/{name}", job.folder / name)
    return nothing_is_lost(job, case, is_finished=True)
