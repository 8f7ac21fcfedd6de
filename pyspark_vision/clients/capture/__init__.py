"""Where pictures come from: a webcam, a video, a stream of the network, a folder, drawn scenes.

Each module is one source of :class:`~pyspark_vision.clients.capture.source.Shot`;
``cameras.py`` reads what a person calls them.
"""
