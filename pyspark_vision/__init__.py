"""Vision models over images in Apache Spark: encoded images in, typed rows out.

Nothing is imported here on purpose: PySpark 4 imports every top-level package whose name starts
with ``pyspark_``, so whatever stood here would slow down each session on this machine. Start with

- :mod:`pyspark_vision.bundles` — ``ModelSpec``, the value that describes a model;
- :mod:`pyspark_vision.functions` — ``decode_image``, ``classify_image``, ``detect_objects``, …;
- :mod:`pyspark_vision.transformations` — DataFrame -> DataFrame, for ``df.transform``.
"""

__version__ = "0.1.0"
