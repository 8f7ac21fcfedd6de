"""Wire formats, both ways, as Column expressions: one module per format.

``json_fields``, ``pictures``, ``utf8`` and ``local_times`` are what they share: typed fields of a
JSON message, the three ways in which a message brings its picture, text of what need not be UTF-8,
and times as text.
"""
