"""Pub/Sub: the stream (:mod:`~pyspark_vision.sources.pubsub.stream`) and what it is made of.

Imports nothing: Spark's processes, and `doctor` where there is no Spark, take what they need.
"""
