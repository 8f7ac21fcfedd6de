"""Models as values: what they are, where they lie, how a file becomes a spec."""

from pyspark_vision.bundles.spec import ModelFile, ModelSpec

__all__ = ["ModelFile", "ModelSpec"]
