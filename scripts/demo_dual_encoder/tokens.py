"""The tokenizer: a word is a number."""

from __future__ import annotations

import functools

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from demo_dual_encoder.captions import WORDS

MAX_TOKENS = 16
PAD, UNKNOWN = "[PAD]", "[UNK]"


@functools.cache
def tokenizer() -> Tokenizer:
    """Lower case, split at spaces and punctuation; what is not known is one word."""
    vocabulary = {word: number for number, word in enumerate((PAD, UNKNOWN, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return words


def token_ids(text: str) -> np.ndarray:
    """``(MAX_TOKENS,)`` int32, filled up with zeros."""
    ids = tokenizer().encode(text).ids[:MAX_TOKENS]
    return np.array(ids + [0] * (MAX_TOKENS - len(ids)), np.int32)
