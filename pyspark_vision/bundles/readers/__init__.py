"""One reader per model format."""
