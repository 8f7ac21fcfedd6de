"""The trained towers as a folder of ONNX files, as CLIP's exports have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from demo_dual_encoder.captions import SIDE
from demo_dual_encoder.network import EMBEDDING_SIZE, Towers
from demo_dual_encoder.tokens import MAX_TOKENS, PAD, token_ids, tokenizer
from pyspark_vision.executor.engines.onnx import start_session

# Float arithmetic in another order; a wrong graph is off by far more, or not a number.
_MAX_DIFFERENCE = 1e-3

# ONNX operators as ONNX Runtime of 2023 and later has them.
_OPSET, _IR = 17, 8


def export(towers: Towers, folder: Path) -> None:
    """Write towers, tokenizer and what Hugging Face's folders say beside them into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_image_tower(towers.image, folder / "vision_model.onnx")
    _save_text_tower(towers.text, folder / "text_model.onnx")
    tokenizer().save(str(folder / "tokenizer.json"))
    for name, value in (
        ("tokenizer_config.json", {"model_max_length": MAX_TOKENS, "pad_token": PAD}),
        ("config.json", {"model_type": "clip", "logit_scale": towers.log_scale}),
        (
            "preprocessor_config.json",
            {
                "do_resize": True,
                "size": {"height": SIDE, "width": SIDE},
                "resample": 2,
                "do_center_crop": False,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            },
        ),
    ):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    _check(towers, folder)


def _save_image_tower(tower: keras.Model, path: Path) -> None:
    nodes, weights, x = [], [], "pixel_values"
    convolutions = [layer for layer in tower.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in tower.layers if isinstance(layer, layers.BatchNormalization)]
    for index, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        kernel, bias = _folded(convolution, norm)
        weights += [_weight(f"kernel{index}", kernel), _weight(f"bias{index}", bias)]
        names = [x, f"kernel{index}", f"bias{index}"]
        nodes += [
            helper.make_node(
                "Conv", names, [f"conv{index}"], strides=[2, 2], auto_pad="SAME_UPPER"
            ),
            helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]),
        ]
        x = f"relu{index}"
    (dense,) = (layer for layer in tower.layers if isinstance(layer, layers.Dense))
    nodes += [
        helper.make_node("GlobalAveragePool", [x], ["mean"]),
        helper.make_node("GlobalMaxPool", [x], ["most"]),
        helper.make_node("Concat", ["mean", "most"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["image_embeds"]),
    ]
    weights += [_weight("dense", dense.kernel), _weight("dense_bias", dense.bias)]
    inputs = [_described("pixel_values", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))]
    _save(path, nodes, weights, inputs, "image_embeds")


def _save_text_tower(tower: keras.Model, path: Path) -> None:
    (words,) = (layer for layer in tower.layers if isinstance(layer, layers.Embedding))
    hidden, last = (layer for layer in tower.layers if isinstance(layer, layers.Dense))
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["column"]),
        helper.make_node("Mul", ["vectors", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "second_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["column", "second_axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Gemm", ["mean", "hidden", "hidden_bias"], ["before"]),
        helper.make_node("Relu", ["before"], ["after"]),
        helper.make_node("Gemm", ["after", "last", "last_bias"], ["text_embeds"]),
    ]
    weights = [
        *(_weight("words", words.embeddings), _weight("hidden", hidden.kernel)),
        *(_weight("hidden_bias", hidden.bias), _weight("last", last.kernel)),
        _weight("last_bias", last.bias),
        numpy_helper.from_array(np.array([2], np.int64), "last_axis"),
        numpy_helper.from_array(np.array([1], np.int64), "second_axis"),
    ]
    inputs = [
        _described(name, TensorProto.INT64, ("N", "T")) for name in ("input_ids", "attention_mask")
    ]
    _save(path, nodes, weights, inputs, "text_embeds")


def _folded(
    convolution: layers.Conv2D, norm: layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel ``(out, in, 3, 3)`` and bias that do what the two layers do one after the other."""
    gamma, beta, mean, variance = (
        np.asarray(value)
        for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(convolution.kernel).transpose(3, 2, 0, 1) * scale[:, None, None, None]
    return kernel, beta - mean * scale


def _weight(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(np.asarray(values), np.float32), name)


def _described(name: str, element: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _save(
    path: Path, nodes: Sequence[Any], weights: Sequence[Any], inputs: Sequence[Any], output: str
) -> None:
    outputs = [_described(output, TensorProto.FLOAT, ("N", EMBEDDING_SIZE))]
    graph = helper.make_graph(list(nodes), path.stem, list(inputs), outputs, list(weights))
    opsets = [helper.make_opsetid("", _OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=_IR), path)


def _check(towers: Towers, folder: Path) -> None:
    """Raise RuntimeError unless the files answer as the towers do; NaN is never an answer."""
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
    ids = np.stack([token_ids("a red car"), token_ids("a picture of a blue boat")])
    runs = (
        ("vision_model.onnx", towers.image(pixels, training=False), {"pixel_values": pixels}),
        ("text_model.onnx", towers.text(ids), {"input_ids": ids.astype(np.int64)}),
    )
    for name, wanted, values in runs:
        if "pixel_values" in values:
            values = {"pixel_values": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
        else:
            values["attention_mask"] = (ids > 0).astype(np.int64)
        (output,) = start_session(str(folder / name), 1).run(None, values)
        difference = float(np.abs(output - np.asarray(wanted)).max())
        if not difference <= _MAX_DIFFERENCE:
            raise RuntimeError(
                f"{folder / name} differs by {difference} from the tower it was made of; at most "
                f"{_MAX_DIFFERENCE} is allowed"
            )
