"""ModelSpec: the one frozen value that describes a model, on the driver and in the workers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pyspark_vision.bundles.choice import choose
from pyspark_vision.bundles.proof import Proof
from pyspark_vision.errors import InvalidModelError

TASKS = ("classify", "detect", "embed", "segment", "keypoints", "ocr", "dual_encoder")
# A file's own engines; OpenVINO runs files of the others.
FILE_ENGINES = ("litert", "tensorflow", "onnx")
ENGINES = ("auto", *FILE_ENGINES, "openvino")
# Those that take pictures of another shape each time.
_TAKES_ANY_SHAPE = ("onnx", "tensorflow")
PRECISIONS = ("float32", "bf16", "int8")
# A folder of several ONNX files that are one model (`bundles/text_readers.py`, `dual_encoders.py`).
TEXT_READER, DUAL_ENCODER = "text_reader", "dual_encoder"
FORMATS = (
    *("tflite", "saved_model", "keras", "h5", "frozen_graph", "onnx"),
    *(TEXT_READER, DUAL_ENCODER),
)
LAYOUTS = ("NHWC", "NCHW")
DTYPES = ("uint8", "int8", "int32", "float32", "float16")
COLOR_ORDERS = ("rgb", "bgr", "gray")
NORMALIZATIONS = ("none", "unit", "tf", "caffe", "torch", "values")
RESIZES = ("stretch", "center_crop", "letterbox", "shortest_edge", "keep_aspect")
RESIZE_FILTERS = (
    *("bilinear", "nearest", "box", "hamming", "bicubic", "lanczos"),
    "opencv_bilinear",
)
LETTERBOX_ANCHORS = ("center", "top_left")
CROP_ROUNDINGS = ("round", "floor")
LETTERBOX_ROUNDINGS = ("round", "floor")
BOX_FORMATS = ("yxyx", "xyxy", "xywh", "cxcywh")
COORDINATES = ("normalized", "pixel")
SCORE_KINDS = ("probability", "logit", "sigmoid", "binary", "binary_logit")
POOLINGS = ("none", "cls", "mean", "map")
ANCHOR_SIDES = ("exp", "linear")
SUPPRESSIONS = ("greedy", "weighted")
KEYPOINT_FORMATS = ("xys", "yxs", "xy", "yx", "xyz", "xyzvp")

# One output that holds boxes, scores and classes together (`executor/outputs/raw_heads.py`).
_RAW_DETECTIONS = (
    *("yolov5", "yolov8", "yolov8_rows", "yolox", "yolov2"),
    *("end_to_end", "batch_rows", "detr_rows", "nanodet", "fastestdet"),
)
# Scores beside boxes in another output; boxes with their scores beside classes.
_DETR = ("detr_logits", "detr_sigmoid")
_SCORED_BOXES = "scored_boxes"
# Offsets from anchors; points beside them that are not in the same output.
_SSD_BOXES = "ssd_boxes"
# Outputs for each of a detector's strides: of YuNet, SCRFD and PicoDet (``score``, ``dist``).
GRID_STRIDES = (8, 16, 32, 64, 128)
_BY_STRIDE = tuple(
    f"{kind}_{stride}"
    for kind in ("cls", "obj", "bbox", "kps", "score", "dist")
    for stride in GRID_STRIDES
)
# Of CenterFace: a map of centres, and what belongs to each place of it.
_CENTERS = ("center_map", "center_sides", "center_offsets", "center_points")

# Tables of boxes, at whose ends an exporter puts coefficients of masks, or points.
_TABLES = ("yolov5", "yolov8", "yolov8_rows", "end_to_end")
_MAPS = ("pixel_scores", "pixel_classes")
_MASKS = ("prototypes", "masks", "box_masks")
_POINTS = ("keypoints", "multipose")

# Which outputs a head needs; one alternative of each inner tuple is enough.
REQUIRED_ROLES = {
    "classify": (("scores",),),
    "detect": (
        ("boxes", _SCORED_BOXES, _SSD_BOXES, *_RAW_DETECTIONS, "bbox_8", "dist_8", "center_sides"),
        (
            *("scores", "class_scores", _SCORED_BOXES, *_DETR, *_RAW_DETECTIONS),
            *("cls_8", "score_8", "center_map"),
        ),
    ),
    "embed": (("embedding",),),
    "segment": (
        (*_MAPS, *_MASKS),
        (*_MAPS, "boxes", *_TABLES),
        (*_MAPS, "scores", "class_scores", *_TABLES),
    ),
    "keypoints": ((*_POINTS, *_TABLES),),
    "ocr": (("text_map",), ("characters",)),
    "dual_encoder": (("embedding",),),
}
ROLES = {
    "classify": ("scores",),
    "detect": (
        *("boxes", "scores", "classes", "class_scores", "count"),
        *(_SCORED_BOXES, *_DETR, *_RAW_DETECTIONS),
        *(_SSD_BOXES, "ssd_keypoints", *_BY_STRIDE, *_CENTERS),
    ),
    "embed": ("embedding",),
    "segment": (
        *(*_MAPS, *_MASKS, *_TABLES),
        *("boxes", "scores", "classes", "class_scores", "count"),
    ),
    "keypoints": (*_POINTS, "presence", "handedness", *_TABLES),
    "ocr": ("text_map", "text_direction", "characters"),
    "dual_encoder": ("embedding",),
}


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
      is the probability or the logit of class 1. A detector's logits go through the sigmoid. Of
      a map of classes it says the same for each pixel.
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
    - ``keypoint_names``: of the points that a model gives, in its order; points behind the last
      name are left out. Without names points are numbered. Of a table of boxes they say how many
      there are. A detector with names gives its rows' detections ``keypoints``.
      ``keypoint_format``: the numbers of a point: ``x``, ``y``, a score ``s``; a depth
      ``z``, the logits of visibility ``v``, which is the score then, and of presence ``p``.
    - ``batched_outputs``: whether the first axis of each output counts pictures. A model without
      (torchvision's detectors: ``boxes (N, 4)``) takes one picture at a time.
    - ``labels``: ``((class_id, label), …)``, sparse ids allowed. The row's ``class_id`` is the
      model's own index plus ``label_offset``, and its label is ``labels[class_id]``.
    - ``proof``: of ``bundle verify`` (:class:`bundles.proof.Proof`); not part of the value.
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
        for name, value, choices in (
            ("task", self.task, TASKS),
            ("engine", self.engine, ENGINES),
            ("precision", self.precision, PRECISIONS),
            ("input_layout", self.input_layout, LAYOUTS),
            ("input_dtype", self.input_dtype, DTYPES),
            ("color_order", self.color_order, COLOR_ORDERS),
            ("normalization", self.normalization, NORMALIZATIONS),
            ("resize", self.resize, RESIZES),
            ("resize_filter", self.resize_filter, RESIZE_FILTERS),
            ("crop_rounding", self.crop_rounding, CROP_ROUNDINGS),
            ("letterbox_anchor", self.letterbox_anchor, LETTERBOX_ANCHORS),
            ("letterbox_rounding", self.letterbox_rounding, LETTERBOX_ROUNDINGS),
            ("score_kind", self.score_kind, SCORE_KINDS),
            ("pooling", self.pooling, POOLINGS),
            ("box_format", self.box_format, BOX_FORMATS),
            ("coordinates", self.coordinates, COORDINATES),
            ("anchor_sides", self.anchor_sides, ANCHOR_SIDES),
            ("suppression", self.suppression, SUPPRESSIONS),
            ("keypoint_format", self.keypoint_format, KEYPOINT_FORMATS),
        ):
            if value not in choices:
                raise InvalidModelError(
                    f"model {self.name!r}: {name}={value!r} is not one of {', '.join(choices)}"
                )
        if not self.files:
            raise InvalidModelError(f"model {self.name!r} has no files")
        if self.normalization == "caffe" and self.color_order == "gray":
            raise InvalidModelError(
                f"model {self.name!r}: normalization 'caffe' needs three colours, not gray"
            )
        _check_values(self)
        _check_preparation(self)
        for file in self.files:
            _check_file(self.name, self.task, file)
        file = self.file  # raises when the chosen engine has no file
        if self.resize == "keep_aspect" and file.engine not in _TAKES_ANY_SHAPE:
            raise InvalidModelError(
                f"model {self.name!r}: resize='keep_aspect' runs on "
                f"{' and '.join(_TAKES_ANY_SHAPE)}, not on {file.engine}, which takes one shape"
            )

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

        Of the file that runs, how pixels are prepared, how outputs are read, the precision and the
        engine (:mod:`digest`). Name, licence and place are not part of it.
        """
        from pyspark_vision.bundles.digest import digest

        return digest(self)

    @property
    def verified(self) -> str:
        """What a reference has proven of this model as it is: one line, or why it is none."""
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


