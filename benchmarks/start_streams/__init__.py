"""What `benchmarks.start` starts by spark-submit: a job of ours, and Spark's own equivalent."""
