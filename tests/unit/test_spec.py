"""ModelSpec: what it refuses and says, what it compares by, which file it runs."""

from __future__ import annotations

import dataclasses
import pickle
import re
from typing import Any

import numpy as np
import pytest

from pyspark_vision.bundles.spec import ModelFile, ModelSpec
from pyspark_vision.errors import InvalidModelError, PysparkVisionError

LITERT = ModelFile("litert", "tflite", "m.tflite", "a" * 64, "image", (("scores", "out"),))
TENSORFLOW = ModelFile("tensorflow", "keras", "m.keras", "b" * 64, "image", (("scores", "out"),))
BOXES = ("boxes", "b")


def make_spec(**fields: Any) -> ModelSpec:
    """A small classifier, with other fields where given."""
    return ModelSpec(
        **{
            "name": "pets",
            "task": "classify",
            "files": (LITERT,),
            "input_hw": (8, 6),
            "labels": ((0, "cat"), (1, "dog")),
            **fields,
        }
    )


def with_outputs(*outputs: tuple[str, str]) -> tuple[ModelFile]:
    return (dataclasses.replace(LITERT, outputs=outputs),)


@pytest.mark.parametrize(
    ("field", "value", "choices"),
    [
        ("task", "caption", "classify, detect, embed, segment, keypoints, ocr, dual_encoder"),
        ("engine", "caffe", "auto, litert, tensorflow, onnx, openvino"),
        ("input_layout", "HWC", "NHWC, NCHW"),
        ("input_dtype", "float64", "uint8, int8, int32, float32, float16"),
        ("color_order", "RGB", "rgb, bgr, gray"),
        ("normalization", "imagenet", "none, unit, tf, caffe, torch, values"),
        ("resize", "crop", "stretch, center_crop, letterbox, shortest_edge, keep_aspect"),
        (
            *("resize_filter", "cubic"),
            "bilinear, nearest, box, hamming, bicubic, lanczos, opencv_bilinear",
        ),
        ("crop_rounding", "up", "round, floor"),
        ("letterbox_anchor", "left", "center, top_left"),
        ("score_kind", "percent", "probability, logit, sigmoid, binary, binary_logit"),
        ("box_format", "yxhw", "yxyx, xyxy, xywh, cxcywh"),
        ("coordinates", "relative", "normalized, pixel"),
        ("task", None, "classify, detect, embed, segment, keypoints, ocr, dual_encoder"),
        ("keypoint_format", "yx0", "xys, yxs, xy, yx, xyz, xyzvp"),
    ],
)
def test_value_out_of_its_choices_is_named_with_them(field: str, value: Any, choices: str) -> None:
    with pytest.raises(InvalidModelError) as caught:
        make_spec(**{field: value})
    assert str(caught.value) == f"model 'pets': {field}={value!r} is not one of {choices}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"files": ()}, "model 'pets' has no files"),
        ({"name": ""}, "name='' is not a text"),
        ({"input_hw": (0, 6)}, "input_hw=(0, 6) is not a positive (height, width)"),
        ({"input_hw": (8, -1)}, "input_hw=(8, -1) is not a positive (height, width)"),
        ({"input_hw": (8, 6, 3)}, "input_hw=(8, 6, 3) is not a positive (height, width)"),
        ({"input_hw": 8}, "input_hw=8 is not a positive (height, width)"),
        ({"fixed_batch": 0}, "fixed_batch=0 is not 1, 2, … or None"),
        ({"background_class": -1}, "background_class=-1 is not 0, 1, … or None"),
        ({"label_offset": 0.5}, "label_offset=0.5 is not a whole number"),
        ({"labels": ["cat"]}, "labels=['cat'] is not a tuple ((class_id, label), …)"),
        ({"labels": (("0", "cat"),)}, "labels=(('0', 'cat'),) is not a tuple"),
        ({"pad_value": -1}, "pad_value=-1 is not within 0..255"),
        ({"pad_value": 256}, "pad_value=256 is not within 0..255"),
        (
            {"normalization": "caffe", "color_order": "gray"},
            "normalization 'caffe' needs three colours, not gray",
        ),
    ],
)
def test_value_against_a_rule_is_named_with_the_rule(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        make_spec(**fields)


@pytest.mark.parametrize("pad_value", [0, 255])
def test_pad_value_may_be_each_end_of_its_range(pad_value: int) -> None:
    assert make_spec(pad_value=pad_value).pad_value == pad_value


@pytest.mark.parametrize("error", [ValueError, PysparkVisionError])
def test_invalid_model_error_is_a_value_error_of_this_library(error: type[Exception]) -> None:
    with pytest.raises(error):
        make_spec(task="segment")


@pytest.mark.parametrize(
    ("engine", "file_format"), [("caffe", "tflite"), ("auto", "tflite"), ("litert", "pickle")]
)
def test_file_of_an_unknown_engine_or_format_names_the_choices(
    engine: str, file_format: str
) -> None:
    file = dataclasses.replace(LITERT, engine=engine, format=file_format)
    with pytest.raises(InvalidModelError) as caught:
        make_spec(files=(file,))
    assert str(caught.value) == (
        f"model 'pets': no engine {engine!r} for format {file_format!r}; "
        "engines: litert, tensorflow, onnx; "
        "formats: tflite, saved_model, keras, h5, frozen_graph, onnx, text_reader, dual_encoder"
    )


def test_engine_without_a_file_names_what_is_held_and_how_to_make_a_twin() -> None:
    with pytest.raises(InvalidModelError) as caught:
        make_spec(engine="tensorflow")
    assert str(caught.value) == (
        "model 'pets': engine='tensorflow' has no file in this bundle; it holds files for: litert. "
        "A twin is made by `pyspark-vision bundle build`"
    )


@pytest.mark.parametrize(
    ("engine", "files", "runs"),
    [
        ("auto", (TENSORFLOW, LITERT), LITERT),
        ("auto", (LITERT, TENSORFLOW), LITERT),
        ("auto", (TENSORFLOW,), TENSORFLOW),
        ("tensorflow", (LITERT, TENSORFLOW), TENSORFLOW),
        ("litert", (TENSORFLOW, LITERT), LITERT),
    ],
)
def test_engine_chooses_the_file_and_auto_prefers_litert(
    engine: str, files: tuple[ModelFile, ...], runs: ModelFile
) -> None:
    spec = make_spec(engine=engine, files=files, root="/models")
    assert spec.file == runs
    assert spec.sha256 == runs.sha256
    assert spec.path == f"/models/{runs.path}"


@pytest.mark.parametrize(
    ("task", "outputs", "message"),
    [
        ("classify", (), "task 'classify' needs an output for scores; outputs has none"),
        ("embed", (), "task 'embed' needs an output for embedding; outputs has none"),
        ("detect", (("scores", "s"),), "task 'detect' needs an output for boxes"),
        ("detect", (BOXES,), "needs an output for scores or class_scores or "),
        ("detect", (BOXES,), "Name it with outputs={'scores': 'TENSOR'}"),
        ("embed", (("scores", "s"),), "outputs name scores; task 'embed' knows embedding"),
        ("classify", (("scores", "s"), ("boxes", "b")), "outputs name boxes; task 'classify'"),
    ],
)
def test_outputs_that_do_not_fit_the_task_are_named_with_the_roles(
    task: str, outputs: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=re.escape(message)):
        make_spec(task=task, files=with_outputs(*outputs))


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        ("classify", (("scores", "s"),)),
        ("embed", (("embedding", "e"),)),
        ("detect", (BOXES, ("scores", "s"))),
        ("detect", (BOXES, ("class_scores", "s"))),
        ("detect", (BOXES, ("scores", "s"), ("classes", "c"), ("count", "n"))),
    ],
)
def test_outputs_with_the_required_roles_are_taken(
    task: str, outputs: tuple[tuple[str, str], ...]
) -> None:
    assert make_spec(task=task, files=with_outputs(*outputs)).file.outputs == outputs


