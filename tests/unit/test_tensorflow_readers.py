"""What the readers find in each TensorFlow format, and what they refuse, by name."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")

import h5py
import keras
import tensorflow as tf
import tensorflow_models as models

from pyspark_vision.bundles import ModelSpec
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.readers.contents import TensorFound
from pyspark_vision.bundles.readers.keras import family_of
from pyspark_vision.bundles.readers.tensorflow import (
    read_frozen_graph,
    read_keras,
    read_saved_model,
)
from pyspark_vision.cli.main import main
from pyspark_vision.errors import InvalidModelError, InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.decode.images import DecodeOptions
from pyspark_vision.executor.engines import load_engine
from pyspark_vision.executor.outputs.heads import EmbedOptions
from pyspark_vision.executor.predictor import Predictor

IMAGE = TensorFound("image", (-1, 8, 8, 3), "float32")
DATA = Path(
    os.environ.get("PYSPARK_VISION_TEST_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)


def test_a_keras_3_export_is_read_by_its_serving_signature(tmp_path: Path) -> None:
    found = read_saved_model(models.export_keras_3(tmp_path / "model"))
    assert (found.engine, found.format) == ("tensorflow", "saved_model")
    assert found.signature == "serving_default"
    assert found.inputs == (IMAGE,)
    assert found.outputs == (TensorFound("output_0", (-1, 4), "float32"),)


def test_a_saved_model_without_signature_is_called(tmp_path: Path) -> None:
    found = read_saved_model(models.save_without_signature(tmp_path / "model"))
    assert found.signature is None
    assert found.inputs == (IMAGE,)
    assert found.outputs == (TensorFound("output_0", (-1, 4), "float32"),)


def test_a_saved_model_with_optimizer_slots_is_read(tmp_path: Path) -> None:
    path = models.save_with_optimizer_slots(tmp_path / "model")
    with pytest.raises(AttributeError, match="add_slot"):
        tf.saved_model.load(str(path))
    assert read_saved_model(path).outputs == (TensorFound("scores", (-1, 4), "float32"),)


def test_an_object_detection_signature_shows_its_batch_of_one_and_open_size(
    tmp_path: Path,
) -> None:
    found = read_saved_model(models.save_detector(tmp_path / "model"))
    assert found.inputs == (TensorFound("input_tensor", (1, -1, -1, 3), "uint8"),)
    assert [tensor.name for tensor in found.outputs] == [
        "detection_boxes",
        "detection_classes",
        "detection_scores",
        "num_detections",
    ]
    assert found.outputs[0].shape == (1, 2, 4)


def test_a_detector_without_signature_is_called_and_its_outputs_keep_their_names(
    tmp_path: Path,
) -> None:
    found = read_saved_model(models.save_called_detector(tmp_path / "model"))
    assert found.signature is None
    assert found.inputs == (TensorFound("image", (1, -1, -1, 3), "uint8"),)
    assert [(tensor.name, tensor.shape) for tensor in found.outputs] == [
        ("detection_boxes", (1, 2, 4)),
        ("detection_classes", (1, 2)),
        ("detection_scores", (1, 2)),
        ("num_detections", (1,)),
    ]


def test_a_signature_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = models.save_two_signatures(tmp_path / "model")
    found = read_saved_model(path)
    assert found.evidence == "its signature 'serving_default' takes encoded pictures (image_bytes)"
    assert found.inputs == (TensorFound("image_bytes", (-1, -1, -1, 3), "uint8"),)
    found = read_saved_model(path, signature="pixels")
    assert [tensor.name for tensor in found.outputs] == ["doubled", "scores"]
    with pytest.raises(InvalidModelError, match=r"no signature 'other'.*pixels, serving_default"):
        read_saved_model(path, signature="other")


def test_strings_that_are_no_pictures_are_refused_by_the_trial_run(tmp_path: Path) -> None:
    path = models.save_of_examples(tmp_path / "model")
    with pytest.raises(InvalidModelError, match=r"cannot run on tensorflow .*takes encoded pict"):
        propose_model(path)


@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signature_of_encoded_pictures_gets_them_in_their_own_size(
    rank: int, with_key: bool, tmp_path: Path
) -> None:
    path = models.save_encoded(tmp_path / "model", rank, with_key)

    proposal = propose_model(path, "embed", outputs={"embedding": "shape_and_mean"})

    assert proposal.open_fields == []
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    spec = proposal.spec
    engine = load_engine(spec, spec.path, 1)
    (row,) = Predictor(spec, engine, DecodeOptions(), EmbedOptions(False)).predict(
        [file.getvalue()]
    )
    np.testing.assert_allclose(row.value, [30, 41, pixels.mean()], rtol=1e-5)


def test_a_bundle_of_a_model_that_takes_encoded_pictures_has_no_twin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = models.save_encoded(tmp_path / "model", 1, False)
    said = ["--task", "embed", "--output", str(tmp_path / "bundle")]

    assert main(["bundle", "build", str(path), *said]) == 0

    assert "no LiteRT twin: the model takes pictures in their own" in capsys.readouterr().err
    spec = ModelSpec.load(tmp_path / "bundle")
    assert (spec.resize, [file.format for file in spec.files]) == ("keep_aspect", ["saved_model"])


def test_the_first_layers_of_a_keras_2_saved_model_are_read(tmp_path: Path) -> None:
    path = models.export_keras_3(tmp_path / "model")
    layers = [
        {"class_name": "InputLayer", "config": {"name": "input_1"}},
        {"class_name": "Rescaling", "config": {"name": "rescaling", "scale": 1 / 255}},
        {"class_name": "Dense", "config": {"name": "dense"}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
    record = {"name": "sequential", "model_config": config}
    # Its protocol buffer: each layer's JSON after a few bytes.
    (path / "keras_metadata.pb").write_bytes(b"\x0a\x9f\x01{\x12" + json.dumps(record).encode())

    found = read_saved_model(path)

    assert dict(found.fields) == {"normalization": "none"}
    assert found.evidence == "it begins with its own Rescaling"
    (path / "keras_metadata.pb").write_bytes(b'\x0a{"name": cut')
    assert read_saved_model(path).fields == ()


def of_layers(*first: Any) -> Any:
    image = keras.Input((8, 8, 3))
    values = image
    for layer in first:
        values = layer(values)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(values))
    return keras.Model(image, pooled)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ([keras.layers.Rescaling(1 / 255)], {"normalization": "none"}),
        (
            [keras.layers.Rescaling(1 / 255), keras.layers.Normalization(mean=0.4, variance=0.05)],
            {"normalization": "none"},
        ),
        ([keras.layers.Rescaling(2.0, offset=-1.0)], {"normalization": "unit"}),
        ([], {}),
        ([keras.layers.BatchNormalization()], {}),
    ],
    ids=["Rescaling", "Normalization", "of 0..1", "none", "with weights"],
)
def test_the_graph_of_a_keras_3_export_says_what_it_does_to_pixels(
    first: list[Any], said: dict[str, str], tmp_path: Path
) -> None:
    of_layers(*first).export(tmp_path / "model", verbose=False)

    found = read_saved_model(tmp_path / "model")

    assert dict(found.fields) == said


def test_pixels_that_a_signature_scales_by_what_it_learned_are_open(tmp_path: Path) -> None:
    module = tf.Module()
    module.scale = tf.Variable(1 / 255)
    spec = [tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")]
    serve = tf.function(lambda image: {"y": image * module.scale}, input_signature=spec)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})

    assert dict(read_saved_model(tmp_path).unsaid).keys() == {"normalization"}


def test_two_inputs_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"2 inputs \(image .*, mask .*\)"):
        read_saved_model(models.save_two_inputs(tmp_path / "model"))


def test_an_input_that_is_no_image_is_refused_with_its_shape(tmp_path: Path) -> None:
    serve = tf.function(
        lambda x: {"y": x}, input_signature=[tf.TensorSpec((None, 7), tf.float32, name="row")]
    )
    tf.saved_model.save(tf.Module(), str(tmp_path), signatures={"serving_default": serve})
    with pytest.raises(InvalidModelError, match=r"row \(-1, 7\) float32.*four dimensions"):
        read_saved_model(tmp_path)


def test_several_signatures_without_a_default_must_be_chosen(tmp_path: Path) -> None:
    spec = [tf.TensorSpec((None, 8, 8, 3), tf.float32, name="image")]
    both = {
        name: tf.function(lambda image: {"y": image}, input_signature=spec)
        for name in ("first", "second")
    }
    tf.saved_model.save(tf.Module(), str(tmp_path), signatures=both)
    with pytest.raises(InvalidModelError, match=r"choose one with signature=.*first, second"):
        read_saved_model(tmp_path)


def test_python_functions_in_a_saved_model_are_refused(tmp_path: Path) -> None:
    serve = tf.function(
        lambda image: {"y": tf.numpy_function(lambda x: x, [image], tf.float32)},
        input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)],
    )
    tf.saved_model.save(tf.Module(), str(tmp_path), signatures={"serving_default": serve})
    with pytest.raises(InvalidModelError, match="refused: it uses PyFunc"):
        read_saved_model(tmp_path)


@pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_saved_model_cut_short_is_refused(damaged: str, tmp_path: Path) -> None:
    path = models.export_keras_3(tmp_path / "model")
    cut_in_half(path / damaged)
    with pytest.raises(InvalidModelError, match=f"{path} is (no SavedModel|damaged)"):
        read_saved_model(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5"])
def test_a_keras_file_is_read(name: str, tmp_path: Path) -> None:
    saved = models.save_keras(tmp_path / name.replace("hdf5", "h5"))
    found = read_keras(saved.rename(tmp_path / name))
    assert found.format == ("keras" if name.endswith(".keras") else "h5")
    assert found.inputs == (IMAGE,)
    assert found.outputs == (TensorFound("scores", (-1, 4), "float32"),)
    assert found.family is None


@pytest.mark.slow
def test_a_keras_file_is_read_whatever_backend_the_user_has_chosen(tmp_path: Path) -> None:
    """And the choice stays for the user's own programs."""
    file = models.save_keras(tmp_path / "small.keras")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "jax"}')
    program = (
        "import os, sys\n"
        "from pyspark_vision.bundles.readers.tensorflow import read_keras\n"
        "print(read_keras(sys.argv[1]).format, os.environ['KERAS_BACKEND'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env={**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path / ".keras")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.stdout.split() == ["keras", "torch"], done.stderr


def test_keras_on_another_backend_in_this_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = models.save_keras(tmp_path / "small.keras")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")

    with pytest.raises(InvalidOptionError, match="backend 'jax'.*set KERAS_BACKEND=tensorflow"):
        read_keras(file)


def test_an_h5_file_with_its_optimizer_is_read(tmp_path: Path) -> None:
    found = read_keras(models.save_h5_with_optimizer(tmp_path / "model.h5"))
    assert found.outputs == (TensorFound("scores", (-1, 4), "float32"),)


def test_a_layer_gives_its_output_and_an_unknown_one_names_the_layers(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    found = read_keras(path, layer="pool")
    assert (found.layer, found.outputs) == ("pool", (TensorFound("pool", (-1, 3), "float32"),))
    with pytest.raises(InvalidModelError, match="no layer 'fc2'; its layers are image, pool, scor"):
        read_keras(path, layer="fc2")


def test_a_keras_model_with_two_inputs_is_refused(tmp_path: Path) -> None:
    inputs = [keras.Input((8, 8, 3), name=name) for name in ("left", "right")]
    model = keras.Model(inputs, keras.layers.Add()(inputs))
    model.save(tmp_path / "model.keras")
    with pytest.raises(InvalidModelError, match=r"2 inputs \(left .*, right .*\)"):
        read_keras(tmp_path / "model.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("nested", [False, True])
def test_lambda_layers_are_refused_wherever_they_are(
    suffix: str, nested: bool, tmp_path: Path
) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x + 1, name="plus_one")(image))
    if nested:
        outer = keras.Input((8, 8, 3))
        model = keras.Model(outer, model(outer))
    path = tmp_path / f"model{suffix}"
    model.save(path)
    with pytest.raises(InvalidModelError, match="refused: Lambda layer 'plus_one' carries code"):
        read_keras(path)


def test_custom_layers_are_refused_with_the_way_out(tmp_path: Path) -> None:
    class Mine(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            return inputs

    image = keras.Input((8, 8, 3))
    keras.Model(image, Mine()(image)).save(tmp_path / "model.keras")
    with pytest.raises(InvalidModelError, match=r"custom layer or object 'Mine'.*model.export"):
        read_keras(tmp_path / "model.keras")


@pytest.mark.parametrize("member", ["../escaped.txt", "/etc/escaped", "..\\escaped", "C:/escaped"])
def test_archive_members_that_leave_their_folder_are_refused(member: str, tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(InvalidModelError, match="leaves its folder"):
        read_keras(path)


def test_links_and_pickles_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "link.keras")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidModelError, match="member 'assets/link' is a link"):
        read_keras(path)
    path = models.save_keras(tmp_path / "pickled.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/state.pkl", pickle.dumps({}))
    with pytest.raises(InvalidModelError, match=r"member 'assets/state.pkl' is a pickle"):
        read_keras(path)


def test_weights_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.h5")
    with h5py.File(path, "a") as h5:
        h5["model_weights/stolen"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(InvalidModelError, match="/model_weights/stolen is a link"):
        read_keras(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_keras_file_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / name)
    cut_in_half(path)
    with pytest.raises(InvalidModelError, match=rf"{name} .*cut short"):
        read_keras(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_pickle_or_an_empty_file_with_a_keras_name_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    with pytest.raises(InvalidModelError, match="begins as a pickle"):
        read_keras(path)
    path.write_bytes(b"")
    with pytest.raises(InvalidModelError, match="it is empty"):
        read_keras(path)


def test_weights_without_a_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.weights.h5"
    models.keras_model().save_weights(path)
    with pytest.raises(InvalidModelError, match="holds weights and no model"):
        read_keras(path)


def test_a_keras_archive_with_wrong_weights_is_refused(tmp_path: Path) -> None:
    path = models.save_keras(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][2]["config"]["units"] = 5
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InvalidModelError, match="cannot be loaded by Keras"):
        read_keras(path)


@pytest.mark.parametrize("loop", [False, True])
def test_a_frozen_detector_is_read_by_its_known_names(loop: bool, tmp_path: Path) -> None:
    found = read_frozen_graph(models.save_frozen_detector(tmp_path / "model.pb", loop))
    assert found.format == "frozen_graph"
    assert found.inputs == (TensorFound("image_tensor:0", (-1, -1, -1, 3), "uint8"),)
    assert [tensor.name for tensor in found.outputs] == [
        "detection_boxes:0",
        "detection_scores:0",
        "detection_classes:0",
        "num_detections:0",
    ]


def test_a_frozen_classifier_is_read_by_what_nobody_consumes(tmp_path: Path) -> None:
    found = read_frozen_graph(models.save_frozen_classifier(tmp_path / "model.pb"))
    assert found.inputs == (TensorFound("input:0", (-1, 8, 8, 3), "float32"),)
    assert found.outputs == (TensorFound("logits:0", (-1, 4), "float32"),)


def test_a_frozen_graph_that_scales_pixels_takes_them_as_they_are(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="input")
        tf.reduce_mean((image - 127.5) * (1 / 127.5), [1, 2], name="logits")
        (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())

    found = read_frozen_graph(tmp_path / "m.pb")

    assert dict(found.fields) == {"normalization": "none"}
    assert found.evidence == "it begins with its own Sub, Mul"


def test_a_graph_that_is_damaged_empty_or_not_frozen_is_refused(tmp_path: Path) -> None:
    path = models.save_frozen_detector(tmp_path / "model.pb")
    cut_in_half(path)
    with pytest.raises(InvalidModelError, match="cut short"):
        read_frozen_graph(path)
    path.write_bytes(b"")
    with pytest.raises(InvalidModelError, match="no node"):
        read_frozen_graph(path)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3))
        tf.compat.v1.get_variable("left_over", 3)
        path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(InvalidModelError, match=r"not frozen: it has variables \(left_over"):
        read_frozen_graph(path)


