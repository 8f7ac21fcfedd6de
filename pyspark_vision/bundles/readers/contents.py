"""What reading a model file gives, before anyone decides what its tensors mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TensorFound:
    """A tensor of a model: its name for the engine, shape (-1: any) and numpy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelFound:
    """A model file as it was read.

    ``inputs`` holds every input that has to be given (more than one is refused by name, later);
    ``outputs`` every output in the model's order. ``roles`` is filled by readers that know what an
    output is (the operator that makes it, the metadata), for ``task``, or for ``detect`` without
    one; else names and shapes decide. ``labels`` are those inside the file, or beside it. ``task``:
    what the metadata says that the model is for. ``quantization``: scale and zero point of a
    quantized input. ``signature`` and ``layer`` as in ``ModelFile``. ``fields`` are those of
    ``ModelSpec`` that the file, or where it comes from, says; ``unsaid`` those that it should say
    and does not, each with the reason. ``characters``: how many of a recognizer of text lines the
    metadata names. ``linear``: outputs that a linear layer gives, whose scores are logits.
    ``evidence``: where ``roles``, ``task`` and ``fields`` come
    from, in words.
    """

    engine: str
    format: str
    inputs: tuple[TensorFound, ...]
    outputs: tuple[TensorFound, ...]
    signature: str | None = None
    layer: str | None = None
    roles: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[int, str], ...] = ()
    family: str | None = None
    task: str | None = None
    quantization: tuple[float, int] | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    unsaid: tuple[tuple[str, str], ...] = ()
    characters: int = 0
    linear: tuple[str, ...] = ()
    evidence: str = ""


def channels_first_hw(contents: ModelFound) -> tuple[int, int]:
    """Height and width that a graph in NCHW fixes; -1 for what it leaves open, or has not."""
    shape = contents.inputs[0].shape if len(contents.inputs) == 1 else ()
    return (shape[2], shape[3]) if len(shape) == 4 else (-1, -1)
