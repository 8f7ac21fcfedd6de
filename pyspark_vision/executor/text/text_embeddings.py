"""Arrow arrays of texts -> Arrow arrays of their embeddings, with the row contract of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pyspark_vision.executor import results
from pyspark_vision.executor.models import model_cache, model_files
from pyspark_vision.executor.results import Row
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning, WarningCode
from pyspark_vision.executor.text.text_tower import TextTower, Tokens, unit_length

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

# A piece of 512-long embeddings is half a megabyte.
_ROWS_PER_PIECE = 256


@dataclass(frozen=True)
class TextInference:
    """All that ``embed_text`` carries to the workers."""

    spec: ModelSpec
    published: model_files.PublishedFile
    normalize: bool


def embed_batches(
    batches: Iterator[pa.Array], inference: TextInference, threads: int
) -> Iterator[pa.StructArray]:
    """A row for each text, in order; the tower is loaded when the first text is there.

    ``TypeError`` where the column is no column of texts.
    """
    spec = inference.spec
    for batch in batches:
        is_text = pa.types.is_string(batch.type) or pa.types.is_large_string(batch.type)
        # Through pandas, a batch of nulls has lost its type.
        if not is_text and batch.null_count < len(batch):
            raise TypeError(f"the column is {batch.type}; it must be a string (texts)")
        for start in range(0, len(batch), _ROWS_PER_PIECE):
            texts = batch.slice(start, _ROWS_PER_PIECE).to_pylist()
            rows = embed_texts(_tower(inference, threads), texts, normalize=inference.normalize)
            yield results.text_result_array(rows, spec.name, spec.sha256, spec.digest)


def embed_texts(
    tower: TextTower, texts: Sequence[str | None], *, normalize: bool = False
) -> list[Row]:
    """One row per text: its vector ``(D,)``, or why there is none."""
    rows = [Row(error=_why_none(text)) for text in texts]
    asked = [index for index, row in enumerate(rows) if row.error is None]
    tokens = [tower.tokens(texts[index] or "") for index in asked]
    try:
        vectors = list(tower.embed(tokens))
    # One text may be what the model cannot run: the others must not pay for it.
    except Exception as failure:
        if len(asked) == 1:
            error = RowError(ErrorCode.MODEL_FAILED, f"{type(failure).__name__}: {failure}")
            rows[asked[0]] = Row(error=error)
            return rows
        for index in asked:
            rows[index] = embed_texts(tower, [texts[index]], normalize=normalize)[0]
        return rows
    for index, text_tokens, vector in zip(asked, tokens, vectors, strict=True):
        rows[index] = _row(vector, text_tokens, tower, normalize=normalize)
    return rows


def _row(vector: np.ndarray, tokens: Tokens, tower: TextTower, *, normalize: bool) -> Row:
    if not np.isfinite(vector).all():
        return Row(error=RowError(ErrorCode.MODEL_FAILED, "the model's output is not finite"))
    if normalize:
        vector = unit_length(vector[np.newaxis])[0]
    cut = RowWarning(
        WarningCode.TEXT_CUT,
        f"the text has more than the {tower.input.max_tokens} tokens that the model takes; the "
        "rest is left out",
    )
    return Row(vector, warnings=(cut,) if tokens.is_cut else ())


def _why_none(text: str | None) -> RowError | None:
    if text is None:
        return RowError(ErrorCode.NULL_INPUT, "the text is null")
    if not text.strip():
        return RowError(ErrorCode.EMPTY_INPUT, "the text is empty")
    return None


def _tower(inference: TextInference, threads: int) -> TextTower:
    def load() -> TextTower:
        return TextTower(model_files.local_path(inference.published), threads)

    return model_cache.get(("text_tower", inference.spec.sha256, threads), load)
