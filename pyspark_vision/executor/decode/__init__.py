"""Bytes to pixels, and pixels to a model's input."""
