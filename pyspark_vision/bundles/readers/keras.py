"""Read a Keras model file (``.keras``, ``.h5``): refused before it is loaded, or described.

A Keras file says which Python classes to make and can carry Python code (Lambda layers). So its
configuration is read as plain JSON first, and only layers of Keras itself are let through.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pyspark_vision.bundles.readers.contents import ModelFound, TensorFound
from pyspark_vision.bundles.readers.keras_layers import OPERATORS, Preparing, preparing
from pyspark_vision.errors import InvalidModelError, InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.engines import tensorflow as engine
from pyspark_vision.executor.engines.keras_archive import parts
from pyspark_vision.executor.engines.keras_migration import migrated

Array = np.ndarray[Any, Any]
Adapted = dict[str, tuple[Array, Array]]

# Layers that carry code (Lambda), a pickle (TorchModuleWrapper), a function of a framework that is
# not here (Flax, JAX), or the path of another model (TFSMLayer).
_REFUSED_LAYERS = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")

# Where Keras' own classes live, in files of Keras 3, Keras 2 (tf_keras) and tf.keras.
_KERAS_MODULES = ("keras", "tf_keras", "tensorflow", "builtins")

# Of configurations, what is no layer of its module.
_OPERATORS_AND_MODELS = ("Functional", "Model", "Sequential", *OPERATORS)

_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")

# The normalization that each family of Keras Applications was trained with, by the model's own
# name (`mobilenetv2_1.00_224`), most special first. Source: `preprocess_input` of each module in
# keras/src/applications (Keras 3.15); "none": the model begins with its own Rescaling.
_FAMILIES = (
    (r"mobile_?net_?v3", "none"),
    (r"mobile_?net", "tf"),
    (r"inception_?(resnet_?)?v[23]", "tf"),
    (r"xception", "tf"),
    (r"nasnet", "tf"),
    (r"resnet\d+_?v2", "tf"),
    (r"resnet(50|101|152)", "caffe"),
    (r"vgg1[69]", "caffe"),
    (r"densenet", "torch"),
    (r"efficientnet", "none"),
    (r"convnext", "none"),
)


def read_keras(path: str | Path, layer: str | None = None) -> ModelFound:
    """Inputs and outputs of a ``.keras``, ``.h5`` or ``.hdf5`` file; of ``layer`` if one is named.

    Raises :class:`InvalidModelError` for a damaged file, a refused or custom layer, an archive
    that leaves its folder, several inputs, or a layer that is not there.
    """
    file = Path(path)
    start_keras()
    if file.suffix.lower() == ".keras":
        model_format, config = "keras", _keras_archive_config(file)
    else:
        model_format, config = "h5", _h5_config(file)
    _refuse_code(config, file)
    inputs, outputs, adapted = _described(file, config, layer)
    one_image_input(inputs, file)
    own = preparing(migrated(config), -1 in inputs[0].shape[1:], adapted)
    return ModelFound(
        engine="tensorflow",
        format=model_format,
        inputs=inputs,
        outputs=outputs,
        layer=layer,
        family=None if "normalization" in {*own.fields, *own.unsaid} else _family(config),
        fields=tuple(own.fields.items()),
        unsaid=tuple(own.unsaid.items()),
        evidence=prepared_by(own),
    )


def start_tensorflow() -> Any:
    """TensorFlow, or an error that says how to install it."""
    try:
        return engine.start_tensorflow()
    except ImportError as error:
        raise MissingDependencyError(
            "reading a TensorFlow or Keras model needs TensorFlow: "
            f"pip install 'pyspark_vision[tensorflow]' ({error})"
        ) from None


def start_keras() -> Any:
    """Keras on TensorFlow, or an error that says what it is that this process has instead."""
    start_tensorflow()
    try:
        return engine.import_keras()
    except engine.KerasBackendError as error:
        raise InvalidOptionError(str(error)) from None


def one_image_input(inputs: tuple[TensorFound, ...], path: Path, advice: str = "") -> None:
    """Refuse everything but one numeric input of four dimensions, naming what was found."""
    described = ", ".join(f"{t.name} {t.shape} {t.dtype}" for t in inputs) or "none"
    advice = advice or "export the model with one batch of images as its only input"
    if len(inputs) != 1:
        raise InvalidModelError(
            f"{path} has {len(inputs)} inputs ({described}), supported is one; {advice}"
        )
    (image,) = inputs
    if image.dtype == "string":
        raise InvalidModelError(
            f"{path} takes strings ({described}): encoded images or tf.Example records. Supported "
            f"is a batch of pixels; {advice}"
        )
    if len(image.shape) != 4:
        raise InvalidModelError(
            f"{path} takes {described}; supported is a batch of images with four dimensions "
            f"(batch, height, width, channels); {advice}"
        )


def family_of(name: str) -> str | None:
    """The normalization that a Keras Applications model of this name was trained with.

    >>> family_of("mobilenetv2_1.00_224"), family_of("resnet50"), family_of("my_model")
    ('tf', 'caffe', None)
    """
    for pattern, family in _FAMILIES:
        if re.match(pattern, name.lower()):
            return family
    return None


def prepared_by(own: Preparing) -> str:
    """The layers that prepare pictures inside a model, in words."""
    return f"it begins with its own {', '.join(own.layers)}" if own.layers else ""


def _family(config: dict[str, Any]) -> str | None:
    inner = config.get("config")
    return family_of(str(inner.get("name", ""))) if isinstance(inner, dict) else None


def _described(
    file: Path, config: dict[str, Any], layer: str | None
) -> tuple[tuple[TensorFound, ...], tuple[TensorFound, ...], Adapted]:
    """Inputs, outputs, and mean and variance of each Normalization that was adapted."""

    def described(
        model: Any,
    ) -> tuple[tuple[TensorFound, ...], tuple[TensorFound, ...], Adapted]:
        adapted = _adapted(model)
        model = _checked(model, file, layer)
        inputs = _tensors(model.inputs, [tensor.name for tensor in model.inputs])
        names = engine.keras_output_names(model)
        return inputs, _tensors(engine.flatten(model.outputs), names), adapted

    try:
        return engine.with_keras_model(str(file), None, described)
    except InvalidModelError:
        raise
    # Keras answers a damaged or unknown model with whatever its layers happen to raise.
    except Exception as error:
        raise InvalidModelError(
            f"{file} cannot be loaded by Keras: {_culprit(config) or _shown(error)}. Save it again "
            "with the Keras that made it, as a SavedModel: model.export(FOLDER), or "
            "tf.saved_model.save(model, FOLDER) with Keras 2"
        ) from error


def _culprit(config: dict[str, Any]) -> str | None:
    """The layer that this Keras does not take, and why; ``None`` where each by itself is taken."""
    keras = engine.import_keras()
    for part in parts(migrated(config)):
        name, inner = str(part.get("class_name")), part.get("config")
        if not isinstance(inner, dict) or "name" not in inner or "layers" in inner:
            continue
        kind = getattr(keras.layers, name, None)
        if kind is None:
            if name not in _OPERATORS_AND_MODELS and "inbound_nodes" in part:
                return (
                    f"layer {inner['name']!r} is of {name}, which Keras {keras.__version__} lacks"
                )
            continue
        try:
            kind.from_config(dict(inner))
        except Exception as error:  # of any kind
            return f"layer {inner['name']!r} ({name}): {_shown(error)}"
    return None


def _adapted(model: Any) -> Adapted:
    """By the layer's name, from the weights: `adapt` leaves nothing in the configuration."""
    keras = engine.import_keras()
    waiting, adapted = [model], {}
    while waiting:
        layer = waiting.pop()
        waiting.extend(getattr(layer, "layers", ()))
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            values = (layer.adapt_mean, layer.adapt_variance)
            mean, variance = (
                np.asarray(variable.value, np.float64).reshape(-1) for variable in values
            )
            adapted[layer.name] = (mean, variance)
    return adapted


