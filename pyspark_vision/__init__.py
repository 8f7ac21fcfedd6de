"""Vision models over images in Apache Spark: encoded images in, typed rows out.

Nothing heavy is imported here on purpose: PySpark 4 imports every top-level package whose name
starts with ``pyspark_``, so whatever stood here would slow down each session on this machine. The
names below come from their modules when they are first used:

>>> from pyspark_vision import ModelSpec, classify_image

- :mod:`pyspark_vision.bundles` — ``ModelSpec``, the value that describes a model;
- :mod:`pyspark_vision.functions` — ``decode_image``, ``classify_image``, ``detect_objects``, …;
- :mod:`pyspark_vision.transformations` — DataFrame -> DataFrame, for ``df.transform``.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.functions import (
        classify_image,
        decode_image,
        detect_keypoints,
        detect_objects,
        draw_detections,
        draw_keypoints,
        draw_masks,
        draw_text_lines,
        embed_image,
        embed_text,
        fetch_object,
        read_text,
        register,
        segment_image,
    )
    from pyspark_vision.transformations import (
        explode_detections,
        explode_lines,
        explode_poses,
        explode_predictions,
        explode_segments,
        flatten_result,
        newest_per_key,
        split_failed,
    )

__all__ = [
    "ModelSpec",
    "classify_image",
    "decode_image",
    "detect_keypoints",
    "detect_objects",
    "draw_detections",
    "draw_keypoints",
    "draw_masks",
    "draw_text_lines",
    "embed_image",
    "embed_text",
    "explode_detections",
    "explode_lines",
    "explode_poses",
    "explode_predictions",
    "explode_segments",
    "fetch_object",
    "flatten_result",
    "newest_per_key",
    "read_text",
    "register",
    "segment_image",
    "split_failed",
]


def __getattr__(name: str) -> object:
    """The name from its module (PEP 562).

    Raises ``MissingDependencyError``, an ``ImportError``, where PySpark is not installed.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys
    from importlib import import_module

    for module in ("bundles", "functions", "transformations"):
        try:
            value = getattr(import_module(f"{__name__}.{module}"), name, None)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "pyspark":
                raise
            from pyspark_vision.errors import MissingDependencyError

            raise MissingDependencyError(
                f"{name} needs PySpark, which this Python ({sys.executable}) does not have: "
                "pip install 'pyspark_vision[spark]'. Where a Spark is there already, start Python "
                "by its `pyspark` or `spark-submit`"
            ) from None
        if value is not None:
            globals()[name] = value
            return value
    raise AssertionError(name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
