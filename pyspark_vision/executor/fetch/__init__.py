"""Objects of S3 and Google Cloud Storage, read where the row is."""