@pytest.mark.parametrize(("color_order", "channels"), [("rgb", 3), ("bgr", 3), ("gray", 1)])
def test_channels_follow_the_color_order(color_order: str, channels: int) -> None:
    assert make_spec(color_order=color_order).channels == channels


def test_specs_of_equal_fields_are_one_key() -> None:
    assert {make_spec(): "loaded"}[make_spec()] == "loaded"


@pytest.mark.parametrize("fields", [{"root": "/elsewhere"}, {"on_every_node": True}])
def test_where_the_files_lie_is_not_compared(fields: dict[str, Any]) -> None:
    assert make_spec(**fields) == make_spec()
    assert hash(make_spec(**fields)) == hash(make_spec())


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "cats"},
        {"input_hw": (6, 8)},
        {"labels": ((0, "cat"),)},
        {"label_offset": 1},
        {"files": (dataclasses.replace(LITERT, sha256="c" * 64),)},
    ],
)
def test_specs_of_other_fields_differ(fields: dict[str, Any]) -> None:
    assert make_spec(**fields) != make_spec()


def test_input_hw_may_be_a_list_and_the_spec_stays_hashable() -> None:
    assert hash(make_spec(input_hw=[8, 6])) == hash(make_spec(input_hw=(8, 6)))


def test_spec_survives_pickling_with_its_place() -> None:
    spec = make_spec(root="/models", on_every_node=True)
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert (copy.root, copy.on_every_node) == ("/models", True)


