"""Run docs/tour.ipynb and keep what it shows in it, without what Spark says on standard error.

python scripts/run_notebook.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs" / "tour.ipynb"


def executed(path: Path) -> Any:
    """The notebook with the outputs of a new run; raises for a cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    for cell in notebook.cells:
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if out.get("name") != "stderr"]
        cell.metadata.pop("execution", None)  # times, other ones in each run
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(TOUR), TOUR)
    print(f"written: {TOUR}")
