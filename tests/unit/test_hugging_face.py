"""Folders of Hugging Face: what their files say is taken, what they lack is said."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import guides
import numpy as np
import onnx
import pytest
from onnx_models import (
    save_classifier,
    save_constant,
    save_dense,
    save_with_mask,
    save_with_text,
)
from PIL import Image
from published import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    cropped,
    normalized,
    picture,
    short_side,
)

from pyspark_vision.bundles import by_name
from pyspark_vision.bundles.inspection import inspect_model, propose_model
from pyspark_vision.bundles.readers.image_processor import preparation
from pyspark_vision.bundles.spec import ModelSpec
from pyspark_vision.bundles.storage import load_bundle
from pyspark_vision.cli.main import main
from pyspark_vision.errors import InvalidModelError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.decode.preprocess import Preprocessor
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import (
    ClassifyOptions,
    DetectOptions,
    EmbedOptions,
    HeadOptions,
    SegmentOptions,
)
from pyspark_vision.executor.predictor import Predictor

Array = np.ndarray[Any, Any]
OPEN = ("batch", "channels", "height", "width")
HALF = (0.5, 0.5, 0.5)
SIZES_WH = [(1, 1), (64, 48), (67, 41), (41, 67), (30, 30)]
VIT = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "id2label": {"0": "cat", "1": "dog", "2": "bird"},
}
VIT_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
DETR_PROCESSOR = {
    "image_processor_type": "DetrImageProcessor",
    "size": {"shortest_edge": 80, "longest_edge": 133},
    "resample": 2,
    "image_mean": list(IMAGENET_MEAN),
    "image_std": list(IMAGENET_STD),
    "do_pad": True,
}


def written(folder: Path, **files: Mapping[str, Any]) -> Path:
    """The JSON files of a folder: ``config``, ``preprocessor_config``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in files.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def classifier(folder: Path, **files: Mapping[str, Any]) -> Path:
    save_classifier(written(folder, **files) / "model.onnx", OPEN)
    return folder


def answer(spec: ModelSpec, image: Image.Image, head: HeadOptions) -> Any:
    file = io.BytesIO()
    image.save(file, "PNG")
    predictor = Predictor(spec, load_engine(spec, spec.path, 1), DecodeOptions(), head)
    (row,) = predictor.predict([file.getvalue()])
    assert row.error is None, row.error
    return row.value


def test_a_classifier_is_known_with_its_labels_and_right(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "vit", config=VIT, preprocessor_config=VIT_PROCESSOR)

    proposal = propose_model(folder)

    assert proposal.verdict == (
        "known: ViTForImageClassification by config.json and preprocessor_config.json"
    )
    spec = proposal.spec
    assert (spec.name, spec.task, spec.input_hw, spec.input_layout) == (
        *("vit", "classify"),
        (32, 32),
        "NCHW",
    )
    assert spec.labels == ((0, "cat"), (1, "dog"), (2, "bird"))
    value = answer(spec, Image.new("RGB", (50, 40), (255, 0, 0)), ClassifyOptions(3, 0.0))
    # Logits 10, -10 and -10.
    assert value.scores.tolist() == pytest.approx([1, 2e-9, 2e-9], abs=1e-6)
    assert value.class_ids.tolist()[0] == 0


def published(image: Image.Image, config: Mapping[str, Any], edge: Any, crop: int, std: Any) -> Any:
    """Each step as the processors of transformers do it."""
    resample = Image.Resampling(config["resample"])
    resized = short_side(image, edge, resample) if isinstance(edge, int) else None
    resized = resized or image.resize(edge, resample)
    mean = config.get("image_mean", (0, 0, 0))
    return normalized(cropped(resized, crop), tuple(mean), std)


