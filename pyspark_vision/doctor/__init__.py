"""`pyspark-vision doctor`: is everything there that a job will need, before it is submitted?

One module per place to look at: this machine, the cluster, storage, brokers, the model. A check is
a function that returns what it found, or raises :class:`~pyspark_vision.doctor.findings.Problem`.
"""
