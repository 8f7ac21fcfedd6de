"""Files of the checkout that commands need beside the package: jobs, the demo detector, ivy.xml.

In a checkout (and in an editable installation) they lie where they always lay; a wheel carries them
in this folder (setup.py, ``CARRIED``).
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[2]


def path(name: str) -> Path:
    """Where ``name``, a path from the checkout's root, lies here.

    >>> path("models/demo-detector").joinpath("model.json").is_file()
    True
    """
    root = checkout()
    return (root or _HERE) / name


def checkout() -> Path | None:
    """The checkout's root; ``None`` in an installed wheel."""
    return None if (_HERE / "jobs").is_dir() else _CHECKOUT
