"""Real servers on 127.0.0.1 and free ports, for tests and trials: Kafka, S3, HDFS, YARN, Spark.

Each of the modules has one context manager, ``running(folder, ...)``: it starts the service with
its data and logs below ``folder``, gives a frozen value with the addresses and the processes, and
stops the service at the end. Linux only; Java 17 and the jars of ``conf/ivy.xml`` are all it needs.
Kafka, and what all of them share, are those of :mod:`pyspark_vision.clients.local_services`.
"""