@pytest.mark.parametrize(
    ("config", "edge", "crop", "std"),
    [
        (VIT_PROCESSOR, (32, 32), 32, HALF),
        # Older files: one number, which is the short side or both.
        (
            {
                "feature_extractor_type": "ViTFeatureExtractor",
                "size": 32,
                "resample": 2,
                "image_mean": HALF,
                "image_std": HALF,
            },
            (32, 32),
            32,
            HALF,
        ),
        (
            {
                "feature_extractor_type": "CLIPFeatureExtractor",
                "size": 40,
                "crop_size": 32,
                "resample": 3,
                "do_center_crop": True,
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
            },
            40,
            32,
            CLIP_STD,
        ),
        # DINOv2
        (
            {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 36},
                "crop_size": {"height": 32, "width": 32},
                "resample": 3,
                "image_mean": IMAGENET_MEAN,
                "image_std": IMAGENET_STD,
            },
            36,
            32,
            IMAGENET_STD,
        ),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 32},
                "crop_pct": 0.875,
                "resample": 3,
                "image_mean": IMAGENET_MEAN,
                "image_std": IMAGENET_STD,
            },
            36,
            32,
            IMAGENET_STD,
        ),
        (
            {
                "image_processor_type": "DeiTImageProcessor",
                "size": {"height": 37, "width": 37},
                "crop_size": 32,
                "resample": 3,
                "do_center_crop": True,
                "image_mean": HALF,
                "image_std": HALF,
            },
            (37, 37),
            32,
            HALF,
        ),
        (
            {
                "image_processor_type": "LevitImageProcessor",
                "size": {"shortest_edge": 28},
                "crop_size": 28,
                "resample": 3,
                "do_center_crop": True,
                "image_mean": HALF,
                "image_std": HALF,
            },
            32,
            28,
            HALF,
        ),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "size": {"height": 32, "width": 32},
                "resample": 0,
                "include_top": True,
                "do_center_crop": False,
                "image_mean": IMAGENET_MEAN,
                "image_std": IMAGENET_STD,
            },
            (32, 32),
            32,
            tuple(value**2 for value in IMAGENET_STD),
        ),
        # RT-DETR
        (
            {
                "image_processor_type": "RTDetrImageProcessorFast",
                "size": {"height": 32, "width": 32},
                "resample": 2,
                "do_normalize": False,
            },
            (32, 32),
            32,
            (1, 1, 1),
        ),
    ],
    ids=[
        *("ViT", "ViT before", "CLIP before", "DINOv2", "ConvNext", "DeiT", "LeViT"),
        *("EfficientNet", "RT-DETR"),
    ],
)
def test_the_input_is_what_the_image_processor_publishes(
    config: dict[str, Any],
    edge: Any,
    crop: int,
    std: tuple[float, ...],
    tmp_path: Path,
) -> None:
    spec = inspect_model(classifier(tmp_path, config=VIT, preprocessor_config=config))
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(1)

    for image in map(picture, SIZES_WH):
        preprocessor.fill(batch, 0, image)

        expected = published(image, config, edge, crop, std).transpose(2, 0, 1)
        np.testing.assert_allclose(batch[0], expected, atol=1e-5, rtol=1e-6, err_msg=f"{image}")


def test_mobilevit_takes_bgr_in_0_to_1(tmp_path: Path) -> None:
    config = {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "size": 36,
        "crop_size": 32,
        "do_center_crop": True,
        "do_flip_channel_order": True,
    }
    spec = inspect_model(classifier(tmp_path, config=VIT, preprocessor_config=config))

    assert (spec.color_order, spec.normalization, spec.resize_edge) == ("bgr", "unit", 36)


def own_shape(size_wh: tuple[int, int], size: int, longest: int, stride: int) -> tuple[int, int]:
    """``get_size_with_aspect_ratio`` of image_transforms.py, and YOLOS' with ``mod_size``."""
    width, height = size_wh
    raw_size = None
    if max(size_wh) / min(size_wh) * size > longest:
        raw_size = longest * float(min(size_wh)) / max(size_wh)
        size = round(raw_size)
    ratio = (raw_size or size) * float(max(size_wh)) / min(size_wh)
    new_wh = (size, int(ratio)) if width < height else (int(ratio), size)
    new_width, new_height = (max(side - side % stride, stride) for side in new_wh)
    return new_width, new_height


