"""How Spark's JVM is started on this machine: its environment, and an archive of its classes."""