def test_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_spec().name = "other"  # type: ignore[misc]


def test_repr_leaves_out_labels_and_place() -> None:
    assert not re.search("labels|dog|/models", repr(make_spec(root="/models")))


def test_with_options_changes_a_copy_only() -> None:
    spec = make_spec()
    assert spec.with_options(resize="letterbox").resize == "letterbox"
    assert spec.resize == "stretch"


def test_with_options_checks_the_value_again() -> None:
    with pytest.raises(InvalidModelError, match="resize='squeeze' is not one of stretch"):
        make_spec().with_options(resize="squeeze")


def test_with_options_names_unknown_fields_and_the_known() -> None:
    with pytest.raises(InvalidModelError) as caught:
        make_spec().with_options(resise="letterbox", colour="rgb")
    message = str(caught.value)
    assert message.startswith("model 'pets': no field colour, resise; the fields are name, task,")
    assert "resize_filter" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize": "shortest_edge"}, "needs resize_edge"),
        ({"resize": "letterbox", "resize_edge": 256}, "resize_edge needs resize='shortest_edge'"),
        (
            {"resize": "keep_aspect", "resize_edge": 9, "fixed_batch": 2},
            "fixed_batch=2 does not go with resize='keep_aspect'",
        ),
        (
            {"resize": "keep_aspect", "resize_edge": 9},
            "runs on onnx and tensorflow, not on litert, which takes one shape",
        ),
        (
            {"resize": "shortest_edge", "resize_edge": 200, "input_hw": (224, 224)},
            "resize_edge=200 is below a side of input_hw=",
        ),
        ({"input_hw": (100, 64), "stride": 32}, "is not a multiple of stride=32"),
        ({"mean": (0.5,)}, "need normalization='values', not 'none'"),
        ({"normalization": "values", "std": (1.0, 0.0, 1.0)}, "std=.* is not one number above 0"),
        ({"normalization": "values", "mean": (0.5, 0.5)}, "mean=.* is not one number"),
        ({"normalization": "values", "mean": (float("nan"),)}, "mean=.* is not one number"),
        (
            {"normalization": "values", "color_order": "gray", "mean": (0.1, 0.2, 0.3)},
            "must have 1 or 1 numbers each",
        ),
        ({"input_scale": 0.5}, "input_scale is for uint8 and int8 inputs, not float32"),
        ({"input_dtype": "int8", "input_scale": 0.0}, "input_scale=0.0 is not a number above 0"),
    ],
)
def test_preparation_whose_fields_do_not_fit_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=message):
        make_spec(**fields)


@pytest.mark.parametrize(
    "mean", [[1.0, 2.0, 3.5], np.array([1.0, 2.0, 3.5]), tuple(np.array([1.0, 2.0, 3.5], "f"))]
)
def test_lists_and_numpys_arrays_become_tuples_of_numbers(mean: Any) -> None:
    spec = make_spec(normalization="values", mean=mean, std=np.array([2.0]))

    assert (spec.mean, spec.std) == ((1.0, 2.0, 3.5), (2.0,))
    assert hash(spec) == hash(make_spec(normalization="values", mean=(1.0, 2.0, 3.5), std=(2.0,)))
