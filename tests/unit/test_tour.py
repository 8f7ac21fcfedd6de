"""docs/tour.ipynb runs as it stands, and shows pictures."""

from __future__ import annotations

import guides
import nbformat


def test_the_notebook_runs_and_what_it_shows_is_kept_in_it() -> None:
    tour = guides.script(guides.ROOT / "scripts" / "run_notebook.py")
    kept = nbformat.read(tour.TOUR, as_version=4)

    shown = tour.executed(tour.TOUR)

    assert len(shown.cells) == 10
    assert [_pictures(cell) for cell in shown.cells] == [0, 0, 1, 0, 0, 0, 3, 0, 0, 0]
    assert [_pictures(cell) for cell in kept.cells] == [0, 0, 1, 0, 0, 0, 3, 0, 0, 0]
    assert "truncated" in str(shown.cells[4].outputs)


def _pictures(cell: nbformat.NotebookNode) -> int:
    return sum("image/jpeg" in output.get("data", {}) for output in cell.get("outputs", []))