def test_a_graph_with_an_unknown_operator_is_refused_by_its_name(tmp_path: Path) -> None:
    path = models.save_frozen_classifier(tmp_path / "model.pb")
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    graph_def.node[-1].op = "MyOwnMatMul"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(InvalidModelError, match=r"does not have: MyOwnMatMul"):
        read_frozen_graph(path)


def test_a_missing_tensorflow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    for read in (read_saved_model, read_keras, read_frozen_graph):
        with pytest.raises(MissingDependencyError, match=r"pyspark_vision\[tensorflow\]"):
            read(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mobilenetv2_1.00_224", "tf"),
        ("mobilenet_1.00_224", "tf"),
        ("MobileNetV3Large", "none"),
        ("resnet50", "caffe"),
        ("resnet50v2", "tf"),
        ("vgg16", "caffe"),
        ("inception_v3", "tf"),
        ("inception_resnet_v2", "tf"),
        ("xception", "tf"),
        ("NASNet", "tf"),
        ("densenet121", "torch"),
        ("efficientnetb0", "none"),
        ("efficientnetv2-s", "none"),
        ("convnext_tiny", "none"),
        ("functional_1", None),
    ],
)
def test_the_family_follows_from_the_name(name: str, family: str | None) -> None:
    assert family_of(name) == family


def test_a_model_that_rescales_by_itself_takes_plain_pixels(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Rescaling(1 / 255)(image), name="resnet50")
    model.save(tmp_path / "model.keras")
    found = read_keras(tmp_path / "model.keras")
    assert (found.family, dict(found.fields)) == (None, {"normalization": "none"})


def test_the_cifar10_model_of_mlperf_tiny_is_read() -> None:
    path = DATA / "models" / "cifar10_resnet8.h5"
    if not path.exists():
        pytest.skip(f"no test data at {DATA}; set PYSPARK_VISION_TEST_DATA")
    found = read_keras(path)
    assert found.inputs[0].shape == (-1, 32, 32, 3)
    assert found.outputs[0].shape == (-1, 10)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
