"""Logits to probabilities, and the best class of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def softmax(logits: Array) -> Array:
    """Along the last axis; without overflow."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = exponents / exponents.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: Array) -> Array:
    """Of each value; clipped where float32 saturates anyway, since exp would overflow there."""
    shares: Array = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float32), -80, 80)))
    return shares


def best_class(outputs: dict[str, Array]) -> dict[str, Array]:
    """``boxes`` with ``class_scores`` ``(N, C)`` -> ``boxes, scores, classes`` of N."""
    scores = outputs["class_scores"]
    return {
        "boxes": outputs["boxes"],
        "scores": scores.max(axis=-1),
        "classes": scores.argmax(axis=-1),
    }
