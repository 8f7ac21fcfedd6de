"""A model's outputs to boxes, classes, masks and points."""