@pytest.mark.parametrize(("kind", "stride"), [("Detr", 1), ("Yolos", 16)])
def test_detr_and_yolos_take_pictures_in_their_own_shape(
    kind: str, stride: int, tmp_path: Path
) -> None:
    processor = {**DETR_PROCESSOR, "image_processor_type": f"{kind}ImageProcessor"}
    spec = inspect_model(classifier(tmp_path, config=VIT, preprocessor_config=processor))
    preprocessor = Preprocessor(spec)
    batch = preprocessor.empty_batch(1)

    for size_wh in [(64, 48), (48, 64), (300, 40), (1, 1), (2000, 1), (80, 80)]:
        image = picture(size_wh)
        placement = preprocessor.fill(batch, 0, image)

        got = preprocessor.filled(batch, placement)
        resized = image.resize(own_shape(size_wh, 80, 133, stride), Image.Resampling.BILINEAR)
        expected = normalized(np.asarray(resized), IMAGENET_MEAN, IMAGENET_STD).transpose(2, 0, 1)
        assert got.shape == (1, *expected.shape)
        np.testing.assert_allclose(got[0], expected, atol=1e-5)


def detector(folder: Path, model_type: str, logits: Array, **files: Mapping[str, Any]) -> Path:
    boxes = np.tile(np.array([0.5, 0.25, 0.4, 0.2], np.float32), (1, logits.shape[1], 1))
    config = {
        "architectures": ["SomeForObjectDetection"],
        "model_type": model_type,
        "id2label": {"0": "N/A", "1": "cat", "2": "dog"},
    }
    save_constant(
        written(folder, config=config, **files) / "model.onnx",
        {"logits": logits, "pred_boxes": boxes},
        OPEN,
    )
    return folder


@pytest.mark.parametrize(
    ("model_type", "classes", "processor", "score"),
    [
        ("detr", 4, DETR_PROCESSOR, np.exp(5) / (np.exp(5) + 3 * np.exp(-5))),
        ("yolos", 4, {**DETR_PROCESSOR, "image_processor_type": "YolosImageProcessor"}, None),
        (
            "rt_detr",
            3,
            {
                "image_processor_type": "RTDetrImageProcessor",
                "size": {"height": 64, "width": 64},
                "do_normalize": False,
                "do_pad": False,
            },
            1 / (1 + np.exp(-5)),
        ),
        ("d_fine", 3, {**VIT_PROCESSOR, "image_processor_type": "RTDetrImageProcessor"}, None),
    ],
)
def test_a_detector_is_known_and_gives_its_box_in_the_picture(
    model_type: str, classes: int, processor: Any, score: float | None, tmp_path: Path
) -> None:
    logits = np.full((1, 5, classes), -5, np.float32)
    logits[0, 1:, -1] = 5 if classes == 4 else -5  # "no object"
    logits[0, 0, 2] = 5
    folder = detector(tmp_path, model_type, logits, preprocessor_config=processor)

    proposal = propose_model(folder)

    assert proposal.open_fields == []
    assert proposal.spec.labels == ((1, "cat"), (2, "dog"))
    value = answer(proposal.spec, Image.new("RGB", (200, 100)), DetectOptions(0.5, 10, 0.5))
    assert value.class_ids.tolist() == [2]
    np.testing.assert_allclose(value.xyxy, [[0.3, 0.15, 0.7, 0.35]], atol=1e-6)
    if score is not None:
        assert value.scores.tolist() == pytest.approx([score], abs=1e-6)


def test_a_detector_with_other_labels_than_scores_is_refused(tmp_path: Path) -> None:
    folder = detector(
        tmp_path, "detr", np.zeros((1, 5, 92), np.float32), preprocessor_config=DETR_PROCESSOR
    )

    with pytest.raises(InvalidModelError, match=r"detr with 3 labels has 4 scores .* \[1, 5, 92\]"):
        propose_model(folder)


@pytest.mark.parametrize(
    ("mask_shape", "ones"), [(("batch", "h", "w"), 80 * 106), (("batch", 64, 64), 64 * 64)]
)
def test_the_mask_of_detr_says_that_nothing_is_padding(
    mask_shape: Any, ones: int, tmp_path: Path
) -> None:
    """With open sides it is as large as the picture; transformers.js' exports have 64x64."""
    config = {"architectures": ["DetrModel"], "model_type": "detr"}
    written(tmp_path, config=config, preprocessor_config=DETR_PROCESSOR)
    save_with_mask(tmp_path / "model.onnx", mask_shape)

    spec = inspect_model(tmp_path)

    white = Image.new("RGB", (640, 480), "white")
    mean = float(np.mean((1 - np.array(IMAGENET_MEAN)) / IMAGENET_STD))
    np.testing.assert_allclose(answer(spec, white, EmbedOptions(False)), [mean, ones], rtol=1e-4)


