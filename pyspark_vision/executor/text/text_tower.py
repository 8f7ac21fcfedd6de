"""The text side of a dual encoder: texts -> vectors, as long as those of pictures.

On the driver for the labels of ``classify_image``, in workers for ``embed_text``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyspark_vision.executor.engines.onnx import start_session
from pyspark_vision.executor.models.model_files import TEXT_INPUT, TEXT_TOWER, TOKENIZER

Array = np.ndarray[Any, Any]

# Texts are short beside pictures: more at a time take more memory and no less time.
_TEXTS_IN_BATCH = 32

_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True)
class TextInput:
    """How texts become the tower's input, and which of its outputs is the embedding.

    ``max_tokens``: what is longer is cut; ``pads``: whether what is shorter is filled up to it with
    ``pad_id``. Where it is not, only texts of as many tokens are run together, so that nothing has
    to be filled up.
    """

    output: str
    max_tokens: int
    pads: bool
    pad_id: int


@dataclass(frozen=True)
class Tokens:
    """A text as the tower gets it; ``is_cut``: it had more tokens than the tower takes."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    is_cut: bool


class TextTower:
    """Tokenizer and text tower of a dual encoder's folder, loaded."""

    def __init__(self, folder: str, threads: int) -> None:
        """Raises ``ImportError`` naming the extras that bring tokenizer and engine."""
        place = Path(folder)
        try:
            from tokenizers import Tokenizer

            self._session = start_session(str(place / TEXT_TOWER), threads)
        except ImportError as error:
            raise ImportError(
                f"texts need Hugging Face's tokenizers and ONNX Runtime; {sys.executable} lacks "
                f"one ({error}): pip install 'pyspark_vision[text,onnx]' there"
            ) from error
        self.input = TextInput(**json.loads((place / TEXT_INPUT).read_text(encoding="utf-8")))
        self._tokenizer = Tokenizer.from_file(str(place / TOKENIZER))
        self._tokenizer.enable_truncation(self.input.max_tokens)
        self._tokenizer.no_padding()
        self._inputs = {value.name: _DTYPES[value.type] for value in self._session.get_inputs()}

    def tokens(self, text: str) -> Tokens:
        """The text as numbers, with the tokens that the tokenizer puts around it."""
        encoding = self._tokenizer.encode(text)
        ids = tuple(encoding.ids)
        mask = (1,) * len(ids)
        if self.input.pads:
            rest = self.input.max_tokens - len(ids)
            ids, mask = ids + (self.input.pad_id,) * rest, mask + (0,) * rest
        return Tokens(ids, mask, bool(encoding.overflowing))

    def embed(self, tokens: Sequence[Tokens]) -> Array:
        """``(N, D)`` float32, in the order of the texts."""
        vectors: list[Array | None] = [None] * len(tokens)
        by_length: dict[int, list[int]] = {}
        for index, text_tokens in enumerate(tokens):
            by_length.setdefault(len(text_tokens.ids), []).append(index)
        for indices in by_length.values():
            for start in range(0, len(indices), _TEXTS_IN_BATCH):
                batch = indices[start : start + _TEXTS_IN_BATCH]
                embedded = self._run([tokens[index] for index in batch])
                for index, vector in zip(batch, embedded, strict=True):
                    vectors[index] = vector
        return np.array(vectors, np.float32)

    def _run(self, batch: Sequence[Tokens]) -> Array:
        values = {
            "input_ids": [tokens.ids for tokens in batch],
            "attention_mask": [tokens.mask for tokens in batch],
            "token_type_ids": [(0,) * len(tokens.ids) for tokens in batch],
        }
        inputs = {name: np.array(values[name], dtype) for name, dtype in self._inputs.items()}
        vectors: Array = self._session.run([self.input.output], inputs)[0]
        return vectors


def unit_length(vectors: Array) -> Array:
    """``(N, D)``, each divided by its L2 norm; a zero vector stays zero."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    of_length_one: Array = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return of_length_one.astype(np.float32)
