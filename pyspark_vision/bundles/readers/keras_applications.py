"""Bundles of the ImageNet classifiers in ``keras.applications``, by name: ``mobilenet_v2``, ….

Keras downloads their weights and their class index at run time. Here that happens once, when a
bundle is built, or not at all: both can be given as files.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark_vision.bundles.readers.keras import start_keras
from pyspark_vision.errors import InvalidModelError

IMAGENET_CLASSES = 1000

# Keras' class index, `{"0": ["n01440764", "tench"], …}`; URL as in
# keras/src/applications/imagenet_utils.py (Keras 3.15).
_CLASS_INDEX = "imagenet_class_index.json"
_CLASS_INDEX_URL = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
)


@dataclass(frozen=True)
class Application:
    """One classifier of ``keras.applications``.

    ``builder``: its function there; ``input_hw``: the size its weights were trained at;
    ``normalization``: of ``ModelSpec`` (``caffe`` models want BGR); ``weights_file``: the file
    name that Keras downloads (with the classifier on top).
    """

    builder: str
    input_hw: tuple[int, int]
    normalization: str
    weights_file: str

    @property
    def color_order(self) -> str:
        """The ``caffe`` family was trained on BGR pixels, all others on RGB."""
        return "bgr" if self.normalization == "caffe" else "rgb"


def _square(builder: str, size: int, normalization: str, weights_file: str) -> Application:
    return Application(builder, (size, size), normalization, weights_file)


def _kernels(builder: str, size: int, normalization: str) -> Application:
    """An application whose weights are named after it in Keras' oldest way."""
    stem = {"InceptionV3": "inception_v3", "InceptionResNetV2": "inception_resnet_v2"}
    file = f"{stem.get(builder, builder.lower())}_weights_tf_dim_ordering_tf_kernels.h5"
    return _square(builder, size, normalization, file)


