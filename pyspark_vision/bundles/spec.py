"""ModelSpec: the one frozen value that describes a model, on the driver and in the workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pyspark_vision.bundles.choice import choose
from pyspark_vision.bundles.proof import Proof
from pyspark_vision.bundles.spec_checks import check, is_positive, is_whole
from pyspark_vision.errors import InvalidModelError


class AnchorLayer(NamedTuple):
    """The anchors of one feature map of an SSD detector, the same in each of its cells.

    ``stride``: pixels of the input for a cell, of which there are ``ceil(side / stride)``.
    ``sizes`` in pixels of the input: of each, a box with the first of ``ratios`` (width by
    height); then of the first size, one for each other ratio. A box has the size's area.
    """

    stride: int
    sizes: tuple[float, ...]
    ratios: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class ModelFile:
    """One runnable form of a model: the original, or a twin that was checked against it.

    ``path`` is relative to the bundle (or absolute after ``inspect``); ``sha256`` is of the file's
    bytes, or for a folder of its sorted listing (``storage.sha256_of``). ``outputs`` maps roles of
    the head (``scores``; ``boxes, scores, classes, class_scores, count``, or those of
    :mod:`raw_heads`; ``embedding``; ``pixel_scores``, ``pixel_classes``, or boxes with
    ``prototypes``, ``masks`` or ``box_masks``; ``keypoints``, ``presence`` and ``handedness``) to
    tensor names of this file. ``signature`` is the SavedModel signature in use (``None``: the
    object is called); ``layer`` the Keras layer whose output is taken instead of the model's.
    ``precision`` is ``int8`` for a twin whose arithmetic was made so; an original is ``float32``
    whatever it holds: its answers are those asked for.
    """

    engine: str
    format: str
    path: str
    sha256: str
    input_tensor: str | None = None
    outputs: tuple[tuple[str, str], ...] = ()
    signature: str | None = None
    layer: str | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class ModelSpec:
    """What a model expects and returns. Frozen, hashable, small; travels inside UDFs.

    Make one with :meth:`inspect` (any supported file) or :meth:`load` (a bundle); change a field
    with :meth:`with_options`. The fields, their choices and what they mean:

    - ``task``: ``classify | detect | embed | segment | keypoints``; ``ocr`` reads text; the towers
      of a ``dual_encoder`` put pictures and texts into one space. These two are folders of several
      files.
    - ``files``: the original first, then twins. ``engine`` chooses: ``auto`` takes a LiteRT file
      where there is one (fastest start), else the first; an engine's name takes that one's, and
      ``openvino`` a ``.tflite`` or ``.onnx`` file.
    - ``precision`` ``float32 | bf16 | int8``: other than ``float32``, answers may differ from the
      original's by what `bundle build --precision` prints. ``bf16`` runs on OpenVINO, natively
      where the processor has it (else in float32); ``int8`` needs a twin that was built for it.
    - ``input_hw``: height and width in pixels of the model's input; for ``ocr`` the least that its
      detector's sides may be.
    - ``input_layout`` ``NHWC | NCHW``; ``input_dtype`` ``uint8 | int8 | int32 | float32 |
      float16``; ``fixed_batch``: the batch size that the model insists on, or ``None``.
    - ``color_order``: ``rgb | bgr | gray`` of the model's input.
    - ``normalization`` of 0..255 pixels: ``none``; ``unit`` (x/255); ``tf`` (x/127.5-1); ``caffe``
      (ImageNet mean subtracted); ``torch`` (x/255, ImageNet mean and deviation); ``values``:
      ``(x * pixel_scale - mean) / std``, with one number for all colours or one for each in the
      model's colour order.
    - ``input_scale`` and ``input_zero_point`` of a quantized input: it takes
      ``normalized / input_scale + input_zero_point``, rounded and cut to its range. Without them
      it takes the pixel: uint8 as it is, int8 minus 128.
    - ``resize``: ``stretch``, with ``resize_edge`` to so many pixels on both sides, then the middle
      ``input_hw``; ``center_crop``, the largest part of the input's shape;
      ``letterbox``, the whole picture at ``letterbox_anchor`` (``center | top_left``), the rest
      ``pad_value``, with sides by ``letterbox_rounding`` (``round`` as Ultralytics, ``floor`` as
      YOLOX and InsightFace); ``shortest_edge``: the short side to ``resize_edge`` pixels, then the
      middle ``input_hw``, of which an odd rest is halved by ``crop_rounding`` (``round`` as
      torchvision, ``floor`` as Hugging Face); ``keep_aspect``: the short side to ``resize_edge``
      (``None``: as it is), but the long one at most the longer of ``input_hw``, and the model takes
      it in that shape, one picture at a time (DETR).
    - ``resize_filter``: one of Pillow's filters, antialiased; or ``opencv_bilinear``, OpenCV's
      ``INTER_LINEAR``, which is not.
    - ``stride``: ``input_hw`` must be a multiple of it, and of ``keep_aspect`` each side is cut to
      one; ``None``: any size.
    - ``score_kind``: ``probability``; ``logit``, of classes that exclude one another (a softmax);
      ``sigmoid``, logits of classes that do not; ``binary`` and ``binary_logit``, one unit, which
      is the probability or the logit of class 1. A detector's logits go through the sigmoid. For
      a map of classes it says the same of each pixel.
    - ``pooling`` of an embedding: ``none``, the output is the vector; ``cls`` and ``mean`` of
      tokens ``(T, D)``; ``map``, the mean over the places of ``(D, h, w)``, in NHWC ``(h, w, D)``.
    - ``logit_scale`` and ``logit_bias`` of a dual encoder: ``scale * cosine + bias`` is the logit
      of a picture and a text (the scale itself, not its logarithm).
    - ``background_class``: an output index that is never returned as a result, or ``None``.
    - ``box_format``: ``yxyx | xyxy | xywh | cxcywh``; ``coordinates``: ``normalized | pixel`` (of
      the model's input).
    - ``anchors``: width and height of each anchor box in turn, in cells of the grid (``yolov2``);
      or the centre, width and height of each in 0..1 (``ssd_boxes``), where ``anchor_layers``
      (:class:`AnchorLayer`), from which they are computed, is not given. ``anchor_clip``: computed
      ones are cut to 0..1.
    - ``anchor_variances``: what offsets of x, y, width and height from an anchor are multiplied
      with; ``anchor_sides``: a side is the anchor's times ``exp`` of its offset, or the
      ``linear`` offset times the anchor's.
    - ``suppression`` of overlapping boxes: ``greedy`` keeps the best, ``weighted`` gives the mean
      of all of them by their scores (MediaPipe). ``iou_threshold``: from which on boxes overlap,
      where the caller does not say.
    - ``keypoint_names``: the names of the points that a model gives, in its order; points behind
      the last name are left out. Points without names are numbered. In a table of boxes the names
      say how many points there are. The detections of a detector with names have ``keypoints``.
      ``keypoint_format``: the numbers of a point: ``x``, ``y``, a score ``s``; a depth
      ``z``, the logits of visibility ``v``, which is the score then, and of presence ``p``.
    - ``batched_outputs``: whether the first axis of each output counts pictures. A model without
      (torchvision's detectors: ``boxes (N, 4)``) takes one picture at a time.
    - ``labels``: ``((class_id, label), …)``, sparse ids allowed. The row's ``class_id`` is the
      model's own index plus ``label_offset``, and its label is ``labels[class_id]``.
    - ``proof``: what ``bundle verify`` has shown (:class:`bundles.proof.Proof`); not part of the
      value.
    - ``root``: where ``files`` lie now; not part of the value (not compared, not saved).
    - ``on_every_node``: the files are at ``root`` on every node already and are not shipped.
    """

    name: str
    task: str
    files: tuple[ModelFile, ...]
    input_hw: tuple[int, int]
    engine: str = "auto"
    precision: str = "float32"
    input_layout: str = "NHWC"
    input_dtype: str = "float32"
    fixed_batch: int | None = None
    color_order: str = "rgb"
    normalization: str = "none"
    resize: str = "stretch"
    resize_filter: str = "bilinear"
    pad_value: int = 0
    pixel_scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    input_scale: float | None = None
    input_zero_point: int = 0
    resize_edge: int | None = None
    crop_rounding: str = "round"
    letterbox_anchor: str = "center"
    letterbox_rounding: str = "round"
    stride: int | None = None
    score_kind: str = "probability"
    pooling: str = "none"
    logit_scale: float | None = None
    logit_bias: float = 0.0
    background_class: int | None = None
    box_format: str = "yxyx"
    coordinates: str = "normalized"
    anchors: tuple[float, ...] = ()
    anchor_layers: tuple[AnchorLayer, ...] = ()
    anchor_clip: bool = False
    anchor_variances: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)
    anchor_sides: str = "exp"
    suppression: str = "greedy"
    iou_threshold: float | None = None
    keypoint_names: tuple[str, ...] = ()
    keypoint_format: str = "xys"
    batched_outputs: bool = True
    label_offset: int = 0
    labels: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    licence: str = ""
    source: str = ""
    proof: Proof | None = field(default=None, compare=False, repr=False)
    root: str = field(default="", compare=False, repr=False)
    on_every_node: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in (
            *("input_hw", "mean", "std", "anchors"),
            *("anchor_variances", "keypoint_names"),
        ):
            # A list is a shape's slice, or JSON's, and numpy's arrays are from a training's script;
            # the spec must be hashable, and JSON again.
            value = _plain(getattr(self, name))
            if isinstance(value, (list, tuple)):
                object.__setattr__(self, name, tuple(map(_plain, value)))
        object.__setattr__(self, "anchor_layers", _layers(self.name, self.anchor_layers))
        check(self)

    @property
    def file(self) -> ModelFile:
        """The file that runs, with the engine that runs it here (:func:`choice.choose`)."""
        return choose(self.name, self.files, self.engine, self.precision)[0]

    @property
    def runs_on(self) -> str:
        """The engine that runs this model, and why: ``"litert: engine is litert"``."""
        file, reason = choose(self.name, self.files, self.engine, self.precision)
        return f"{file.engine}: {reason}"

    @property
    def path(self) -> str:
        """Where the file that runs lies now (a local path)."""
        return str(Path(self.root, self.file.path))

    @property
    def sha256(self) -> str:
        """The sha256 of the file that runs; what rows carry as ``model_sha256``."""
        return self.file.sha256

    @property
    def digest(self) -> str:
        """The identity of all that changes its answers; what rows carry as ``model_digest``.

        It is made of the file that runs, how pixels are prepared, how outputs are read, the
        precision and the engine (:mod:`digest`). Name, licence and place are not part of it.
        """
        from pyspark_vision.bundles.digest import digest

        return digest(self)

    @property
    def verified(self) -> str:
        """What a reference has proven of this model as it is, in one line, or why nothing is."""
        if self.proof is None:
            return "not verified against a reference"
        if self.proof.model_digest != self.digest:
            return f"{self.proof.reference} was compared with other settings, not with these"
        return str(self.proof)

    @property
    def channels(self) -> int:
        """Colour channels of the model's input: 1 for gray, else 3."""
        return 1 if self.color_order == "gray" else 3

    def input_shape(self, images: int) -> tuple[int, int, int, int]:
        """The shape of a batch of ``images`` in the model's layout."""
        height, width = self.input_hw
        if self.input_layout == "NCHW":
            return images, self.channels, height, width
        return images, height, width, self.channels

    def with_options(self, **changes: Any) -> ModelSpec:
        """The same model with other fields, checked again (``engine="tensorflow"``, …)."""
        unknown = set(changes) - set(self.__dataclass_fields__)
        if unknown:
            raise InvalidModelError(
                f"model {self.name!r}: no field {', '.join(sorted(unknown))}; "
                f"the fields are {', '.join(self.__dataclass_fields__)}"
            )
        return replace(self, **changes)

    @staticmethod
    def inspect(path: str | Path, **overrides: Any) -> ModelSpec:
        """Read a model file and propose its spec; see :func:`inspection.inspect_model`."""
        from pyspark_vision.bundles.inspection import inspect_model

        return inspect_model(path, **overrides)

    @staticmethod
    def load(uri: str | Path) -> ModelSpec:
        """Read a bundle (folder or zip, local or Hadoop URI); see :func:`storage.load_bundle`."""
        from pyspark_vision.bundles.storage import load_bundle

        return load_bundle(str(uri))

    def save(self, folder: str | Path) -> Path:
        """Write this model as a bundle folder; see :func:`storage.save_bundle`."""
        from pyspark_vision.bundles.storage import save_bundle

        return save_bundle(self, folder)


def _layers(name: str, value: Any) -> tuple[AnchorLayer, ...]:
    """``[[8, [10, 16], [1]], …]`` of JSON, or layers as they are, as layers."""
    try:
        layers = tuple(
            AnchorLayer(layer[0], *(tuple(numbers) for numbers in layer[1:])) for layer in value
        )
        fits = all(
            is_whole(stride, 1) and sizes and ratios and all(map(is_positive, sizes + ratios))
            for stride, sizes, ratios in layers
        )
    except (TypeError, IndexError):
        fits = False
    if not fits:
        raise InvalidModelError(
            f"model {name!r}: anchor_layers={value!r:.100} is not a tuple of "
            "AnchorLayer(stride, sizes, ratios), with numbers above 0"
        )
    return layers


def _plain(value: Any) -> Any:
    """A number or an array of numpy's as Python has it; anything else as it is."""
    return value.tolist() if type(value).__module__ == "numpy" else value
