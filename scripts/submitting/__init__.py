"""What scripts/submit is made of: job flags, what travels with a job, spark-submit's line."""
