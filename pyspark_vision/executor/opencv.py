"""OpenCV, which reading text needs: imported when it is used."""

from __future__ import annotations

import sys
from typing import Any


def opencv() -> Any:
    """The module ``cv2``. Raises ``ImportError`` naming the extra that brings it."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"reading text needs OpenCV, which {sys.executable} lacks ({error}): "
            "pip install 'pyspark_vision[ocr]' there"
        ) from error
    return cv2
