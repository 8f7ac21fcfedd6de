"""`pyspark-vision receive`: results of a topic to the console, to pictures and to events.json."""
