"""A real Kafka on 127.0.0.1, and what any such service needs: Java, its jars, a daemon's process.

``kafka.running(folder, ...)`` starts a broker with its data and logs below ``folder``, gives a
frozen value with the addresses and the process, and stops it at the end. Java 17 and the jars of
``conf/ivy.xml``, which ``jars`` fetches once per machine, are all it needs. The checkout has more
services, for its tests, in ``scripts/local_services``.
"""
