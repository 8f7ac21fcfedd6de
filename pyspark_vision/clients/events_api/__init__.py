"""The event pipeline's web API: requests become events, kept in a journal, sent to Kafka once.

A request's way: ``actions`` (which event), ``parameters`` (its query and body), ``messages`` (the
bytes of the topic), ``intake`` (kept on disk, by ``journal``), ``sender`` (to Kafka, by
``transactions``), ``answers`` (text or JSON).
"""
