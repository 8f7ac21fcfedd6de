"""The models' input sizes in pixels; here, so that measuring needs no TensorFlow."""

DETECTOR_SIDE = 160

# An object that fills a single picture is here as large as one of a scene is for the detector.
CLASSIFIER_SIDE = 96