def _check_values(spec: ModelSpec) -> None:
    for field_name, fits, rule in (
        ("name", isinstance(spec.name, str) and spec.name != "", "a text"),
        ("input_hw", _is_size(spec.input_hw), "a positive (height, width)"),
        ("pad_value", _is_whole(spec.pad_value, 0, 255), "within 0..255"),
        (
            "fixed_batch",
            spec.fixed_batch is None or _is_whole(spec.fixed_batch, 1),
            "1, 2, … or None",
        ),
        (
            "background_class",
            spec.background_class is None or _is_whole(spec.background_class, 0),
            "0, 1, … or None",
        ),
        ("label_offset", _is_whole(spec.label_offset), "a whole number"),
        ("pixel_scale", _is_positive(spec.pixel_scale), "a number above 0"),
        ("mean", _are_numbers(spec.mean), "one number, or one for each colour"),
        (
            "std",
            _are_numbers(spec.std) and all(map(_is_positive, spec.std)),
            "one number above 0, or one for each colour",
        ),
        (
            "input_scale",
            spec.input_scale is None or _is_positive(spec.input_scale),
            "a number above 0, or None",
        ),
        ("input_zero_point", _is_whole(spec.input_zero_point, -128, 255), "within -128..255"),
        (
            "resize_edge",
            spec.resize_edge is None or _is_whole(spec.resize_edge, 1),
            "a number of pixels, or None",
        ),
        (
            "anchors",
            isinstance(spec.anchors, tuple) and all(map(_is_positive, spec.anchors)),
            "a tuple of numbers above 0",
        ),
        (
            "anchor_variances",
            isinstance(spec.anchor_variances, tuple)
            and len(spec.anchor_variances) == 4
            and all(map(_is_positive, spec.anchor_variances)),
            "four numbers above 0, of x, y, width and height",
        ),
        (
            "iou_threshold",
            spec.iou_threshold is None
            or (_is_positive(spec.iou_threshold) and spec.iou_threshold <= 1),
            "above 0 and at most 1, or None",
        ),
        (
            "keypoint_names",
            isinstance(spec.keypoint_names, tuple)
            and all(type(name) is str and name for name in spec.keypoint_names),
            "a tuple of texts",
        ),
        (
            "logit_scale",
            spec.logit_scale is None or _is_positive(spec.logit_scale),
            "a number above 0, or None",
        ),
        ("logit_bias", _are_numbers((spec.logit_bias,)), "a number"),
        ("stride", spec.stride is None or _is_whole(spec.stride, 1), "a number of pixels, or None"),
        ("labels", _are_labels(spec.labels), "a tuple ((class_id, label), …)"),
    ):
        if not fits:
            value = repr(getattr(spec, field_name))[:100]
            raise InvalidModelError(f"model {spec.name!r}: {field_name}={value} is not {rule}")