# Sizes, families and file names as in keras/src/applications of Keras 3.15; each file name was
# read off what the builder asks for (tests/unit/test_keras_applications.py does so for some).
APPLICATIONS: dict[str, Application] = {
    "mobilenet": _square("MobileNet", 224, "tf", "mobilenet_1_0_224_tf.h5"),
    "mobilenet_v2": _square(
        "MobileNetV2", 224, "tf", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    ),
    "mobilenet_v3_small": _square(
        "MobileNetV3Small", 224, "none", "weights_mobilenet_v3_small_224_1.0_float.h5"
    ),
    "mobilenet_v3_large": _square(
        "MobileNetV3Large", 224, "none", "weights_mobilenet_v3_large_224_1.0_float.h5"
    ),
    "resnet50": _kernels("ResNet50", 224, "caffe"),
    "resnet101": _kernels("ResNet101", 224, "caffe"),
    "resnet152": _kernels("ResNet152", 224, "caffe"),
    "resnet50_v2": _kernels("ResNet50V2", 224, "tf"),
    "resnet101_v2": _kernels("ResNet101V2", 224, "tf"),
    "resnet152_v2": _kernels("ResNet152V2", 224, "tf"),
    "vgg16": _kernels("VGG16", 224, "caffe"),
    "vgg19": _kernels("VGG19", 224, "caffe"),
    "inception_v3": _kernels("InceptionV3", 299, "tf"),
    "inception_resnet_v2": _kernels("InceptionResNetV2", 299, "tf"),
    "xception": _kernels("Xception", 299, "tf"),
    "densenet121": _kernels("DenseNet121", 224, "torch"),
    "densenet169": _kernels("DenseNet169", 224, "torch"),
    "densenet201": _kernels("DenseNet201", 224, "torch"),
    "nasnet_mobile": _square("NASNetMobile", 224, "tf", "nasnet_mobile.h5"),
    "nasnet_large": _square("NASNetLarge", 331, "tf", "nasnet_large.h5"),
    **{
        f"efficientnet_b{index}": _square(
            f"EfficientNetB{index}", size, "none", f"efficientnetb{index}.h5"
        )
        for index, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{
        f"efficientnet_v2_{variant}": _square(
            f"EfficientNetV2{variant.upper()}", size, "none", f"efficientnetv2-{variant}.h5"
        )
        for variant, size in (
            *(("b0", 224), ("b1", 240), ("b2", 260), ("b3", 300)),
            *(("s", 384), ("m", 480), ("l", 480)),
        )
    },
    **{
        f"convnext_{variant}": _square(f"ConvNeXt{builder}", 224, "none", f"convnext_{variant}.h5")
        for variant, builder in (
            ("tiny", "Tiny"),
            ("small", "Small"),
            ("base", "Base"),
            ("large", "Large"),
            ("xlarge", "XLarge"),
        )
    },
}


def application(name: str) -> Application | None:
    """The application of this name, spelled ``mobilenet_v2``, ``MobileNetV2`` or ``resnet50v2``."""
    plain = _plain(name)
    return next((app for known, app in APPLICATIONS.items() if _plain(known) == plain), None)


def build_application(name: str, folder: str | Path, weights: str | Path | None = None) -> Path:
    """Build ``keras.applications``' model and save it as ``folder/<name>.keras``; returns it.

    ``weights``: a weights file (``.h5``, as Keras downloads it, or ``.weights.h5``); without it
    Keras downloads the ImageNet weights. Raises :class:`InvalidModelError` for an unknown name, a
    weights file that is missing or does not fit, and a failed download (naming the file to give).
    """
    app = application(name)
    if app is None:
        raise InvalidModelError(
            f"{name!r} is not one of keras.applications: {', '.join(APPLICATIONS)}"
        )
    if weights is not None and not Path(weights).is_file():
        raise InvalidModelError(f"no weights file at {weights}; {name} needs {app.weights_file}")
    keras = start_keras()
    with warnings.catch_warnings():
        # MobileNetV3 warns that it takes its default size, which is the one wanted here.
        warnings.simplefilter("ignore")
        model = _built(keras, name, app, weights)
    path = Path(folder) / f"{_canonical(name)}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return path


def imagenet_labels(folder: str | Path, labels: str | Path | None = None) -> Path:
    """A label file of the 1000 ImageNet classes: the given one, or Keras' downloaded to ``folder``.

    Raises :class:`InvalidModelError` when it can neither be read nor downloaded, or counts wrong.
    """
    from pyspark_vision.bundles.labels import read_labels

    path = Path(labels) if labels is not None else _downloaded_labels(Path(folder))
    count = len(read_labels(path))
    if count not in (IMAGENET_CLASSES, IMAGENET_CLASSES + 1):
        raise InvalidModelError(
            f"label file {path} has {count} labels; keras.applications classify {IMAGENET_CLASSES} "
            f"(or {IMAGENET_CLASSES + 1} with a background class in line 0)"
        )
    return path


def _built(keras: Any, name: str, app: Application, weights: str | Path | None) -> Any:
    builder = getattr(keras.applications, app.builder)
    if weights is None:
        try:
            return builder(weights="imagenet")
        # Keras raises a bare Exception where a download fails, and others where it is cut short.
        except Exception as error:
            raise InvalidModelError(
                f"the ImageNet weights of {name} cannot be downloaded ({_first_line(error)}). "
                f"Supply them with `weights` FILE: {app.weights_file} (see {_origin(app)}), and "
                f"the labels with `labels` FILE: {_CLASS_INDEX}, or a text file of "
                f"{IMAGENET_CLASSES} lines"
            ) from error
    # Not the builder's own `weights=`: it checks the name of the file where this checks the shapes.
    model = builder(weights=None)
    try:
        model.load_weights(str(weights))
    except Exception as error:
        raise InvalidModelError(
            f"the weights in {weights} do not fit {name} ({_first_line(error)}); "
            f"it needs {app.weights_file}, or weights saved from the same model"
        ) from error
    return model


def _downloaded_labels(folder: Path) -> Path:
    from urllib.request import urlopen

    try:
        with urlopen(_CLASS_INDEX_URL, timeout=30) as answer:
            text = answer.read().decode("utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidModelError(
            f"the ImageNet labels cannot be downloaded ({error}). Supply them with `labels` FILE: "
            f"{_CLASS_INDEX}, or a text file of {IMAGENET_CLASSES} lines"
        ) from None
    path = folder / _CLASS_INDEX
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _origin(app: Application) -> str:
    return f"keras.io/api/applications, keras.applications.{app.builder}"


def _canonical(name: str) -> str:
    return next(known for known in APPLICATIONS if _plain(known) == _plain(name))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
