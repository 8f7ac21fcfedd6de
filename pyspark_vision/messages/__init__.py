"""Wire formats, both ways, as Column expressions: one module per format.

``json_fields``, ``pictures`` and ``utf8`` are what they share: typed fields of a JSON message, the
three ways in which a message brings its picture, and text of what need not be UTF-8.
"""
