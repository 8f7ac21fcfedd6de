"""Wire formats, both ways, as Column expressions: one module per format.

``json_fields`` and ``pictures`` are what they share: typed fields of a JSON message, and the three
ways in which a message brings its picture.
"""