STATE = np.arange(5 * 8, dtype=np.float32).reshape(1, 5, 8) - 9
VECTOR = np.arange(8, dtype=np.float32)[None] + 1


@pytest.mark.parametrize(
    ("architecture", "model_type", "outputs", "vector"),
    [
        ("ViTModel", "vit", {"last_hidden_state": STATE, "pooler_output": VECTOR}, VECTOR[0]),
        ("ViTModel", "vit", {"last_hidden_state": STATE}, STATE[0, 0]),
        ("Dinov2Model", "dinov2", {"last_hidden_state": STATE}, STATE[0, 0]),
        ("SwinModel", "swin", {"last_hidden_state": STATE}, STATE[0].mean(axis=0)),
        (
            "ResNetModel",
            "resnet",
            {"last_hidden_state": STATE.reshape(1, 10, 2, 2)},
            STATE.reshape(10, 4).mean(axis=1),
        ),
        (
            "CLIPModel",
            "clip",
            {"last_hidden_state": STATE, "image_embeds": VECTOR, "pooler_output": VECTOR + 9},
            VECTOR[0],
        ),
        (
            "SiglipVisionModel",
            "siglip_vision_model",
            {"last_hidden_state": STATE, "pooler_output": VECTOR},
            VECTOR[0],
        ),
    ],
)
def test_an_embedding_is_the_pooled_output_or_what_its_pooler_takes(
    architecture: str, model_type: str, outputs: Any, vector: Array, tmp_path: Path
) -> None:
    config = {"architectures": [architecture], "model_type": model_type}
    written(tmp_path, config=config, preprocessor_config=VIT_PROCESSOR)
    save_constant(tmp_path / "model.onnx", outputs, OPEN)

    proposal = propose_model(tmp_path)

    assert (proposal.spec.task, proposal.open_fields) == ("embed", [])
    got = answer(proposal.spec, Image.new("RGB", (40, 30)), EmbedOptions(False))
    np.testing.assert_allclose(got, vector, rtol=1e-6)


def test_tokens_whose_pooler_is_not_in_the_export_are_a_proposal(tmp_path: Path) -> None:
    config = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"}
    written(tmp_path, config=config, preprocessor_config=VIT_PROCESSOR)
    save_constant(tmp_path / "model.onnx", {"last_hidden_state": STATE}, OPEN)

    proposal = propose_model(tmp_path)

    assert proposal.open_fields == ["pooling"]
    assert "the export has no pooled output" in proposal.question()


@pytest.mark.parametrize(
    ("problem", "labels", "kind"),
    [
        (None, 3, "logit"),
        ("single_label_classification", 3, "logit"),
        ("multi_label_classification", 3, "sigmoid"),
        (None, 1, "sigmoid"),
    ],
)
def test_the_problem_type_says_how_logits_become_scores(
    problem: str | None, labels: int, kind: str, tmp_path: Path
) -> None:
    """``ImageClassificationPipeline.postprocess``."""
    named = {str(i): f"label {i}" for i in range(labels)}
    config = {**VIT, "id2label": named, "problem_type": problem}
    written(tmp_path, config=config, preprocessor_config=VIT_PROCESSOR)
    save_constant(tmp_path / "model.onnx", {"logits": [[0.5, 0.25, 0.1][:labels]]}, OPEN)

    proposal = propose_model(tmp_path)

    assert (proposal.spec.score_kind, proposal.open_fields) == (kind, [])
    value = answer(proposal.spec, Image.new("RGB", (40, 30)), ClassifyOptions(1, 0.0))
    assert value.class_ids.tolist() == [0]


def test_segformer_gives_the_classes_of_the_pictures_pixels(tmp_path: Path) -> None:
    """``post_process_semantic_segmentation``: enlarged logits, the best class of each pixel."""
    config = {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "id2label": {"0": "wall", "1": "sky", "2": "tree"},
    }
    processor = {**VIT_PROCESSOR, "image_processor_type": "SegformerImageProcessor"}
    written(tmp_path, config=config, preprocessor_config=processor)
    logits = np.full((1, 3, 8, 8), -5, np.float32)
    logits[0, 1, :4] = logits[0, 0, 4:] = 5
    save_constant(tmp_path / "model.onnx", {"logits": logits}, OPEN)

    proposal = propose_model(tmp_path)

    assert proposal.open_fields == []
    assert (proposal.spec.task, proposal.spec.labels[1]) == ("segment", (1, "sky"))
    head = SegmentOptions(0.5, 10, 0.5, 0.5)
    value = answer(proposal.spec, Image.new("RGB", (40, 20)), head)
    areas = zip(value.class_ids.tolist(), value.areas.tolist(), strict=True)
    assert sorted(areas) == [(0, 400), (1, 400)]


