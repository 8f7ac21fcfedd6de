"""`pyspark-vision dashboard`: results, events or a live topic as charts that one can filter.

``places`` and ``files`` find and read what there is; ``columns`` says what of it is a camera, a
time, an event; ``summary`` keeps counts in DuckDB, and ``answers`` reads them; ``folder``,
``events_file`` and ``live_topic`` are what fills a summary, in the thread of ``watch``;
``figures``, ``examples`` and ``page`` show it, ``server`` serves it.
"""
