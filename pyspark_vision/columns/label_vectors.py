"""What ``classify_image`` compares pictures with: texts as vectors, computed on the driver."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pyspark_vision.errors import InvalidModelError, InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.text.text_tower import TextTower, unit_length

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec


def label_vectors(model: ModelSpec, labels: tuple[str, ...]) -> bytes:
    """``(L, D)`` float32 as bytes, each vector of length 1, in the order of the labels.

    Raises :class:`InvalidModelError` for a model without ``logit_scale``, and
    :class:`InvalidOptionError` for a label that is longer than the model takes.
    """
    if model.logit_scale is None:
        raise InvalidModelError(
            f"classify_image: model {model.name!r} has no logit_scale, by which its scores are "
            "made: model.with_options(logit_scale=…), exp(model.logit_scale) of its weights (100 "
            "for CLIP by OpenAI), for SigLIP logit_bias, too"
        )
    return _vectors(model.path, model.sha256, labels)


@functools.lru_cache(maxsize=16)
def _vectors(path: str, sha256: str, labels: tuple[str, ...]) -> bytes:
    """``sha256``: of what lies at ``path``, so that another model there is another key."""
    try:
        tower = TextTower(path, threads=1)
    except ImportError as error:
        raise MissingDependencyError(str(error)) from None
    tokens = [tower.tokens(label) for label in labels]
    for label, label_tokens in zip(labels, tokens, strict=True):
        if label_tokens.is_cut:
            raise InvalidOptionError(
                f"labels: {label[:60]!r}… has more than the {tower.input.max_tokens} tokens that "
                "the model takes; make it shorter"
            )
    return np.ascontiguousarray(unit_length(tower.embed(tokens))).tobytes()
