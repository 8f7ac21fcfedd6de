"""Two towers into a space of three numbers: a picture's mean colour, and words for colours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# Each word's vector, by its number; the first two are what is filled up with, and unknown words.
VECTORS = {
    "[PAD]": (9.0, 9.0, 9.0),
    "[UNK]": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}

PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 8},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 8, "width": 8},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
}
CLIP = {"model_type": "clip", "text_config": {"max_position_embeddings": 4}}
SIGLIP = {"model_type": "siglip", "text_config": {"max_position_embeddings": 4}}


def save_dual_encoder(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = CLIP,
    preprocessor: Mapping[str, Any] | None = PREPROCESSOR,
    tokenizer_config: Mapping[str, Any] | None = None,
    tokens: int | str = "tokens",
    masked: bool = True,
    width: int = 3,
) -> Path:
    """As transformers.js' exports lie; ``tokens``: how many the text tower takes, a name for any.

    Without a mask it takes the mean of all tokens, those that were filled up among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save_image_tower(folder / "vision_model.onnx", width)
    _save_text_tower(folder / "text_model.onnx", tokens, masked=masked)
    vocabulary = {word: number for number, word in enumerate(VECTORS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in (
        ("config.json", config),
        ("preprocessor_config.json", preprocessor),
        ("tokenizer_config.json", tokenizer_config),
    ):
        if value is not None:
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def _save_image_tower(path: Path, width: int) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "into"], ["image_embeds"]),
    ]
    weights = [numpy_helper.from_array(np.eye(3, width, dtype=np.float32), "into")]
    inputs = [_described("pixel_values", TensorProto.FLOAT, ("n", 3, 8, 8))]
    _save(path, nodes, weights, inputs, ("image_embeds", width))


def _save_text_tower(path: Path, tokens: int | str, *, masked: bool) -> None:
    table = np.array(list(VECTORS.values()), np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["vectors"])]
    names = ["input_ids", *(["attention_mask"] if masked else [])]
    if masked:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["vectors", "column"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "second"], ["text_embeds"], keepdims=0),
        ]
    else:
        nodes.append(
            helper.make_node("ReduceSum", ["vectors", "second"], ["text_embeds"], keepdims=0)
        )
    weights = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "second"),
    ]
    inputs = [_described(name, TensorProto.INT64, ("n", tokens)) for name in names]
    _save(path, nodes, weights if masked else weights[::2], inputs, ("text_embeds", 3))


def _described(name: str, element: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, list(shape))


def _save(
    path: Path,
    nodes: Sequence[Any],
    weights: Sequence[Any],
    inputs: Sequence[Any],
    output: tuple[str, int],
) -> None:
    outputs = [_described(output[0], TensorProto.FLOAT, ("n", output[1]))]
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
