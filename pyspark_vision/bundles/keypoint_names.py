"""What the points of known models are called, in the models' order."""

from __future__ import annotations

# COCO's `person` category, "keypoints".
COCO_POINTS = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)

# MediaPipe's `PoseLandmark`; six more points of the model say where to look next, and have no name.
MEDIAPIPE_POSE_POINTS = (
    "nose",
    *("left_eye_inner", "left_eye", "left_eye_outer"),
    *("right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)

# MediaPipe's `HandLandmark`.
MEDIAPIPE_HAND_POINTS = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *("index_finger_mcp", "index_finger_pip", "index_finger_dip", "index_finger_tip"),
    *("middle_finger_mcp", "middle_finger_pip", "middle_finger_dip", "middle_finger_tip"),
    *("ring_finger_mcp", "ring_finger_pip", "ring_finger_dip", "ring_finger_tip"),
    *("pinky_mcp", "pinky_pip", "pinky_dip", "pinky_tip"),
)