@pytest.mark.parametrize("missing", ["config", "preprocessor_config"])
def test_a_folder_that_lacks_a_file_says_which_and_takes_what_there_is(
    missing: str, tmp_path: Path
) -> None:
    files: dict[str, Any] = {"config": VIT, "preprocessor_config": VIT_PROCESSOR}
    del files[missing]
    folder = classifier(tmp_path, **files)

    proposal = propose_model(folder)

    if missing == "config":
        assert proposal.open_fields == ["task", "score_kind"]
        assert (proposal.spec.input_hw, proposal.spec.normalization) == ((32, 32), "tf")
        assert f"{folder} has no config.json" in proposal.question()
    else:
        assert proposal.open_fields == ["normalization", "input_hw", "resize"]
        assert (proposal.spec.task, proposal.spec.normalization) == ("classify", "torch")
        assert f"{folder} has no preprocessor_config.json" in proposal.question()
        said: dict[str, Any] = {"normalization": "torch", "input_hw": (32, 32), "resize": "stretch"}
        assert inspect_model(folder, **said).input_hw == (32, 32)


def test_a_folder_with_a_graph_alone_says_what_it_lacks(tmp_path: Path) -> None:
    save_classifier(tmp_path / "model.onnx", (1, 3, 8, 8))

    why = propose_model(tmp_path).why

    assert "has no config.json and no preprocessor_config.json, which say task" in why
    assert "config.json" not in propose_model(tmp_path / "model.onnx").why


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["config.json"], r"has config\.json and no model\.onnx\. Export it: optimum-cli export"),
        (["a.onnx", "b.onnx"], r"several other models \(a\.onnx, b\.onnx\); name the file itself"),
        (["readme.md"], r"is a folder without saved_model\.pb"),
    ],
)
def test_a_folder_without_its_model_is_refused(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")

    with pytest.raises(InvalidModelError, match=said):
        propose_model(tmp_path)


def test_what_the_user_says_of_the_way_to_the_input_replaces_the_files(tmp_path: Path) -> None:
    processor = {**VIT_PROCESSOR, "size": {"shortest_edge": 40}, "image_mean": CLIP_MEAN}
    processor |= {"do_center_crop": True, "crop_size": 32}
    folder = classifier(tmp_path, config=VIT, preprocessor_config=processor)

    spec = inspect_model(folder, resize="letterbox", normalization="unit")

    assert (spec.resize, spec.resize_edge, spec.normalization, spec.mean) == (
        *("letterbox", None),
        *("unit", (0.0,)),
    )


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/vision_model.onnx", "other.onnx"])
def test_the_model_is_found_where_exporters_put_it(name: str, tmp_path: Path) -> None:
    written(tmp_path, config=VIT, preprocessor_config=VIT_PROCESSOR)
    (tmp_path / "onnx").mkdir()
    save_classifier(tmp_path / name, OPEN)
    if "vision" in name:
        save_with_text(tmp_path / "onnx" / "model.onnx")

    assert propose_model(tmp_path).spec.input_hw == (32, 32)
    # Named itself, it is read with the files beside it.
    assert propose_model(tmp_path / name).open_fields == []


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("Mask2FormerForUniversalSegmentation", r"SemanticSegmentation, and models that give emb"),
        ("DPTForDepthEstimation", "is DPTForDepthEstimation by its config.json; supported are"),
        ("ViTForImageClassification", "gives numbers, not classes"),
    ],
)
def test_models_of_other_tasks_are_refused_by_name(
    architecture: str, said: str, tmp_path: Path
) -> None:
    config = {"architectures": [architecture], "problem_type": "regression"}
    written(tmp_path, config=config, preprocessor_config=VIT_PROCESSOR)
    save_constant(tmp_path / "model.onnx", {"logits": np.zeros((1, 150, 8, 8))}, OPEN)

    with pytest.raises(InvalidModelError, match=said):
        propose_model(tmp_path)