def _check_preparation(spec: ModelSpec) -> None:
    """What one field of the preparation needs of another."""
    height, width = spec.input_hw
    edge, stride = spec.resize_edge, spec.stride
    is_edge, is_free = spec.resize == "shortest_edge", spec.resize == "keep_aspect"
    is_cropped = edge is not None and spec.resize in ("shortest_edge", "stretch")
    # What was said and would have no effect, or would be needed and was not said.
    for is_wrong, problem in (
        (
            is_edge and edge is None,
            "resize='shortest_edge' needs resize_edge, the short side in pixels before the crop",
        ),
        (
            edge is not None and not (is_cropped or is_free),
            "resize_edge needs resize='shortest_edge', 'keep_aspect' or 'stretch'",
        ),
        (
            is_cropped and edge is not None and edge < max(height, width),
            f"resize_edge={edge} is below a side of input_hw={spec.input_hw}: the crop would be "
            "larger than the picture",
        ),
        (
            stride is not None and not is_free and (height % stride or width % stride),
            f"input_hw={spec.input_hw} is not a multiple of stride={stride}",
        ),
        (
            is_free and spec.fixed_batch not in (None, 1),
            f"fixed_batch={spec.fixed_batch} does not go with resize='keep_aspect'",
        ),
        (
            is_free and spec.task == "detect" and spec.coordinates != "normalized",
            "resize='keep_aspect' needs coordinates='normalized'",
        ),
        (
            spec.normalization != "values"
            and (spec.pixel_scale, spec.mean, spec.std) != (1.0, (0.0,), (1.0,)),
            f"pixel_scale, mean and std need normalization='values', not {spec.normalization!r}",
        ),
        (
            spec.normalization == "values"
            and any(len(v) not in (1, spec.channels) for v in (spec.mean, spec.std)),
            f"mean={spec.mean} and std={spec.std} must have 1 or {spec.channels} numbers each",
        ),
        (
            spec.score_kind.startswith("binary") and spec.task not in ("classify", "segment"),
            f"score_kind={spec.score_kind!r} is for task='classify' or 'segment'",
        ),
        (
            spec.pooling != "none" and spec.task != "embed",
            f"pooling={spec.pooling!r} is for task='embed'",
        ),
        (
            spec.task != "dual_encoder" and (spec.logit_scale, spec.logit_bias) != (None, 0.0),
            "logit_scale and logit_bias are for task='dual_encoder'",
        ),
        (
            spec.task != "keypoints" and spec.keypoint_format != KEYPOINT_FORMATS[0],
            "keypoint_format is for task='keypoints'",
        ),
        (
            spec.task not in ("keypoints", "detect") and spec.keypoint_names != (),
            "keypoint_names is for task='keypoints', and for detectors that give points, too",
        ),
        (
            spec.task == "keypoints"
            and not spec.keypoint_names
            and any(role in _TABLES for file in spec.files for role, _ in file.outputs),
            "a table of boxes with points needs keypoint_names: they say how many points there are",
        ),
        (
            spec.task == "dual_encoder" and spec.score_kind not in ("logit", "sigmoid"),
            f"score_kind={spec.score_kind!r} of a dual encoder must be logit (a softmax over the "
            "texts, as CLIP) or sigmoid (of each text, as SigLIP)",
        ),
        (
            not spec.batched_outputs and spec.fixed_batch not in (None, 1),
            f"fixed_batch={spec.fixed_batch} does not go with batched_outputs=False",
        ),
        (
            any(role == "yolov2" for file in spec.files for role, _ in file.outputs)
            and not (spec.anchors and len(spec.anchors) % 2 == 0),
            "the output yolov2 needs anchors, the width and height of each in cells of its grid",
        ),
        (
            any(role == _SSD_BOXES for file in spec.files for role, _ in file.outputs)
            and not spec.anchor_layers
            and not (spec.anchors and len(spec.anchors) % 4 == 0),
            "the output ssd_boxes needs anchor_layers, from which anchors are computed, or "
            "anchors, the centre, width and height of each in 0..1",
        ),
        (
            spec.input_scale is not None and spec.input_dtype not in ("uint8", "int8"),
            f"input_scale is for uint8 and int8 inputs, not {spec.input_dtype}",
        ),
    ):
        if is_wrong:
            raise InvalidModelError(f"model {spec.name!r}: {problem}")


