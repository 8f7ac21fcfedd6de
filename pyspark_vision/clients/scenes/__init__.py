"""Drawn scenes with known boxes: demo frames, training data and a camera simulator from one seed.

Needs numpy and Pillow only; runs anywhere, imports neither Spark nor an inference engine.
"""

from pyspark_vision.clients.scenes.scene import (
    LABELS,
    MAX_OBJECTS,
    DrawnObject,
    draw_frame,
    draw_scene,
    draw_single,
)

__all__ = ["LABELS", "MAX_OBJECTS", "DrawnObject", "draw_frame", "draw_scene", "draw_single"]
