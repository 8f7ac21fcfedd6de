"""What reading text needs beside an engine (the extra ``ocr``): imported when it is used.

Both raise ``ImportError`` where they are not installed; :class:`text_reader.TextReader` asks for
both when it is made, so that no row finds out.
"""

from __future__ import annotations

from typing import Any


def opencv() -> Any:
    """The module ``cv2``."""
    import cv2

    return cv2


def clipper() -> Any:
    """The module ``pyclipper``, which makes polygons larger."""
    import pyclipper

    return pyclipper