def _layers(name: str, value: Any) -> tuple[AnchorLayer, ...]:
    """``[[8, [10, 16], [1]], …]`` of JSON, or layers as they are, as layers."""
    try:
        layers = tuple(
            AnchorLayer(layer[0], *(tuple(numbers) for numbers in layer[1:])) for layer in value
        )
        fits = all(
            _is_whole(stride, 1) and sizes and ratios and all(map(_is_positive, sizes + ratios))
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


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < float(value) < math.inf  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """A number or an array of numpy's as Python has it; anything else as it is."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def _are_numbers(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) in (1, 3)
        and all(type(n) in (int, float) and math.isfinite(n) for n in value)
    )


def _is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return type(value) is int and low <= value <= high


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_whole(n, 1) for n in value)


def _are_labels(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and _is_whole(pair[0]) and type(pair[1]) is str
        for pair in value
    )


def _check_file(name: str, task: str, file: ModelFile) -> None:
    if file.precision not in PRECISIONS:
        raise InvalidModelError(
            f"model {name!r}: precision={file.precision!r} of {file.path} is not one of "
            f"{', '.join(PRECISIONS)}"
        )
    if file.engine not in FILE_ENGINES or file.format not in FORMATS:
        raise InvalidModelError(
            f"model {name!r}: no engine {file.engine!r} for format {file.format!r}; engines: "
            f"{', '.join(FILE_ENGINES)}; formats: {', '.join(FORMATS)}"
        )
    roles = {role for role, _ in file.outputs}
    unknown = roles - set(ROLES[task])
    if unknown:
        raise InvalidModelError(
            f"model {name!r}: outputs name {', '.join(sorted(unknown))}; "
            f"task {task!r} knows {', '.join(ROLES[task])}"
        )
    for alternatives in REQUIRED_ROLES[task]:
        if not roles & set(alternatives):
            raise InvalidModelError(
                f"model {name!r}: task {task!r} needs an output for {' or '.join(alternatives)}; "
                f"outputs has {sorted(file.outputs) or 'none'}. Name it with "
                f"outputs={{'{alternatives[0]}': 'TENSOR'}}"
            )
