"""A model's files -> what is kept of them in a worker, and that with a function's options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyspark_vision.executor.answer_watch import AnswerWatch
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import Engine, load_engine
from pyspark_vision.executor.outputs.heads import HeadOptions, ReadOptions
from pyspark_vision.executor.predictor import Predictor
from pyspark_vision.executor.text.text_predictor import TextPredictor
from pyspark_vision.executor.text.text_reader import TextReader

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec
    from pyspark_vision.executor.models.shared_weights import SharedFolder


def load_model(
    spec: ModelSpec, path: str, threads: int, shared: SharedFolder | None = None
) -> Engine | TextReader:
    """The model at ``path``, loaded: arguments and errors as of :func:`load_engine`."""
    if spec.task == "ocr":
        try:
            return TextReader(spec, path, threads)
        except ImportError as error:
            raise ImportError(
                f"model {spec.name!r} reads text, for which {sys.executable} lacks what the extra "
                f"'ocr' brings ({error}): pip install 'pyspark_vision[ocr]' there"
            ) from error
    return load_engine(spec, path, threads, shared)


def predictor_of(
    spec: ModelSpec,
    model: Engine | TextReader,
    decode: DecodeOptions,
    head: HeadOptions,
    watch: AnswerWatch | None = None,
) -> Predictor | TextPredictor:
    """A loaded model with the options of one function; ``watch`` as of :class:`Predictor`."""
    if isinstance(model, TextReader):
        assert isinstance(head, ReadOptions)
        return TextPredictor(model, decode, head)
    return Predictor(spec, model, decode, head, watch)
