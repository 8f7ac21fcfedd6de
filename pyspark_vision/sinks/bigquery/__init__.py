"""A table in BigQuery: each row of a micro-batch once, whatever dies meanwhile.

:mod:`table_name` and :mod:`columns` say what is written, :mod:`table` makes or checks the table,
:mod:`staged_rows` brings a batch's rows from executors to files, and one of two writers brings the
files in: :mod:`load_jobs` (the service refuses a job's id the second time) or :mod:`write_stream`
(a stream of the Storage Write API is committed once). :mod:`sink` puts them together.
"""