def test_weights_beside_the_graph_are_put_into_it(tmp_path: Path) -> None:
    """As exporters write large models: ``model.onnx_data``."""
    (tmp_path / "bundle").mkdir()
    written(tmp_path, config=VIT, preprocessor_config=VIT_PROCESSOR | {"size": 8})
    model = onnx.load(save_dense(tmp_path / "whole.onnx", classes=3))
    (tmp_path / "whole.onnx").unlink()
    place: dict[str, Any] = {"location": "model.onnx_data", "size_threshold": 16}
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, **place)

    spec = propose_model(tmp_path).spec

    spec.save(tmp_path / "bundle")
    assert [file.name for file in sorted((tmp_path / "bundle").iterdir())] == [
        *("labels.txt", "model.json", "model.onnx")
    ]
    (tmp_path / "model.onnx_data").unlink()
    with pytest.raises(InvalidModelError, match="cannot be made one file"):
        propose_model(tmp_path)


def test_both_sides_of_a_dual_encoder_in_one_graph_are_refused_with_the_way_on(
    tmp_path: Path,
) -> None:
    written(tmp_path, config={"architectures": ["CLIPModel"], "model_type": "clip"})
    save_with_text(tmp_path / "model.onnx")

    with pytest.raises(InvalidModelError, match=r"takes image, input_ids; .*vision_model\.onnx"):
        propose_model(tmp_path)


def test_a_model_of_another_size_than_its_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path, config=VIT, preprocessor_config=VIT_PROCESSOR)
    save_classifier(tmp_path / "model.onnx", (1, 3, 48, 48))

    with pytest.raises(InvalidModelError, match="makes pictures of 32x32, and the model takes 48x"):
        propose_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"image_processor_type": "PerceiverImageProcessor"}, "resize"),
        ({"do_resize": False}, "resize"),
        ({"size": {"shortest_edge": 32}}, "resize"),
        ({"size": {"shortest_edge": 30}, "crop_size": 32, "do_center_crop": True}, "resize"),
        ({"size": {"longest_edge": 32}}, "resize"),
        ({"size": {"max_height": 32, "max_width": 32}}, "resize"),
        ({"image_mean": None}, "normalization"),
        ({"resample": 9}, "resize_filter"),
        ({"size": {"longest_edge": 32}, "do_pad": True}, "pad_value"),
        ({"do_pad": True, "pad_size": {"height": 40, "width": 40}}, "resize"),
    ],
)
def test_what_a_processor_leaves_open_is_open(change: dict[str, Any], name: str) -> None:
    assert list(preparation({**VIT_PROCESSOR, **change}, "p.json").unsaid) == [name]


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"height": "big", "width": 3}},
        {"size": -1},
        {"image_mean": [0.5, 0.5]},
        {"image_std": 0},
        {"rescale_factor": 0},
        {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": [1, 2, 3]},
    ],
)
def test_values_that_are_none_are_an_invalid_model(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidModelError, match=r"p\.json cannot be read: "):
        preparation({**VIT_PROCESSOR, **change}, "p.json")


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    classifier(tmp_path, config=VIT)
    (tmp_path / "preprocessor_config.json").write_text(text)

    with pytest.raises(InvalidModelError, match=r"preprocessor_config\.json is no"):
        propose_model(tmp_path)


def test_the_commands_take_a_folder_and_so_do_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = classifier(tmp_path / "vit", config=VIT, preprocessor_config=VIT_PROCESSOR)
    places = {"exported/": f"{folder}/", "bundles/mine": f"{tmp_path}/bundle"}
    inspect, build = guides.block(
        "model_files.md", "pyspark-vision bundle inspect exported/", places
    ).commands

    assert main(shlex.split(inspect)[1:]) == 0
    assert "known: ViTForImageClassification by config.json" in capsys.readouterr().out
    assert main(shlex.split(build)[1:]) == 0

    spec = load_bundle(str(tmp_path / "bundle"))
    assert spec.digest == by_name.model(str(folder), "classify").digest
    assert (spec.name, spec.files[0].path) == ("vit", "model.onnx")
