"""Imported first by each script: a Python of 3.11 or later, or one line that says so.

This file is read by any Python 3: nothing newer than 3.6 may stand in it.
"""

import io
import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN = os.path.join(_ROOT, ".venv", "bin", "python")

if sys.version_info < (3, 11):  # noqa: UP036 (`env python3` finds what it finds)
    # Both paths lead to one file where the environment itself is of the old Python.
    if os.path.exists(_OWN) and os.path.realpath(_OWN) != os.path.realpath(sys.executable):
        os.execv(_OWN, [_OWN] + sys.argv)  # noqa: RUF005
    sys.exit(
        "{} needs Python 3.11 or later, and {} is {}.{}: enter the environment (`make demo` makes "
        "it; then `. .venv/bin/activate`)".format(sys.argv[0], sys.executable, *sys.version_info)
    )

# The package of this checkout, where none is installed, or another one's.
sys.path.insert(0, _ROOT)

# Help and messages have letters that an ASCII terminal has not.
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="backslashreplace")
