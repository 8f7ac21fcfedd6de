"""What the fields of a ModelSpec can say: the choices of each, and the roles of outputs."""

from __future__ import annotations

TASKS = ("classify", "detect", "embed", "segment", "keypoints", "ocr", "dual_encoder")
# A file's own engines; OpenVINO runs files of the others.
FILE_ENGINES = ("litert", "tensorflow", "onnx")
ENGINES = ("auto", *FILE_ENGINES, "openvino")
# Those that take pictures of another shape each time.
TAKES_ANY_SHAPE = ("onnx", "tensorflow")
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
SSD_BOXES = "ssd_boxes"
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
TABLES = ("yolov5", "yolov8", "yolov8_rows", "end_to_end")
_MAPS = ("pixel_scores", "pixel_classes")
_MASKS = ("prototypes", "masks", "box_masks")
_POINTS = ("keypoints", "multipose")

# Which outputs a head needs; one alternative of each inner tuple is enough.
REQUIRED_ROLES = {
    "classify": (("scores",),),
    "detect": (
        ("boxes", _SCORED_BOXES, SSD_BOXES, *_RAW_DETECTIONS, "bbox_8", "dist_8", "center_sides"),
        (
            *("scores", "class_scores", _SCORED_BOXES, *_DETR, *_RAW_DETECTIONS),
            *("cls_8", "score_8", "center_map"),
        ),
    ),
    "embed": (("embedding",),),
    "segment": (
        (*_MAPS, *_MASKS),
        (*_MAPS, "boxes", *TABLES),
        (*_MAPS, "scores", "class_scores", *TABLES),
    ),
    "keypoints": ((*_POINTS, *TABLES),),
    "ocr": (("text_map",), ("characters",)),
    "dual_encoder": (("embedding",),),
}
ROLES = {
    "classify": ("scores",),
    "detect": (
        *("boxes", "scores", "classes", "class_scores", "count"),
        *(_SCORED_BOXES, *_DETR, *_RAW_DETECTIONS),
        *(SSD_BOXES, "ssd_keypoints", *_BY_STRIDE, *_CENTERS),
    ),
    "embed": ("embedding",),
    "segment": (
        *(*_MAPS, *_MASKS, *TABLES),
        *("boxes", "scores", "classes", "class_scores", "count"),
    ),
    "keypoints": (*_POINTS, "presence", "handedness", *TABLES),
    "ocr": ("text_map", "text_direction", "characters"),
    "dual_encoder": ("embedding",),
}
