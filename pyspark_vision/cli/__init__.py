"""The commands of `pyspark-vision`, one module each."""
