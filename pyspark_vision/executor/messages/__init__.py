"""Messages that are not the seeds': bytes of a record -> its picture and fields, in a worker.

``form`` says how such a message is built, ``unpacking`` takes off what is around the document,
``documents`` reads that (JSON, or Avro by ``avro_schemas`` and ``schema_registry``), ``values``
takes the fields out of it, ``arrays`` does all of it for a batch. A message that cannot be read is
that row's error; only a schema registry that does not answer raises.
"""