def _checked(model: Any, file: Path, layer: str | None) -> Any:
    """The model, cut at ``layer``'s output if one is named."""
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InvalidModelError(
            f"{file} is a Keras model without fixed inputs (never built, or a subclass of Model); "
            "export it as a SavedModel with model.export(FOLDER)"
        )
    if layer is None:
        return model
    names = [inner.name for inner in model.layers]
    if layer not in names:
        raise InvalidModelError(f"{file} has no layer {layer!r}; its layers are {', '.join(names)}")
    try:
        return engine.cut_at(model, layer)
    except (ValueError, AttributeError) as error:
        raise InvalidModelError(
            f"{file}: layer {layer!r} has no single output: {_first_line(error)}"
        ) from None


def _tensors(tensors: list[Any], names: list[str]) -> tuple[TensorFound, ...]:
    return tuple(
        TensorFound(
            name, tuple(-1 if size is None else int(size) for size in tensor.shape), tensor.dtype
        )
        for tensor, name in zip(tensors, names, strict=True)
    )


def _keras_archive_config(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                _check_member(member, file)
            damaged = archive.testzip()
            if damaged is not None:
                raise InvalidModelError(f"{file} is damaged: {damaged} in it has a wrong checksum")
            names = archive.namelist()
            for needed in ("config.json", "metadata.json"):
                if needed not in names:
                    raise InvalidModelError(
                        f"{file} has no {needed} inside, only {', '.join(names[:5]) or 'nothing'}; "
                        "save the model with Keras 3: model.save('model.keras')"
                    )
            for name in names:
                if name.endswith(".h5"):
                    _check_h5(io.BytesIO(archive.read(name)), file)
            return _parsed(archive.read("config.json"), file)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise InvalidModelError(
            f"{file} is no .keras archive, or it was cut short{_what_it_is(file)}: {error}"
        ) from None


def _check_member(member: zipfile.ZipInfo, file: Path) -> None:
    # The rules of `executor.models.model_files.extract_zip`; Keras unpacks this archive by itself.
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in (name.parts or ("",))[0]:
        raise InvalidModelError(f"{file} is refused: member {member.filename!r} leaves its folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InvalidModelError(f"{file} is refused: member {member.filename!r} is a link")
    if name.suffix.lower() in _PICKLE_SUFFIXES:
        raise InvalidModelError(
            f"{file} is refused: member {member.filename!r} is a pickle, which runs code when read"
        )


def _h5_config(file: Path) -> dict[str, Any]:
    config = _check_h5(file, file)
    if config is None:
        raise InvalidModelError(
            f"{file} holds weights and no model; save the whole model (model.save('model.keras')), "
            "or give the weights of a keras.applications model: `bundle build NAME` takes `weights`"
        )
    return _parsed(config, file)


def _check_h5(source: Path | io.BytesIO, file: Path) -> str | bytes | None:
    """Refuse links to other files inside an HDF5 file; its ``model_config`` if it has one."""
    import h5py

    try:
        with h5py.File(source, "r") as h5:
            _refuse_external(h5, file)
            config: str | bytes | None = h5.attrs.get("model_config")
            return config
    except (OSError, RuntimeError, KeyError) as error:
        raise InvalidModelError(
            f"{file} is no HDF5 file, or it was cut short{_what_it_is(file)}: {_first_line(error)}"
        ) from None


def _refuse_external(group: Any, file: Path) -> None:
    # An HDF5 file can name other files of the machine as its weights.
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise InvalidModelError(f"{file} is refused: {group.name}/{name} is a link")
        member = group[name]
        if isinstance(member, h5py.Group):
            _refuse_external(member, file)
        elif isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
            raise InvalidModelError(f"{file} is refused: {member.name} lies in another file")


def _parsed(config: str | bytes, file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(config)
    except ValueError as error:
        raise InvalidModelError(f"{file}: its configuration is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise InvalidModelError(f"{file}: its configuration describes no model")
    return parsed


def _refuse_code(config: dict[str, Any], file: Path) -> None:
    for part in parts(config):
        class_name = part.get("class_name")
        name = _name_of(part)
        if class_name in _REFUSED_LAYERS or class_name == "__lambda__":
            raise InvalidModelError(
                f"{file} is refused: {class_name} layer {name!r} carries code or a foreign model. "
                "Replace it by Keras layers (Rescaling, Resizing, …), or export the model as a "
                "SavedModel with model.export(FOLDER) if you trust it"
            )
        module = part.get("module")
        known = module is None or str(module).split(".")[0] in _KERAS_MODULES
        # `package>Name`: registered by the user's own code.
        registered = ">" in str(part.get("registered_name"))
        if isinstance(class_name, str) and (registered or not known):
            raise InvalidModelError(
                f"{file} has a custom layer or object {class_name!r} ({module or 'registered'}), "
                "whose code is not in the file; export the model as a SavedModel with "
                "model.export(FOLDER)"
            )


def _name_of(part: dict[str, Any]) -> str:
    inner = part.get("config")
    return str(inner.get("name", "?")) if isinstance(inner, dict) else "?"


def _what_it_is(file: Path) -> str:
    """`` (it is a pickle, …)`` where the first bytes tell."""
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError:
        return ""
    for magic, what in (
        (b"\x80", "a pickle, which runs code when read"),
        (b"PK", "a zip"),
        (b"\x89HDF", "an HDF5 file"),
    ):
        if start.startswith(magic):
            return f" (it begins as {what})"
    return "" if start else " (it is empty)"


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
