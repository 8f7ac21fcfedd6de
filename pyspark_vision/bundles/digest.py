"""The identity of a model: one digest of all that changes its answers.

Two specs with one digest give the same rows for the same picture. Another preprocessing, layer,
precision or engine is another digest, though the file be the same.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

from pyspark_vision.bundles.choice import has_bf16
from pyspark_vision.executor.decode.resize import has_simd

if TYPE_CHECKING:
    from pyspark_vision.bundles.spec import ModelSpec

# What a model is called, where it lies and whose it is. ``engine`` is a wish: what runs counts.
# ``fixed_batch`` is how many pictures the engine takes at a time; ``batched_outputs``
# how it gives them; ``stride`` only refuses sizes.
NO_ANSWERS = (
    "name",
    "files",
    "licence",
    "source",
    "root",
    "on_every_node",
    "proof",
    "engine",
    "fixed_batch",
    "stride",
    "batched_outputs",
)
# Of the file that runs; ``sha256`` says what is in it, wherever it lies.
_NO_ANSWERS_OF_FILE = ("path", "format")


@functools.lru_cache(maxsize=32)
def digest(spec: ModelSpec) -> str:
    """The sha256 of :func:`identity` as JSON. Fields at their defaults are left out, so that a new
    field changes no digest of before."""
    text = json.dumps(_without_defaults(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def identity(spec: ModelSpec) -> dict[str, Any]:
    """All that changes the answers, by name: fields of the spec, and of the file that runs here.

    For models that are not in float32, what this machine makes of it: ``bf16_natively``, whether
    it computes in bf16; ``simd_resize``, whether the extra ``simd`` resizes. (In float32 that is
    not asked: half a percent of the samples are a level off, and outputs that were begun go on.)
    """
    fields = {
        field.name: getattr(spec, field.name)
        for field in dataclasses.fields(spec)
        if field.name not in NO_ANSWERS
    }
    if spec.resize == "keep_aspect":  # there it says what shapes pictures take
        fields["stride"] = spec.stride
    file = spec.file
    of_file = {
        f"file.{field.name}": getattr(file, field.name)
        for field in dataclasses.fields(file)
        if field.name not in _NO_ANSWERS_OF_FILE
    }
    if spec.precision == "bf16":
        of_file["bf16_natively"] = bool(has_bf16())
    if spec.precision != "float32":
        of_file["simd_resize"] = has_simd(spec.resize_filter)
    return {**fields, **of_file}


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """``resize was stretch, is letterbox``: of two identities that went through JSON or not."""
    before, after = (json.loads(json.dumps(known)) for known in (before, after))
    return ", ".join(
        f"{name} was {_shown(before.get(name))}, is {_shown(after.get(name))}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def _without_defaults(spec: ModelSpec) -> dict[str, Any]:
    defaults = {
        f"{prefix}{field.name}": field.default
        for prefix, value in (("", spec), ("file.", spec.file))
        for field in dataclasses.fields(value)
    }
    return {
        name: value
        for name, value in identity(spec).items()
        if name not in defaults or value != defaults[name]
    }


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
